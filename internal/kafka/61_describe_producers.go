package kafka

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"tidings.dev/internal/engine"
	"tidings.dev/internal/txn"
)

// DescribeProducers (API key 61), version 0. Producers are those whose sequence numbers are known; the epochs of coordinators
// are 0 here.

// describeProducers answers with the producers whose batches each partition remembers.
func (c *conn) describeProducers(r *kmsg.DescribeProducersRequest) kmsg.Response {
	resp := r.ResponseKind().(*kmsg.DescribeProducersResponse)
	for _, ask := range r.Topics {
		row := kmsg.DescribeProducersResponseTopic{Topic: ask.Topic}
		topic, err := c.namedTopic(ask.Topic)
		for _, p := range ask.Partitions {
			answer := kmsg.DescribeProducersResponseTopicPartition{Partition: p}
			active, failed := []txn.Active(nil), err
			if failed == nil {
				active, failed = c.server.engine.Producers(engine.Partition{Topic: topic.ID, Index: p})
			}
			if answer.ErrorCode = topicCode(failed); failed != nil {
				answer.ErrorMessage = errorMessage(failed)
			}
			open := map[int64]int64{} // first offsets of open transactions, by producer id
			if failed == nil {
				for _, o := range c.server.engine.OpenTransactions(engine.Partition{Topic: topic.ID, Index: p}) {
					open[o.ProducerID] = o.First
				}
			}
			for _, a := range active {
				one := kmsg.NewDescribeProducersResponseTopicPartitionActiveProducer()
				one.ProducerID, one.ProducerEpoch, one.LastSequence = a.ID, int32(a.Epoch), a.LastSequence
				one.LastTimestamp, one.CoordinatorEpoch, one.CurrentTxnStartOffset = a.Seen.UnixMilli(), 0, -1
				if first, ok := open[a.ID]; ok {
					one.CurrentTxnStartOffset = first
				}
				answer.ActiveProducers = append(answer.ActiveProducers, one)
			}
			row.Partitions = append(row.Partitions, answer)
		}
		resp.Topics = append(resp.Topics, row)
	}
	return resp
}
