package partition

import (
	"errors"
	"io"
	"time"

	"tidings.dev/internal/batch"
)

// DefaultMapBytes is how much memory one pass of compaction takes to remember keys: about half a million of them.
const DefaultMapBytes = 16 << 20

// maxCompactedBatchBytes bounds what a batch may decompress to when compaction looks into it. One that holds more stays
// as it is.
const maxCompactedBatchBytes = 64 << 20

// Compaction says what a pass over a log may do.
type Compaction struct {
	Stable         int64         // nothing at or above it is touched: the last stable offset
	Now            time.Time     // what the times below are measured from
	MinLag         time.Duration // segments with younger records are left alone; 0: none is
	TombstoneAge   time.Duration // how long tombstones stay, counted from the pass that removed what they delete
	MapBytes       int           // DefaultMapBytes; memory for keys. More keys than fit take more passes
	LastOfProducer map[int64]int64
	// LastOfProducer has the last offset of each live producer's last batch, which is kept even when it is empty, so
	// that the producer's sequence can be read from the log.

	// Aborted says whether a batch belongs to an aborted transaction: its records go. nil: none does. Control batches
	// are always kept.
	Aborted func(batch.View) bool
	// Pace is called between pieces of work with the bytes read or written since. It may sleep; an error ends the pass
	// and is returned. nil: no pause.
	Pace func(bytes int64) error
}

// Compacted is what a pass did.
type Compacted struct {
	ReadBytes, WrittenBytes int64
	RemovedRecords          int64
	Through                 int64 // the log is compacted up to here
	More                    bool  // there is more that may be compacted: the keys did not fit the memory
}

// Dirtiness says whether a pass is worth its while. Only segments that a pass may touch are counted.
type Dirtiness struct {
	CleanBytes, DirtyBytes int64 // in segments that compaction has been through, and in others
	OldestMS               int64 // time of the oldest record that it has not been through, by its segment's first batch; -1: none
	TombstonesDue          bool  // the delete horizon of some tombstones has passed
}

// Ratio is the dirty share, 0 for nothing at all.
func (d Dirtiness) Ratio() float64 {
	if d.DirtyBytes == 0 {
		return 0
	}
	return float64(d.DirtyBytes) / float64(d.CleanBytes+d.DirtyBytes)
}

// Dirtiness measures the log as a pass of c would find it once everything written is synced. It does no I/O.
func (l *Log) Dirtiness(c Compaction) Dirtiness {
	d := Dirtiness{OldestMS: -1}
	l.mu.RLock()
	defer l.mu.RUnlock()
	for i, seg := range l.segments[:l.compactable(c)] {
		d.TombstonesDue = d.TombstonesDue || seg.DeleteHorizon >= 0 && seg.DeleteHorizon <= c.Now.UnixMilli()
		if l.segmentEnd(i) <= l.compacted {
			d.CleanBytes += seg.SizeBytes
			continue
		}
		if d.DirtyBytes == 0 {
			if d.OldestMS = seg.FirstTimestamp; seg.Generation > 0 { // that may be a delete horizon
				d.OldestMS = seg.MaxTimestamp
			}
		}
		d.DirtyBytes += seg.SizeBytes
	}
	return d
}

// compactable is how many segments from the first on compaction may touch: whole, closed, below the stable offset and
// old enough. With l.mu held.
func (l *Log) compactable(c Compaction) int {
	for i, seg := range l.segments {
		switch {
		case i == len(l.segments)-1, seg.damage != nil, l.segmentEnd(i) > c.Stable,
			c.MinLag > 0 && seg.MaxTimestamp > c.Now.Add(-c.MinLag).UnixMilli():
			return i
		}
	}
	return 0
}

// Compact makes one pass over the log by key: of all records below a point, which is the more recent part's end or as
// far as the keys fit the memory, only the last of each key stays. A tombstone stays until its delete horizon, which is
// set when all that it deletes has gone. Records without a key go; so do records of aborted transactions. No offset
// changes. Records of a batch that can't be decoded stay.
//
// What is synced already, and closed, is rewritten to new segments: the last segment is never touched, nor what no
// checkpoint can have (call Sync before). Readers see the old segments until they see the new ones. The old ones' files
// stay until Reclaim. It blocks for as long as that takes, beside reads, appends and syncs; Close ends it.
//
// A *CorruptError says that a segment is damaged. After any error the log is as good as before; what the pass had done
// by then stays.
func (l *Log) Compact(c Compaction) (Compacted, error) {
	l.compacting.Lock()
	defer l.compacting.Unlock()
	if c.MapBytes <= 0 {
		c.MapBytes = DefaultMapBytes
	}
	p, err := l.beginPass(c)
	if err != nil || len(p.inputs) == 0 {
		return p.did, err
	}
	if err = p.learn(); err == nil {
		err = p.rewrite()
	}
	if errors.Is(err, errGone) { // retention was faster: what is left is for another pass
		p.did.More = true
		return p.did, nil
	}
	if err != nil {
		return p.did, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.compacted = max(l.compacted, p.through)
	p.did.Through = l.compacted
	return p.did, nil
}

// pass is one compaction at work.
type pass struct {
	log    *Log
	c      Compaction
	config Config
	known  epochs
	inputs []passInput
	from   int64 // dirty from here
	end    int64 // of the inputs
	keys   *offsetMap
	// through is up to where keys knows the last offset of each key. What is at or above it stays.
	through int64

	scratch []byte
	unpaced int64
	did     Compacted
}

// passInput is a segment as the pass found it, and the one that must still be there when it is replaced.
type passInput struct {
	segment
	original *segment
	end      int64 // offset after it
}

func (l *Log) beginPass(c Compaction) (*pass, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	p := &pass{log: l, c: c, config: l.config, known: l.epochs, from: max(l.compacted, l.start)}
	p.did.Through = l.compacted
	if l.failed != nil {
		return p, l.failed
	}
	for i, seg := range l.segments[:l.compactable(c)] {
		end := l.segmentEnd(i)
		if end > l.syncedEnd || seg.synced.SizeBytes != seg.SizeBytes {
			break
		}
		p.inputs = append(p.inputs, passInput{*seg, seg, end})
		p.end = end
	}
	return p, nil
}

// learn reads what is dirty and remembers where each key was last.
func (p *pass) learn() error {
	p.through = max(p.end, p.from)
	p.keys = newOffsetMap(p.through-p.from, p.c.MapBytes)
	for i := range p.inputs {
		if p.inputs[i].end <= p.from {
			continue
		}
		full := false
		err := p.eachBatch(&p.inputs[i], func(v batch.View) (bool, error) {
			if v.LastOffset() < p.from || v.Count() == 0 || v.Control() || p.aborted(v) {
				return true, nil
			}
			for r, err := range batch.Records(v, maxCompactedBatchBytes) {
				if err != nil {
					break // it stays as it is
				}
				if r.Offset < p.from || r.Key == nil {
					continue
				}
				if !p.keys.put(r.Key, r.Offset) {
					full, p.through = true, r.Offset
					return false, nil
				}
			}
			return true, nil
		})
		if err != nil {
			return err
		}
		if full {
			p.did.More = true
			return nil
		}
	}
	return nil
}

func (p *pass) aborted(v batch.View) bool {
	return p.c.Aborted != nil && v.Transactional() && !v.Control() && p.c.Aborted(v)
}

// eachBatch calls do for each batch of a segment, in order, until it says false. The bytes are good until do returns.
func (p *pass) eachBatch(in *passInput, do func(batch.View) (bool, error)) error {
	w, err := p.log.walk(&in.segment, 0, in.Base, scanBytes)
	if err != nil {
		return err
	}
	defer w.close()
	for {
		before := w.position
		v, err := w.next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := p.pace(w.position - before); err != nil {
			return err
		}
		p.did.ReadBytes += w.position - before
		if on, err := do(v); err != nil || !on {
			return err
		}
	}
}

// pace lets others work after every so many bytes.
func (p *pass) pace(bytes int64) error {
	if p.log.closed.Load() {
		return ErrClosed
	}
	if p.unpaced += bytes; p.unpaced < writeBytes || p.c.Pace == nil {
		return nil
	}
	err := p.c.Pace(p.unpaced)
	p.unpaced = 0
	return err
}

// rewrite goes through the segments below the point and writes anew those that change, joining small neighbours.
func (p *pass) rewrite() error {
	var out *rewriting
	defer func() {
		if out != nil {
			out.discard()
		}
	}()
	finish := func() error {
		if out == nil {
			return nil
		}
		err := out.finish()
		if err == nil {
			out = nil
		}
		return err
	}
	for i := range p.inputs {
		in := &p.inputs[i]
		if in.Base >= p.through {
			break
		}
		if out == nil || !out.fits(in) {
			if err := finish(); err != nil {
				return err
			}
			worth := i+1 < len(p.inputs) && p.inputs[i+1].Base < p.through && p.fitTogether(in, &p.inputs[i+1])
			if !worth {
				var err error
				if worth, err = p.changes(in); err != nil {
					return err
				}
			}
			if !worth {
				continue
			}
			out = &rewriting{pass: p}
		}
		if err := out.take(in); err != nil {
			return err
		}
	}
	return finish()
}

func (p *pass) fitTogether(a, b *passInput) bool {
	return a.SizeBytes+b.SizeBytes <= p.config.SegmentBytes && b.end-a.Base <= maxSegmentOffsets
}

// maxSegmentOffsets bounds the offsets that one segment spans: the index has 32 bits for them.
const maxSegmentOffsets = 1 << 31

// changes says whether the pass takes anything away from a segment.
func (p *pass) changes(in *passInput) (bool, error) {
	if p.keys.used == 0 && (in.DeleteHorizon < 0 || in.DeleteHorizon > p.c.Now.UnixMilli()) && in.end <= p.from {
		return false, nil // there was no later record, and no tombstone is due
	}
	found, before := false, p.did.RemovedRecords
	err := p.eachBatch(in, func(v batch.View) (bool, error) {
		var changed bool
		p.scratch, changed = p.filter(p.scratch[:0], v)
		found = found || changed
		return !found, nil
	})
	p.did.RemovedRecords = before
	return found, err
}

// filter appends what the pass leaves of a batch, nothing perhaps.
func (p *pass) filter(dst []byte, v batch.View) (out []byte, changed bool) {
	if v.Gap() {
		return dst, false
	}
	if v.BaseOffset() >= p.through || v.Control() {
		return append(dst, v...), false
	}
	if v.Count() > 0 && !p.aborted(v) {
		horizon, due := int64(-1), false
		if v.LastOffset() < p.through {
			horizon = p.c.Now.Add(p.c.TombstoneAge).UnixMilli()
		}
		if at, ok := v.DeleteHorizon(); ok {
			due = at <= p.c.Now.UnixMilli()
		}
		filtered, kept, err := batch.Filter(dst, v, maxCompactedBatchBytes, horizon, func(r batch.Record) bool {
			switch {
			case r.Offset >= p.through:
				return true
			case r.Key == nil, p.keys.latest(r.Key) > r.Offset:
				return false
			}
			return !(due && r.Tombstone())
		})
		if err != nil {
			return append(dst, v...), false
		}
		p.did.RemovedRecords += int64(int(v.Count()) - kept)
		if kept > 0 {
			_, had := v.DeleteHorizon()
			_, has := batch.View(filtered[len(dst):]).DeleteHorizon()
			return filtered, kept != int(v.Count()) || had != has
		}
	} else {
		p.did.RemovedRecords += int64(v.Count())
	}
	if last, live := p.c.LastOfProducer[v.ProducerID()]; live && last == v.LastOffset() {
		return batch.AppendEmpty(dst, v), v.Count() > 0
	}
	return dst, true
}
