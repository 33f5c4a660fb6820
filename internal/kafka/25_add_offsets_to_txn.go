package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"tidings.dev/internal/txn"
)

// AddOffsetsToTxn (API key 25), versions 0–4, which clients of the old protocol send before TxnOffsetCommit.

// addOffsetsToTxn adds a group to a transaction. It blocks until that is durable. The group need not exist.
func (c *conn) addOffsetsToTxn(ctx context.Context, r *kmsg.AddOffsetsToTxnRequest) kmsg.Response {
	resp := r.ResponseKind().(*kmsg.AddOffsetsToTxnResponse)
	if r.Group == "" {
		resp.ErrorCode = invalidGroupID
		return resp
	}
	err := c.server.engine.AddToTransaction(ctx, r.TransactionalID, txn.Producer{ID: r.ProducerID, Epoch: r.ProducerEpoch}, nil, r.Group)
	resp.ErrorCode = transactionCode(err, r.Version >= 2)
	return resp
}
