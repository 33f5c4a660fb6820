package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"tidings.dev/internal/engine"
)

// DeleteRecords, versions 0–2. Offset −1 is the high watermark. As with Apache Kafka, a topic whose cleanup.policy has no
// delete gets POLICY_VIOLATION. The timeout is not used: the answer comes when the new start is durable.

func (c *conn) deleteRecords(ctx context.Context, r *kmsg.DeleteRecordsRequest) kmsg.Response {
	resp := r.ResponseKind().(*kmsg.DeleteRecordsResponse)
	for i := range r.Topics {
		ask := &r.Topics[i]
		row := kmsg.NewDeleteRecordsResponseTopic()
		row.Topic = ask.Topic
		topic, known := c.server.engine.Topic(ask.Topic)
		for _, p := range ask.Partitions {
			part := kmsg.NewDeleteRecordsResponseTopicPartition()
			part.Partition, part.LowWatermark = p.Partition, -1
			err := error(engine.ErrUnknownTopic)
			if known {
				part.LowWatermark, err = c.server.engine.DeleteRecords(ctx, engine.Partition{Topic: topic.ID, Index: p.Partition}, p.Offset)
			}
			part.ErrorCode = dataCode(err)
			row.Partitions = append(row.Partitions, part)
		}
		resp.Topics = append(resp.Topics, row)
	}
	return resp
}
