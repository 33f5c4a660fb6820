package engine

import "context"

// InitProducerID gives a new producer id, with epoch 0, out of a block that is durable (trap 7). A producer without a
// transactional id that asks with the id and epoch it had (KIP-360) gets a new one too, as from Apache Kafka: it bumps
// its own epoch where it may. It blocks for a sync once in a thousand ids.
func (e *Engine) InitProducerID(_ context.Context, _ int64, _ int16) (int64, int16, error) {
	if err := e.mayGrow(); err != nil {
		return -1, -1, err
	}
	e.ids.Lock()
	defer e.ids.Unlock()
	for {
		if id, ok := e.nextID.Next(); ok {
			return id, 0, nil
		}
		block := e.nextID.Reserve()
		if err := e.commit(kindProducerIDs, block.Encode()); err != nil {
			return -1, -1, err
		}
		e.nextID.Grant(block)
	}
}
