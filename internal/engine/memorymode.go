package engine

import (
	"fmt"
	"sort"
	"sync"
	"time"

	"tidings.dev/internal/batch"
	"tidings.dev/internal/datadir"
	"tidings.dev/internal/txn"
)

// Memory mode. A partition of a topic with durability memory writes its records neither to the journal nor to segments.
// They are kept in a ring, from which consumers must read them before newer records push them out.
//
// Offsets of such a partition come from blocks. A block is reserved in the journal before the first of its offsets is
// given to a record, so that no offset is given twice, even after a restart that was not clean. The partition's log is
// empty. Its end is the end of the reserved offsets, and checkpoints record it.

const (
	reservedOffsets  = 1 << 20 // number of offsets in one block, which costs one sync
	defaultRingBytes = 4 << 20 // size of a ring whose topic does not set retention.bytes
)

// ring holds the newest batches of a partition in memory mode. Only a goroutine that holds the partition's assign
// appends; readers may run concurrently.
type ring struct {
	reserved int64 // end of the offsets that are durably reserved, exclusive; guarded by the partition's assign

	// mu guards the fields below. Invariants: start <= end; batches[gone:] are in the order of their offsets, and the
	// last of them ends at end.
	mu      sync.RWMutex
	batches []batch.View
	gone    int // number of batches at the front of batches that were dropped; these elements are nil
	// start is the first offset that may be read, and end is the offset after the last record.
	start, end int64
	bytes      int64 // size of batches[gone:]
}

// newRing returns an empty ring whose next offset is at, and in which the offsets below at are reserved.
func newRing(at int64) *ring { return &ring{reserved: at, start: at, end: at} }

// append adds the batch v, which must begin at r.end, and drops the oldest batches until at most maxBytes are held. It
// never drops the newest batch. The ring keeps the bytes of v.
func (r *ring) append(v batch.View, maxBytes int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.batches = append(r.batches, v)
	r.bytes += int64(len(v))
	r.end = v.NextOffset()
	for r.bytes > maxBytes && r.gone < len(r.batches)-1 {
		r.bytes -= int64(len(r.batches[r.gone]))
		r.batches[r.gone] = nil
		r.gone++
		r.start = r.batches[r.gone].BaseOffset()
	}
	if live := len(r.batches) - r.gone; r.gone >= 64 && r.gone > live {
		r.batches, r.gone = append(make([]batch.View, 0, live+live/2), r.batches[r.gone:]...), 0
	}
}

// forgetBefore drops the batches that lie wholly below offset. The ring's start becomes offset if that is higher than
// the start.
func (r *ring) forgetBefore(offset int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.gone < len(r.batches) && r.batches[r.gone].NextOffset() <= offset {
		r.bytes -= int64(len(r.batches[r.gone]))
		r.batches[r.gone] = nil
		r.gone++
	}
	r.start = max(r.start, min(offset, r.end))
}

// read appends batches from offset on to dst, as partition.Log.Read does. At least one batch is returned if there is
// one.
func (r *ring) read(dst [][]byte, offset int64, maxBytes int) ([][]byte, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if offset < r.start || offset > r.end {
		return dst, fmt.Errorf("%w: %d is not in [%d, %d]", ErrOffsetOutOfRange, offset, r.start, r.end)
	}
	live := r.batches[r.gone:]
	live = live[sort.Search(len(live), func(i int) bool { return live[i].LastOffset() >= offset }):]
	for got, i := 0, 0; i < len(live) && (i == 0 || got+len(live[i]) <= maxBytes); i++ {
		dst, got = append(dst, live[i]), got+len(live[i])
	}
	return dst, nil
}

// bounds returns the first offset that may be read and the offset after the last record.
func (r *ring) bounds() (start, end int64) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.start, r.end
}

// each calls do with each batch in the ring, oldest first, until do returns false. do must not call methods of the
// ring.
func (r *ring) each(do func(batch.View) bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, v := range r.batches[r.gone:] {
		if !do(v) {
			return
		}
	}
}

// skipTo empties the ring and makes at both the next offset and the end of the reserved offsets. Only recovery calls
// it.
func (r *ring) skipTo(at int64) { r.reserved, r.start, r.end = at, at, at }

// appendToRing completes an append in memory mode: it gives offsets to the batches, adds them to the ring and fills
// op.answer. The caller must hold the partition's assign. appendToRing blocks for one sync if a block of offsets must
// be reserved.
func (op *appendOp) appendToRing(now time.Time, config *partConfig) error {
	p, e := op.part, op.engine
	var count int64
	for v := range batch.Split(op.records) {
		count += v.NextOffset() - v.BaseOffset()
	}
	if p.next+count > p.ring.reserved {
		if err := e.reserveOffsets(p, p.next+max(count, reservedOffsets)); err != nil {
			return err
		}
	}
	maxBytes := config.log.RetentionBytes
	if maxBytes <= 0 {
		maxBytes = defaultRingBytes
	}
	op.stamp(now, config)
	for v := range batch.Split(op.records) {
		p.producers.Record(txn.BatchOf(v), p.next, txn.AppendTimeMS(v), now)
		p.next = v.NextOffset()
		p.ring.append(v, maxBytes)
	}
	// Readers of the ring may keep the bytes without a limit of time, so the memory is left to the garbage collector.
	op.memory = nil
	op.answer.LogStart, _ = p.ring.bounds()
	p.waiting.wake()
	return nil
}

// reserveOffsets makes durable that the offsets of p below end are reserved, which takes about one sync. It also lowers
// the reservation, if end is less than before. The caller must hold the partition's assign.
func (e *Engine) reserveOffsets(p *part, end int64) error {
	// The log moves first. A checkpoint that is taken between the two steps then at worst skips offsets that were given
	// to no record. In the other order its boundary could cover the entry although its state lacks the effect, and
	// after a crash offsets would be given twice.
	if err := p.log.SkipTo(end); err != nil {
		return err
	}
	if err := e.commit(datadir.KindReserved, datadir.EncodePartitionOffset(p.id, end)); err != nil {
		return err
	}
	p.ring.reserved = end
	return nil
}

// giveBackOffsets ends each partition's reservation at the next offset to give. Offsets then go on without a gap after
// a clean stop, and a consumer that has read everything is not out of range. Close calls it.
func (e *Engine) giveBackOffsets() error {
	for _, p := range e.allParts() {
		if p.ring == nil {
			continue
		}
		p.assign.Lock()
		var err error
		if p.ring.reserved > p.next && !p.deleted.Load() {
			err = e.reserveOffsets(p, p.next)
		}
		p.assign.Unlock()
		if err != nil {
			return err
		}
	}
	return nil
}
