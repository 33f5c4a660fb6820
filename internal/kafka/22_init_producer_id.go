package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// InitProducerId (API key 22), versions 0–5, for idempotent producers.
//
// Deviations from Apache Kafka: there are no transactions, so that a request with a transactional id is answered with
// UNSUPPORTED_VERSION.

// initProducerID answers with a new producer id, or with a new epoch of the id in the request. It blocks until the id
// is durably reserved (docs/kafka-traps.md, trap 7).
func (c *conn) initProducerID(ctx context.Context, r *kmsg.InitProducerIDRequest) kmsg.Response {
	resp := r.ResponseKind().(*kmsg.InitProducerIDResponse)
	resp.ProducerID, resp.ProducerEpoch = -1, -1
	id, epoch := int64(-1), int16(-1)
	if r.Version >= 3 {
		id, epoch = r.ProducerID, r.ProducerEpoch
	}
	switch {
	case r.TransactionalID != nil:
		resp.ErrorCode = unsupportedVersion
		return resp
	case (id < 0) != (epoch < 0): // a client sends both or neither
		resp.ErrorCode = invalidRequest
		return resp
	}
	id, epoch, err := c.server.engine.InitProducerID(ctx, id, epoch)
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
