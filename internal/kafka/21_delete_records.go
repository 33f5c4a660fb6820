package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"tidings.dev/internal/engine"
)

// DeleteRecords (API key 21), versions 0–2. Offset −1 stands for the high watermark. As in Apache Kafka, a topic whose
// cleanup.policy does not include "delete" is answered with POLICY_VIOLATION.
//
// Deviations from Apache Kafka: the timeout is not used; files are removed at once, because there is no
// file.delete.delay.ms.

// deleteRecords deletes, in each partition that the request names, the records below an offset, by moving the start of
// the partition's log to it. It blocks until the new starts are durable. The response has an error code for each
// partition.
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
