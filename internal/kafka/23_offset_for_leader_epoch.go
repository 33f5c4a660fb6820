package kafka

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"tidings.dev/internal/engine"
)

// OffsetForLeaderEpoch (API key 23), versions 2–4 (KIP-320).
//
// Deviations from Apache Kafka: there are no elections. A leader epoch grows when a recovery has cut off the end of a
// partition (docs/kafka-traps.md, trap 14).

// offsetForLeaderEpoch answers, for each partition, with the offset at which a leader epoch ended.
func (c *conn) offsetForLeaderEpoch(r *kmsg.OffsetForLeaderEpochRequest) kmsg.Response {
	resp := r.ResponseKind().(*kmsg.OffsetForLeaderEpochResponse)
	for _, t := range r.Topics {
		topic, known := c.server.engine.Topic(t.Topic)
		row := kmsg.OffsetForLeaderEpochResponseTopic{Topic: t.Topic}
		for _, p := range t.Partitions {
			answer := kmsg.OffsetForLeaderEpochResponseTopicPartition{Partition: p.Partition, LeaderEpoch: -1, EndOffset: -1}
			id := engine.Partition{Topic: topic.ID, Index: p.Partition}
			if !known || !within(topic, p.Partition) {
				answer.ErrorCode = unknownTopicOrPartition
			} else if answer.ErrorCode = c.checkEpoch(id, p.CurrentLeaderEpoch); answer.ErrorCode == none {
				epoch, end, err := c.server.engine.EpochEnd(id, p.LeaderEpoch)
				if answer.ErrorCode = dataCode(err); err == nil {
					answer.LeaderEpoch, answer.EndOffset = epoch, end
				}
			}
			row.Partitions = append(row.Partitions, answer)
		}
		resp.Topics = append(resp.Topics, row)
	}
	return resp
}
