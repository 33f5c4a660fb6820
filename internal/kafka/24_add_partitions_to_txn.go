package kafka

import (
	"context"
	"errors"

	"github.com/twmb/franz-go/pkg/kmsg"

	"tidings.dev/internal/engine"
	"tidings.dev/internal/txn"
)

// AddPartitionsToTxn (API key 24), versions 0–3, which clients of the old protocol send before the batches themselves.
// Versions 4 and 5 are for brokers and are not served.

// addPartitionsToTxn adds partitions to a transaction. It blocks until that is durable. If one of them does not exist, none
// is added.
func (c *conn) addPartitionsToTxn(ctx context.Context, r *kmsg.AddPartitionsToTxnRequest) kmsg.Response {
	resp := r.ResponseKind().(*kmsg.AddPartitionsToTxnResponse)
	var ids []engine.Partition
	unknown := false
	for _, t := range r.Topics {
		topic, known := c.server.engine.Topic(t.Topic)
		row := kmsg.AddPartitionsToTxnResponseTopic{Topic: t.Topic}
		for _, p := range t.Partitions {
			answer := kmsg.AddPartitionsToTxnResponseTopicPartition{Partition: p}
			if known && within(topic, p) {
				ids = append(ids, engine.Partition{Topic: topic.ID, Index: p})
			} else {
				answer.ErrorCode, unknown = unknownTopicOrPartition, true
			}
			row.Partitions = append(row.Partitions, answer)
		}
		resp.Topics = append(resp.Topics, row)
	}
	code := operationNotAttempted
	if !unknown {
		err := c.server.engine.AddToTransaction(ctx, r.TransactionalID, txn.Producer{ID: r.ProducerID, Epoch: r.ProducerEpoch}, ids)
		code = transactionCode(err, r.Version >= 2)
	}
	for i := range resp.Topics {
		for j := range resp.Topics[i].Partitions {
			if p := &resp.Topics[i].Partitions[j]; p.ErrorCode == none {
				p.ErrorCode = code
			}
		}
	}
	return resp
}

// transactionCode returns the code of err in the APIs of transactions. knowsFenced reports whether the version of the
// request knows PRODUCER_FENCED (KIP-588); older ones are told INVALID_PRODUCER_EPOCH.
func transactionCode(err error, knowsFenced bool) Code {
	code := coordinatorCode(err)
	if code == producerFenced && !knowsFenced {
		return invalidProducerEpoch
	}
	if errors.Is(err, txn.ErrNotInTransaction) {
		return invalidTxnState
	}
	return code
}
