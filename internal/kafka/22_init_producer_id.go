package kafka

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"tidings.dev/internal/txn"
)

// InitProducerId (API key 22), versions 0–5, for idempotent and transactional producers.
//
// Deviations from Apache Kafka: a transaction that is open is aborted before the answer, where Apache Kafka answers
// CONCURRENT_TRANSACTIONS first.

// initProducerID answers with a new producer id, or with a new epoch of the id in the request. It blocks until the id
// is durably reserved (docs/kafka-traps.md, trap 7), and with a transactional id until those before it are fenced.
func (c *conn) initProducerID(ctx context.Context, r *kmsg.InitProducerIDRequest) kmsg.Response {
	resp := r.ResponseKind().(*kmsg.InitProducerIDResponse)
	resp.ProducerID, resp.ProducerEpoch = -1, -1
	id, epoch := int64(-1), int16(-1)
	if r.Version >= 3 {
		id, epoch = r.ProducerID, r.ProducerEpoch
	}
	switch {
	case (id < 0) != (epoch < 0): // a client sends both or neither
		resp.ErrorCode = invalidRequest
		return resp
	}
	var err error
	if r.TransactionalID != nil {
		var p txn.Producer
		timeout := time.Duration(r.TransactionTimeoutMillis) * time.Millisecond
		p, err = c.server.engine.InitTransactions(ctx, *r.TransactionalID, timeout, txn.Producer{ID: max(id, -1), Epoch: max(epoch, -1)})
		id, epoch = p.ID, p.Epoch
	} else {
		id, epoch, err = c.server.engine.InitProducerID(ctx, id, epoch)
	}
	if err != nil {
		resp.ErrorCode = coordinatorCode(err)
		if resp.ErrorCode == producerFenced && r.Version < 4 { // PRODUCER_FENCED came with version 4 (KIP-588)
			resp.ErrorCode = invalidProducerEpoch
		}
		return resp
	}
	resp.ProducerID, resp.ProducerEpoch = id, epoch
	return resp
}
