package logclient

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Epochs has a leader epoch for each of some partitions, by topic and partition.
type Epochs map[string]map[int32]int32

// EpochEnd says where a leader epoch ends in a partition (KIP-320). Both fields are -1 if the broker does not know the
// epoch: it is later than all epochs of the partition.
type EpochEnd struct {
	// Epoch is the epoch that was asked for or, if the partition has no records of it, the highest one below it.
	Epoch int32
	// Offset is the offset after the last record of the epoch: the first offset of the next epoch, or the end of the
	// log.
	Offset int64
}

// LostEpoch is the end of an epoch that the log does not know: nothing of it is in the log.
const LostEpoch = -1

// Of returns where an epoch ends of which a record was read, given that e is the answer about it. It returns LostEpoch if the log has no records of the
// epoch: it is a copy that has gone another way since, even if that is longer.
func (e EpochEnd) Of(epoch int32) int64 {
	if e.Epoch < epoch {
		return LostEpoch
	}
	return e.Offset
}

// EpochEnds returns where the given leader epochs end. If retention has removed the first epochs of a partition with
// their records, such an epoch ends where the partition starts. EpochEnds makes one request to each broker and does
// not wait for topics that are being made. A partition that no broker answers for is left out.
func (c *Client) EpochEnds(ctx context.Context, epochs Epochs) (map[string]map[int32]EpochEnd, error) {
	found := make(map[string]map[int32]EpochEnd, len(epochs))
	if len(epochs) == 0 {
		return found, nil
	}
	req := kmsg.NewPtrOffsetForLeaderEpochRequest()
	req.ReplicaID = -1
	for topic, partitions := range epochs {
		rt := kmsg.NewOffsetForLeaderEpochRequestTopic()
		rt.Topic = topic
		for p, epoch := range partitions {
			rp := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
			rp.Partition, rp.CurrentLeaderEpoch, rp.LeaderEpoch = p, -1, epoch
			rt.Partitions = append(rt.Partitions, rp)
		}
		found[topic] = make(map[int32]EpochEnd)
		req.Topics = append(req.Topics, rt)
	}
	for _, shard := range c.kgo.RequestSharded(ctx, req) {
		if shard.Err != nil {
			return nil, shard.Err
		}
		for _, t := range shard.Resp.(*kmsg.OffsetForLeaderEpochResponse).Topics {
			for _, p := range t.Partitions {
				if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
					return nil, fmt.Errorf("topic %s partition %d: %w", t.Topic, p.Partition, err)
				}
				if found[t.Topic] != nil {
					found[t.Topic][p.Partition] = EpochEnd{p.LeaderEpoch, p.EndOffset}
				}
			}
		}
	}
	return found, nil
}
