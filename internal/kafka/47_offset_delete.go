package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"tidings.dev/internal/group"
)

// OffsetDelete (API key 47), version 0. No deviations from Apache Kafka are known.

// offsetDelete deletes committed offsets of a group, in topics to which no member of the group subscribes. It blocks
// until the deletion is durable.
func (c *conn) offsetDelete(ctx context.Context, r *kmsg.OffsetDeleteRequest) kmsg.Response {
	resp := r.ResponseKind().(*kmsg.OffsetDeleteResponse)
	var ask []group.TopicPartition
	for _, t := range r.Topics {
		for _, p := range t.Partitions {
			ask = append(ask, group.TopicPartition{Topic: t.Topic, Partition: p.Partition})
		}
	}
	if r.Group == "" {
		resp.ErrorCode = invalidGroupID
		return resp
	}
	errs, err := c.server.engine.DeleteOffsets(ctx, r.Group, ask)
	if err != nil {
		resp.ErrorCode = coordinatorCode(err)
		return resp
	}
	for _, t := range r.Topics {
		row := kmsg.OffsetDeleteResponseTopic{Topic: t.Topic}
		topic, known := c.server.engine.Topic(t.Topic)
		for _, p := range t.Partitions {
			code := coordinatorCode(errs[group.TopicPartition{Topic: t.Topic, Partition: p.Partition}])
			if code == none && (!known || !within(topic, p.Partition)) {
				code = unknownTopicOrPartition
			}
			row.Partitions = append(row.Partitions, kmsg.OffsetDeleteResponseTopicPartition{Partition: p.Partition, ErrorCode: code})
		}
		resp.Topics = append(resp.Topics, row)
	}
	return resp
}
