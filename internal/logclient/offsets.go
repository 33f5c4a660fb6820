package logclient

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Offsets has an offset for each of some partitions, by topic and partition.
type Offsets map[string]map[int32]int64

// Timestamps with which ListOffsets returns the end or the start of a partition.
const (
	askEnd   = -1
	askStart = -2

	askStableEnd = -1000 // not of the protocol: askEnd, limited to what transactions have committed
)

// Starts returns the first offset that the log keeps of each partition of the topics. Starts, Ends and After wait for
// a topic that was just made, at most for the connect timeout; if a topic does not exist, they return an error that
// matches kerr.UnknownTopicOrPartition.
func (c *Client) Starts(ctx context.Context, topics ...string) (Offsets, error) {
	return c.listByName(ctx, topics, c.StartsOf)
}

// Ends returns the high watermark of each partition of the topics: the offset after the last durable record.
func (c *Client) Ends(ctx context.Context, topics ...string) (Offsets, error) {
	return c.listByName(ctx, topics, c.EndsOf)
}

// After returns, for each partition of the topics, the offset of the first record whose timestamp is at or later. If
// there is no such record, it returns the high watermark.
func (c *Client) After(ctx context.Context, at time.Time, topics ...string) (Offsets, error) {
	return c.listByName(ctx, topics, func(ctx context.Context, topics []Topic) (Offsets, error) {
		found, err := c.listOffsets(ctx, at.UnixMilli(), topics)
		if err != nil {
			return nil, err
		}
		var ends Offsets
		for topic, partitions := range found {
			for p, offset := range partitions {
				if offset >= 0 {
					continue
				}
				if ends == nil {
					if ends, err = c.EndsOf(ctx, topics); err != nil {
						return nil, err
					}
				}
				partitions[p] = ends[topic][p]
			}
		}
		return found, nil
	})
}

// StartsOf is like Starts for topics that were listed before. It makes one request to each broker and does not wait
// for topics that are being made.
func (c *Client) StartsOf(ctx context.Context, topics []Topic) (Offsets, error) {
	return c.listBounds(ctx, askStart, topics)
}

// EndsOf is like Ends for topics that were listed before. It makes one request to each broker and does not wait for
// topics that are being made. Records of open transactions are below the end.
func (c *Client) EndsOf(ctx context.Context, topics []Topic) (Offsets, error) {
	return c.listBounds(ctx, askEnd, topics)
}

// StableEndsOf is EndsOf with the last stable offsets: the first offset of an open transaction if there is one, and else the high
// watermark. Whoever reads what was committed gets no further.
func (c *Client) StableEndsOf(ctx context.Context, topics []Topic) (Offsets, error) {
	return c.listBounds(ctx, askStableEnd, topics)
}

// listByName calls list with the topics of these names. It waits until they are known, at most for the connect
// timeout.
func (c *Client) listByName(ctx context.Context, names []string, list func(context.Context, []Topic) (Offsets, error)) (Offsets, error) {
	return untilKnown(ctx, c.config.ConnectTimeout, func(ctx context.Context) (Offsets, error) {
		l, err := c.metadata(ctx, names, nil)
		if err != nil {
			return nil, err
		}
		return list(ctx, l.Topics)
	})
}

// untilKnown calls ask until its error does not say that a topic is unknown or without a leader, at most for timeout.
// A topic that was just made is in that state for a moment: to the client, whose knowledge may be older than the
// topic, and on Apache Kafka to the brokers.
func untilKnown[T any](ctx context.Context, timeout time.Duration, ask func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	for {
		found, err := ask(ctx)
		if !errors.Is(err, kerr.UnknownTopicOrPartition) && !errors.Is(err, kerr.LeaderNotAvailable) {
			return found, err
		}
		select {
		case <-time.After(metadataMinAge):
		case <-ctx.Done():
			return *new(T), err
		}
	}
}

// listBounds is like listOffsets for askStart and askEnd, and returns an error if a partition has no offset, since
// every partition has these.
func (c *Client) listBounds(ctx context.Context, timestamp int64, topics []Topic) (Offsets, error) {
	found, err := c.listOffsets(ctx, timestamp, topics)
	if err != nil {
		return nil, err
	}
	for topic, partitions := range found {
		for p, offset := range partitions {
			if offset < 0 {
				return nil, fmt.Errorf("topic %s partition %d: %w", topic, p, kerr.LeaderNotAvailable)
			}
		}
	}
	return found, nil
}

// listOffsets sends ListOffsets for all partitions of topics. timestamp is in milliseconds since 1970, or askEnd,
// askStart or askStableEnd. The offset is -1 for a partition without a record of that time. Records of open transactions count, but for askStableEnd.
func (c *Client) listOffsets(ctx context.Context, timestamp int64, topics []Topic) (Offsets, error) {
	found := make(Offsets, len(topics))
	if len(topics) == 0 {
		return found, nil
	}
	req := kmsg.NewPtrListOffsetsRequest()
	req.ReplicaID = -1
	if timestamp == askStableEnd {
		timestamp, req.IsolationLevel = askEnd, 1
	}
	for _, t := range topics {
		rt := kmsg.NewListOffsetsRequestTopic()
		rt.Topic = t.Name
		found[t.Name] = make(map[int32]int64, t.Partitions)
		for p := range t.Partitions {
			found[t.Name][p] = -1
			rp := kmsg.NewListOffsetsRequestTopicPartition()
			rp.Partition, rp.Timestamp, rp.CurrentLeaderEpoch = p, timestamp, -1
			rt.Partitions = append(rt.Partitions, rp)
		}
		req.Topics = append(req.Topics, rt)
	}
	for _, shard := range c.kgo.RequestSharded(ctx, req) {
		if shard.Err != nil {
			return nil, shard.Err
		}
		for _, t := range shard.Resp.(*kmsg.ListOffsetsResponse).Topics {
			for _, p := range t.Partitions {
				if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
					return nil, fmt.Errorf("topic %s partition %d: %w", t.Topic, p.Partition, err)
				}
				if _, asked := found[t.Topic][p.Partition]; asked {
					found[t.Topic][p.Partition] = p.Offset
				}
			}
		}
	}
	return found, nil
}
