package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// InitProducerId, versions 0–5, for idempotent producers. There are no transactions yet: a transactional id is refused.

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
	case (id < 0) != (epoch < 0): // a producer is known by both or by neither
		resp.ErrorCode = invalidRequest
		return resp
	}
	id, epoch, err := c.server.engine.InitProducerID(ctx, id, epoch)
	if err != nil {
		resp.ErrorCode = coordinatorCode(err)
		if resp.ErrorCode == producerFenced && r.Version < 4 { // not known before (KIP-588)
			resp.ErrorCode = invalidProducerEpoch
		}
		return resp
	}
	resp.ProducerID, resp.ProducerEpoch = id, epoch
	return resp
}
