package story

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"tidings.dev/internal/obligation"
)

// Timestamps that ask ListOffsets for something else than a time.
const (
	askEnd   = -1
	askStart = -2
)

// watermarks is an offset for each partition of each topic that the index follows.
type watermarks map[string][]int64

// followed tells whether the index reads a topic: those of applications, and the three of obligations.
func followed(topic string) bool {
	switch topic {
	case obligation.SubscriptionsTopic, obligation.ReactionsTopic, obligation.StoryTopic:
		return true
	}
	return !obligation.Internal(topic)
}

// listTopics asks for all topics there are now. It does not go through kadm, which may answer from a cache: a topic
// that is missing from the answer is one that a verdict does not wait for.
func listTopics(ctx context.Context, client *kgo.Client) (cluster string, topics []topicInfo, err error) {
	req := kmsg.NewPtrMetadataRequest()
	req.Topics = nil // all
	resp, err := req.RequestWith(ctx, client)
	if err != nil {
		return "", nil, err
	}
	if resp.ClusterID != nil {
		cluster = *resp.ClusterID
	}
	for _, t := range resp.Topics {
		if t.Topic == nil || !followed(*t.Topic) {
			continue
		}
		if err := kerr.ErrorForCode(t.ErrorCode); err != nil {
			return "", nil, fmt.Errorf("topic %s: %w", *t.Topic, err)
		}
		topics = append(topics, topicInfo{name: *t.Topic, id: t.TopicID, partitions: int32(len(t.Partitions))})
	}
	return cluster, topics, nil
}

// listOffsets asks for the start or the end of all partitions of topics. Ends are high watermarks, not last stable
// offsets: what an open transaction has written counts, so that a verdict waits for its end.
func listOffsets(ctx context.Context, client *kgo.Client, what int64, topics []topicInfo) (watermarks, error) {
	if len(topics) == 0 {
		return watermarks{}, nil
	}
	req := kmsg.NewPtrListOffsetsRequest()
	req.ReplicaID = -1
	found := make(watermarks, len(topics))
	for _, t := range topics {
		rt := kmsg.NewListOffsetsRequestTopic()
		rt.Topic = t.name
		found[t.name] = make([]int64, t.partitions)
		for p := range t.partitions {
			found[t.name][p] = -1
			rp := kmsg.NewListOffsetsRequestTopicPartition()
			rp.Partition, rp.Timestamp, rp.CurrentLeaderEpoch = p, what, -1
			rt.Partitions = append(rt.Partitions, rp)
		}
		req.Topics = append(req.Topics, rt)
	}
	for _, shard := range client.RequestSharded(ctx, req) {
		if shard.Err != nil {
			return nil, shard.Err
		}
		for _, t := range shard.Resp.(*kmsg.ListOffsetsResponse).Topics {
			for _, p := range t.Partitions {
				if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
					return nil, fmt.Errorf("topic %s partition %d: %w", t.Topic, p.Partition, err)
				}
				if ps := found[t.Topic]; int(p.Partition) < len(ps) {
					ps[p.Partition] = p.Offset
				}
			}
		}
	}
	for t, ps := range found {
		for p, o := range ps {
			if o < 0 {
				return nil, fmt.Errorf("topic %s partition %d: %w", t, p, kerr.LeaderNotAvailable)
			}
		}
	}
	return found, nil
}

// left counts the offsets that the index has to read until it has passed all watermarks. What was deleted since counts
// for nothing.
func (ix *Index) left(w watermarks) (n int64) {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	for topic, ends := range w {
		num, ok := ix.topics[topic]
		if !ok {
			continue
		}
		for p, end := range ends {
			n += max(0, end-ix.positions[partition{num, int32(p)}])
		}
	}
	return n
}

// advance moves the positions of the index to the starts of the log, where retention has been faster.
func (ix *Index) advance(starts watermarks) error {
	behind := false
	ix.mu.RLock()
	for topic, offsets := range starts {
		for p, o := range offsets {
			n, ok := ix.topics[topic]
			behind = behind || ok && ix.positions[partition{n, int32(p)}] < o
		}
	}
	ix.mu.RUnlock()
	if !behind {
		return nil
	}
	return ix.update(func(p *pass) {
		for topic, offsets := range starts {
			for i, o := range offsets {
				part := partition{p.topic(topic), int32(i)}
				if p.ix.positions[part] < o {
					p.ix.log.Warn("story index has missed what retention removed", "topic", topic, "partition", i, "from", p.ix.positions[part], "to", o)
					p.ix.positions[part] = o
					p.moved[part] = struct{}{}
				}
			}
		}
	})
}
