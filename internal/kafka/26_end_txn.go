package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"tidings.dev/internal/txn"
)

// EndTxn (API key 26), versions 0–5. From version 5 on the producer's epoch is raised with each transaction (transactions
// version 2, KIP-890).
//
// Deviations from Apache Kafka: the answer comes when the transaction is complete, with all markers in the log.

// minEndTxnV2 is the first version of EndTxn that raises the epoch.
const minEndTxnV2 = 5

// endTxn commits or aborts a transaction. It blocks until that is durable.
func (c *conn) endTxn(ctx context.Context, r *kmsg.EndTxnRequest) kmsg.Response {
	resp := r.ResponseKind().(*kmsg.EndTxnResponse)
	p := txn.Producer{ID: r.ProducerID, Epoch: r.ProducerEpoch}
	next, err := c.server.engine.EndTransaction(ctx, r.TransactionalID, p, r.Commit, r.Version >= minEndTxnV2)
	resp.ErrorCode = transactionCode(err, r.Version >= 2)
	resp.ProducerID, resp.ProducerEpoch = next.ID, next.Epoch
	return resp
}
