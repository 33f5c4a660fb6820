package kafka

import (
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"tidings.dev/internal/group"
	"tidings.dev/internal/meta"
)

// OffsetCommit (API key 8), versions 2–10. The positions of a group are stored by topic name, as in Apache Kafka; the
// topic ids of version 10 are translated to names.
//
// Deviations from Apache Kafka: the retention time of versions 2–4 is ignored.

// offsetCommit commits positions of a group. It blocks until they are durable (docs/kafka-traps.md, trap 7).
func (c *conn) offsetCommit(ctx context.Context, r *kmsg.OffsetCommitRequest) kmsg.Response {
	resp := r.ResponseKind().(*kmsg.OffsetCommitResponse)
	resp.Topics = make([]kmsg.OffsetCommitResponseTopic, len(r.Topics))
	ask := group.CommitRequest{
		Group: r.Group, Member: group.MemberID(r.MemberID), InstanceID: r.InstanceID,
		Generation: group.Generation(r.Generation), Offsets: make(map[group.TopicPartition]group.Committed),
	}
	names := make([]string, len(r.Topics))
	for i := range r.Topics {
		t, row := &r.Topics[i], &resp.Topics[i]
		topic, code := c.topicOf(t.Topic, t.TopicID, r.Version >= 10)
		names[i] = topic.Name
		row.Topic, row.TopicID = t.Topic, t.TopicID
		row.Partitions = make([]kmsg.OffsetCommitResponseTopicPartition, len(t.Partitions))
		for j := range t.Partitions {
			p, answer := &t.Partitions[j], &row.Partitions[j]
			answer.Partition, answer.ErrorCode = p.Partition, code
			if code == none && !within(topic, p.Partition) {
				answer.ErrorCode = unknownTopicOrPartition
			}
			if answer.ErrorCode != none {
				continue
			}
			committed := group.Committed{Offset: p.Offset, LeaderEpoch: -1}
			if r.Version >= 6 {
				committed.LeaderEpoch = p.LeaderEpoch
			}
			if p.Metadata != nil {
				committed.Metadata = *p.Metadata
			}
			ask.Offsets[group.TopicPartition{Topic: topic.Name, Partition: p.Partition}] = committed
		}
	}
	if len(ask.Offsets) == 0 {
		return resp
	}
	errs := c.server.engine.Commit(ctx, ask)
	illegal := illegalGeneration
	if r.Version >= 9 && slices.ContainsFunc(slices.Collect(maps.Values(errs)), func(err error) bool { return errors.Is(err, group.ErrIllegalGeneration) }) &&
		c.server.engine.DescribeGroup(r.Group).State == deadGroup {
		illegal = groupIDNotFound // KIP-848: there is no generation, because there is no group
	}
	for i := range resp.Topics {
		for j := range resp.Topics[i].Partitions {
			if p := &resp.Topics[i].Partitions[j]; p.ErrorCode == none {
				if p.ErrorCode = coordinatorCode(errs[group.TopicPartition{Topic: names[i], Partition: p.Partition}]); p.ErrorCode == illegalGeneration {
					p.ErrorCode = illegal
				}
			}
		}
	}
	return resp
}

// topicOf returns the topic with this name or, if byID is true, with this id; and the code none, or the code for an
// unknown topic.
func (c *conn) topicOf(name string, id meta.TopicID, byID bool) (meta.Topic, Code) {
	if byID {
		t, ok := c.server.engine.TopicByID(id)
		if !ok {
			return t, unknownTopicID
		}
		return t, none
	}
	t, ok := c.server.engine.Topic(name)
	if !ok {
		return t, unknownTopicOrPartition
	}
	return t, none
}
