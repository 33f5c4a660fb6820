package txn

// Rollback removes the batches that Record was given with a base offset of from or higher. The engine calls it when
// these batches have failed to become durable and other batches will get their offsets. A producer without any other
// batch becomes unknown, so that any sequence of it is accepted next: its client sends the failed batches again.
func (p *Producers) Rollback(from int64) {
	for id, s := range p.byID {
		for s.n > 0 && s.last().baseOffset >= from {
			s.n--
		}
		if s.n == 0 {
			delete(p.byID, id)
			p.limit.add(-1)
		}
	}
}
