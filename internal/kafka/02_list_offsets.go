package kafka

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"tidings.dev/internal/engine"
	"tidings.dev/internal/meta"
)

// ListOffsets, versions 1–11.

// Timestamps that stand for positions, beyond those of the engine. There is no tiered storage, so that the local log is
// the whole log and nothing is remote.
const (
	earliestLocal         = -4 // KIP-405, v8+
	latestTiered          = -5 // KIP-1005, v9+
	earliestPendingUpload = -6 // KIP-1023, v11+
)

func (c *conn) listOffsets(r *kmsg.ListOffsetsRequest) kmsg.Response {
	resp := r.ResponseKind().(*kmsg.ListOffsetsResponse)
	resp.Topics = make([]kmsg.ListOffsetsResponseTopic, 0, len(r.Topics))
	seen := make(map[engine.Partition]bool)
	for _, t := range r.Topics {
		topic, known := c.server.engine.Topic(t.Topic)
		row := kmsg.ListOffsetsResponseTopic{Topic: t.Topic}
		row.Partitions = make([]kmsg.ListOffsetsResponseTopicPartition, 0, len(t.Partitions))
		for _, p := range t.Partitions {
			listed, code := engine.Listed{Offset: -1, Timestamp: -1, LeaderEpoch: -1}, unknownTopicOrPartition
			id := engine.Partition{Topic: topic.ID, Index: p.Partition}
			switch {
			case !known || !within(topic, p.Partition):
			case seen[id]: // as Apache Kafka: a look into the log for each partition, once
				code = invalidRequest
			default:
				seen[id] = true
				listed, code = c.offsetFor(id, p.CurrentLeaderEpoch, p.Timestamp)
			}
			row.Partitions = append(row.Partitions, kmsg.ListOffsetsResponseTopicPartition{
				Partition: p.Partition, ErrorCode: code,
				Offset: listed.Offset, Timestamp: listed.Timestamp, LeaderEpoch: listed.LeaderEpoch,
			})
		}
		resp.Topics = append(resp.Topics, row)
	}
	return resp
}

func (c *conn) offsetFor(p engine.Partition, epoch int32, timestamp int64) (engine.Listed, Code) {
	nowhere := engine.Listed{Offset: -1, Timestamp: -1, LeaderEpoch: -1}
	if code := c.checkEpoch(p, epoch); code != none {
		return nowhere, code
	}
	switch timestamp {
	case earliestLocal:
		timestamp = engine.Earliest
	case latestTiered, earliestPendingUpload:
		return nowhere, none
	}
	listed, err := c.server.engine.OffsetFor(p, timestamp)
	if err != nil {
		return nowhere, dataCode(err)
	}
	return listed, none
}

// checkEpoch compares the leader epoch that a client believes in with the partition's; -1 is not checked (KIP-320).
func (c *conn) checkEpoch(p engine.Partition, epoch int32) Code {
	if epoch < 0 {
		return none
	}
	switch current := c.server.engine.LeaderEpoch(p); {
	case epoch < current:
		return fencedLeaderEpoch
	case epoch > current:
		return unknownLeaderEpoch
	}
	return none
}

// within reports whether the topic has a partition of this index.
func within(t meta.Topic, index int32) bool { return index >= 0 && index < t.Partitions }
