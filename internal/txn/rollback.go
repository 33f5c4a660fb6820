package txn

// Forget takes back the batches recorded at offset from and above: they were given offsets and then refused, and the
// offsets will be given again. A producer of which nothing else is known may begin with any sequence, as one that is
// new: its client sends again what was refused.
func (p *Producers) Forget(from int64) {
	for id, s := range p.byID {
		for s.n > 0 && s.last().baseOffset >= from {
			s.n--
		}
		if s.n == 0 {
			delete(p.byID, id)
		}
	}
}
