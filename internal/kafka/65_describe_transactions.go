package kafka

import (
	"github.com/twmb/franz-go/pkg/kmsg"
)

// DescribeTransactions (API key 65), version 0.

// describeTransactions answers with the state of transactional ids, each once.
func (c *conn) describeTransactions(r *kmsg.DescribeTransactionsRequest) kmsg.Response {
	resp := r.ResponseKind().(*kmsg.DescribeTransactionsResponse)
	seen := map[string]bool{}
	for _, id := range r.TransactionalIDs {
		if seen[id] {
			continue
		}
		seen[id] = true
		row := kmsg.NewDescribeTransactionsResponseTransactionState()
		row.TransactionalID = id
		d, known := c.server.engine.DescribeTransaction(id)
		switch {
		case id == "":
			row.ErrorCode = invalidRequest
		case !known:
			row.ErrorCode = transactionalIDNotFound
		default:
			row.State, row.TimeoutMillis = d.State, int32(d.Timeout.Milliseconds())
			row.ProducerID, row.ProducerEpoch, row.StartTimestamp = d.Producer.ID, d.Producer.Epoch, -1
			if !d.Began.IsZero() {
				row.StartTimestamp = d.Began.UnixMilli()
			}
			for _, p := range d.Partitions {
				topic, known := c.server.engine.TopicByID(p.Topic)
				if !known {
					continue // it is deleted
				}
				if n := len(row.Topics); n == 0 || row.Topics[n-1].Topic != topic.Name {
					row.Topics = append(row.Topics, kmsg.DescribeTransactionsResponseTransactionStateTopic{Topic: topic.Name})
				}
				last := &row.Topics[len(row.Topics)-1]
				last.Partitions = append(last.Partitions, p.Index)
			}
		}
		resp.TransactionStates = append(resp.TransactionStates, row)
	}
	return resp
}
