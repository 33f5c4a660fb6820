package engine

import (
	"fmt"
	"sort"
	"sync"
	"time"

	"tidings.dev/internal/batch"
	"tidings.dev/internal/meta"
)

// A partition in memory mode never touches journal or segments with its records: they go into a ring, to whoever reads
// in time. Its offsets come from blocks that are reserved in the journal before one of them is given, so that after a
// restart, clean or not, none comes again. Its log, which is empty, stands at the end of what is reserved: that is what
// checkpoints record.

const (
	reservedOffsets  = 1 << 20 // how many are reserved at once: one sync per million records
	defaultRingBytes = 4 << 20 // of a partition whose topic sets no retention.bytes
)

// ring is the last batches of a partition in memory mode. Readers run beside the one who appends.
type ring struct {
	reserved int64 // offsets below are durably taken; guarded by the partition's assign

	mu         sync.RWMutex
	batches    []batch.View // in order; the first `gone` are forgotten
	gone       int
	start, end int64
	bytes      int64
}

func newRing(at int64) *ring { return &ring{reserved: at, start: at, end: at} }

// append takes a batch, which begins at end, and forgets the oldest ones so that at most maxBytes are held. The newest
// is always held.
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

// forgetBefore forgets the batches that are wholly below an offset, which becomes the start.
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

// read is partition.Log.Read of what is held.
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

func (r *ring) bounds() (start, end int64) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.start, r.end
}

// each calls do with what is held, oldest first, until it returns false.
func (r *ring) each(do func(batch.View) bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, v := range r.batches[r.gone:] {
		if !do(v) {
			return
		}
	}
}

// skipTo is for recovery: nothing is held, and the next offset is at.
func (r *ring) skipTo(at int64) { r.reserved, r.start, r.end = at, at, at }

// remember is the end of an append in memory mode, under the partition's assign lock: it gives offsets and makes the
// batches visible. It blocks for a sync where offsets must be reserved.
func (op *appendOp) remember(now time.Time, limits *partLimits) error {
	p, e := op.part, op.engine
	var count int64
	for v := range batch.Split(op.records) {
		count += v.NextOffset() - v.BaseOffset()
	}
	if p.next+count > p.ring.reserved {
		if err := e.reserve(p, p.next+max(count, reservedOffsets)); err != nil {
			return err
		}
	}
	maxBytes := limits.log.RetentionBytes
	if maxBytes <= 0 {
		maxBytes = defaultRingBytes
	}
	op.stamp(now, limits)
	for v := range batch.Split(op.records) {
		p.producers.Record(producerOf(v), p.next, appendTime(v), now)
		p.next = v.NextOffset()
		p.ring.append(v, maxBytes)
	}
	op.memory = nil // the ring's readers may look at it for as long as they like
	op.answer.LogStart, _ = p.ring.bounds()
	p.waiting.wake()
	return nil
}

// reserve makes it durable that offsets below end are taken. Assign is held.
func (e *Engine) reserve(p *part, end int64) error {
	// The log moves first. A checkpoint between the two may then skip offsets that nobody was given; in the other order
	// it could cover the entry without its effect, and after a crash offsets would be given twice.
	if err := p.log.SkipTo(end); err != nil {
		return err
	}
	if err := e.commit(kindReserved, encodeLogStart(p.id, end)); err != nil {
		return err
	}
	p.ring.reserved = end
	return nil
}

// giveBackOffsets ends the reservations at what was given, so that after a clean stop offsets go on without a gap and a
// reader who had read everything is not out of range.
func (e *Engine) giveBackOffsets() error {
	for _, p := range e.allParts() {
		if p.ring == nil {
			continue
		}
		p.assign.Lock()
		var err error
		if p.ring.reserved > p.next && !p.deleted.Load() {
			err = e.reserve(p, p.next)
		}
		p.assign.Unlock()
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *recovery) replayReserved(payload []byte) error {
	id, end, err := parseLogStart(payload)
	if err != nil {
		return err
	}
	p := r.parts[id]
	if p == nil {
		return nil // its topic is gone
	}
	if p.ring == nil {
		return fmt.Errorf("engine: partition %s/%d reserves offsets and is not in memory mode", id.Topic, id.Index)
	}
	p.ring.skipTo(end)
	p.next = end
	return p.log.SkipTo(end)
}

// start is the first offset that may be read.
func (p *part) start() int64 {
	if p.ring != nil {
		start, _ := p.ring.bounds()
		return start
	}
	return p.log.Start()
}

// end is the high watermark.
func (p *part) end() int64 {
	if p.ring != nil {
		_, end := p.ring.bounds()
		return end
	}
	return p.log.End()
}

// read is partition.Log.Read, of log or ring.
func (p *part) read(dst [][]byte, offset int64, maxBytes int, orStored bool) (_ [][]byte, stored Stored, err error) {
	switch {
	case p.ring != nil:
		dst, err = p.ring.read(dst, offset, maxBytes)
	case orStored:
		return p.log.ReadStored(dst, offset, maxBytes)
	default:
		dst, err = p.log.Read(dst, offset, maxBytes)
	}
	return dst, Stored{}, err
}

// maxTimestamp is the record with the largest timestamp; -1, -1 if there is none. In memory mode it is known to the
// batch.
func (p *part) maxTimestamp() (offset, ts int64) {
	if p.ring == nil {
		return p.log.MaxTimestamp()
	}
	offset, ts = -1, -1
	p.ring.each(func(v batch.View) bool {
		if v.MaxTimestamp() > ts {
			offset, ts = v.LastOffset(), v.MaxTimestamp()
		}
		return true
	})
	return offset, ts
}

// offsetForTime finds the first record at or after a time. In memory mode the first record of its batch is found.
func (p *part) offsetForTime(ms int64) (offset, ts int64, ok bool, err error) {
	if p.ring == nil {
		return p.log.OffsetForTime(ms)
	}
	p.ring.each(func(v batch.View) bool {
		if v.MaxTimestamp() < ms {
			return true
		}
		offset, ts, ok = v.BaseOffset(), v.MaxTimestamp(), true
		return false
	})
	return offset, ts, ok, nil
}

// inMemory says whether a topic's records are kept in memory only.
func (l *partLimits) inMemory() bool { return l.durability == meta.Memory }
