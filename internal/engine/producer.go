package engine

import (
	"context"

	"tidings.dev/internal/datadir"
	"tidings.dev/internal/txn"
)

// Producers returns what the partition remembers of idempotent producers, in the order of their ids. Errors match
// ErrUnknownTopic or ErrUnknownPartition.
func (e *Engine) Producers(id Partition) ([]txn.Active, error) {
	p, err := e.part(id)
	if err != nil {
		return nil, err
	}
	p.assign.Lock()
	defer p.assign.Unlock()
	return p.producers.Active(), nil
}

// InitProducerID returns a new producer id and the epoch 0. The id comes from a block that is durably reserved (trap 7
// of docs/kafka-traps.md), so InitProducerID blocks for a sync once in a thousand calls. Errors match ErrStorage,
// ErrFull or ErrClosed.
//
// The two last parameters are the id and epoch that a producer without a transactional id has already (KIP-360). They
// are not used: such a producer gets a new id too, as from Apache Kafka. It raises its epoch itself where the protocol
// allows that.
func (e *Engine) InitProducerID(_ context.Context, _ int64, _ int16) (int64, int16, error) {
	if err := e.checkSpace(); err != nil {
		return -1, -1, err
	}
	e.producerIDs.mu.Lock()
	defer e.producerIDs.mu.Unlock()
	for {
		if id, ok := e.producerIDs.next.Next(); ok {
			return id, 0, nil
		}
		block := e.producerIDs.next.Reserve(e.config.Now())
		if err := e.commit(datadir.KindProducerIDs, block.Encode()); err != nil {
			return -1, -1, err
		}
		e.producerIDs.next.Grant(block)
	}
}
