package partition

import (
	"errors"
	"io"
	"time"

	"tidings.dev/internal/batch"
)

// DefaultMapBytes is the default of Compaction.MapBytes, in bytes. It is enough for about half a million keys.
const DefaultMapBytes = 16 << 20

// maxCompactedBatchBytes is the largest decompressed size in bytes of a batch that compaction decodes. A larger batch
// is copied unchanged.
const maxCompactedBatchBytes = 64 << 20

// Compaction contains the parameters of one call of Log.Compact.
type Compaction struct {
	Stable int64         // the last stable offset: records at or above it are not changed
	Now    time.Time     // the current time, from which MinLag and TombstoneAge are measured
	MinLag time.Duration // segments with records younger than this are not changed; 0 means no limit
	// TombstoneAge is how long tombstones are kept, beginning with the compaction that removes the records which they
	// delete.
	TombstoneAge time.Duration
	// MapBytes is the memory in bytes for the map of keys. 0 means DefaultMapBytes. If not all keys fit, several
	// compactions are needed.
	MapBytes int

	// LastOfProducer maps the id of each live producer to the last offset of its last batch. That batch is kept even
	// when it has no records any more, so that the producer's sequence number can be read from the log.
	LastOfProducer map[int64]int64
	// Pace is called between pieces of work with the number of bytes read or written since its last call. It may sleep.
	// If it returns an error, Compact ends and returns that error. nil means that compaction does not pause.
	Pace func(bytes int64) error
}

// Compacted is the result of one call of Log.Compact.
type Compacted struct {
	ReadBytes, WrittenBytes int64
	RemovedRecords          int64
	Through                 int64 // the log is compacted below this offset
	// More means that dirty records are left, because not all keys fit the memory or because retention has removed a
	// segment meanwhile.
	More bool
}

// Dirtiness describes how much of a log could be compacted. It only counts segments that a compaction may rewrite.
type Dirtiness struct {
	CleanBytes, DirtyBytes int64 // sizes of the segments below Compacted.Through, and of the others
	// OldestMS is the time of the oldest dirty record in milliseconds since the Unix epoch, estimated from its segment.
	// It is -1 if there is none.
	OldestMS      int64
	TombstonesDue bool // the delete horizon of some tombstones has passed, so that they can be removed
}

// Ratio returns the share of dirty bytes in all bytes, in [0, 1]. It returns 0 if there are no dirty bytes.
func (d Dirtiness) Ratio() float64 {
	if d.DirtyBytes == 0 {
		return 0
	}
	return float64(d.DirtyBytes) / float64(d.CleanBytes+d.DirtyBytes)
}

// Dirtiness returns the dirtiness of the log for a compaction with the parameters c, assuming that everything that is
// written to segments is also synced. It does no I/O.
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
			// Compaction may have set the first timestamp of this segment to a delete horizon.
			if d.OldestMS = seg.FirstTimestamp; seg.Generation > 0 {
				d.OldestMS = seg.MaxTimestamp
			}
		}
		d.DirtyBytes += seg.SizeBytes
	}
	return d
}

// compactable returns the number of segments, from the first on, that a compaction may rewrite: they are undamaged and
// closed, end at or below c.Stable, and have no records younger than c.MinLag. l.mu must be held.
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

// Compact compacts the log by key below an offset, which Compacted.Through returns: the end of the segments that may be
// compacted, or a lower offset if not all keys fit the memory. Below that offset only the last record of each key is
// kept. A tombstone is kept until its delete horizon, which is set when all records that the tombstone deletes are
// removed. Records without a key and records of aborted transactions are removed; control batches are always kept. Records keep their offsets. A batch
// that cannot be decoded is kept unchanged.
//
// Compact writes new segments in the place of old ones that are closed and synced; the caller should call Sync before.
// It never changes the last segment, nor any segment that no checkpoint can contain yet. Readers see the old segments
// until the new ones are complete, and the files of the old segments stay until Reclaim. Compact blocks until it is
// done. Reads, appends and syncs go on meanwhile, and Close ends it early.
//
// If a segment is damaged, the error is a *CorruptError. After any error the log is intact, and segments that were
// already replaced stay replaced.
func (l *Log) Compact(c Compaction) (Compacted, error) {
	l.compacting.Lock()
	defer l.compacting.Unlock()
	if c.MapBytes <= 0 {
		c.MapBytes = DefaultMapBytes
	}
	p, err := l.beginCompaction(c)
	if err != nil || len(p.inputs) == 0 {
		return p.did, err
	}
	if err = p.buildOffsetMap(); err == nil {
		err = p.rewrite()
	}
	if errors.Is(err, errGone) { // retention has removed a segment meanwhile; a later compaction does the rest
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

// compactionRun is the state of one call of Compact. It is used by one goroutine, which holds log.compacting.
type compactionRun struct {
	log    *Log
	c      Compaction
	config Config
	known  epochs            // the log's leader epochs at the beginning of the compaction
	inputs []compactionInput // the segments that may be rewritten, in order
	from   int64             // records at or above this offset are dirty
	end    int64             // offset after the last record of inputs
	keys   *offsetMap        // maps each key in [from, through) to the offset of its last record
	// through is the offset from which on nothing is removed. from <= through <= end, unless from is above end.
	through int64

	scratch []byte // memory that filter writes its result to
	unpaced int64  // bytes of work since the last call of c.Pace
	did     Compacted
}

// compactionInput is a segment at the time when the compaction began. Its original must still be in the log when the
// compaction replaces it.
type compactionInput struct {
	segment           // copy of *original
	original *segment // the segment in log.segments
	end      int64    // offset after the segment's last record
}

// beginCompaction returns a compactionRun whose inputs are the segments that may be compacted; there may be none. After
// an error the run has no inputs.
func (l *Log) beginCompaction(c Compaction) (*compactionRun, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	p := &compactionRun{log: l, c: c, config: l.config, known: l.epochs, from: max(l.compacted, l.start)}
	p.did.Through = l.compacted
	if l.failed != nil {
		return p, l.failed
	}
	for i, seg := range l.segments[:l.compactable(c)] {
		end := l.segmentEnd(i)
		if end > l.syncedEnd || seg.synced.SizeBytes != seg.SizeBytes {
			break
		}
		p.inputs = append(p.inputs, compactionInput{*seg, seg, end})
		p.end = end
	}
	return p, nil
}

// buildOffsetMap reads the dirty records and fills p.keys with the last offset of each key. If the map gets full, it
// sets p.through to the offset of the first record that the map has no space for.
func (p *compactionRun) buildOffsetMap() error {
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
					break // a batch that cannot be decoded is kept unchanged
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

// aborted reports whether the records of a batch belong to an aborted transaction.
func (p *compactionRun) aborted(v batch.View) bool {
	if !v.Transactional() || v.Control() {
		return false
	}
	p.log.mu.RLock()
	defer p.log.mu.RUnlock()
	return p.log.transactions.isAborted(v)
}

// eachBatch calls do for each batch of a segment, in order, until do returns false or an error. The bytes of the batch
// are valid until do returns.
func (p *compactionRun) eachBatch(in *compactionInput, do func(batch.View) (bool, error)) error {
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

// pace counts bytes of work and calls c.Pace after every writeBytes of them. It returns ErrClosed if the log is closed,
// and otherwise the error of c.Pace.
func (p *compactionRun) pace(bytes int64) error {
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

// rewrite goes through the segments below p.through. It rewrites the segments from which the compaction removes
// something, and joins neighbours that fit one segment together.
func (p *compactionRun) rewrite() error {
	var out *replacement
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
			out = &replacement{run: p}
		}
		if err := out.take(in); err != nil {
			return err
		}
	}
	return finish()
}

// fitTogether reports whether the segments a and b, which must be neighbours, fit one segment.
func (p *compactionRun) fitTogether(a, b *compactionInput) bool {
	return a.SizeBytes+b.SizeBytes <= p.config.SegmentBytes && b.end-a.Base <= maxSegmentOffsets
}

// maxSegmentOffsets is the largest number of offsets in one segment. The index stores them, relative to the segment's
// base, in 32 bits.
const maxSegmentOffsets = 1 << 31

// changes reports whether the compaction would remove anything from a segment. It may read the whole segment.
func (p *compactionRun) changes(in *compactionInput) (bool, error) {
	if p.keys.used == 0 && (in.DeleteHorizon < 0 || in.DeleteHorizon > p.c.Now.UnixMilli()) && in.end <= p.from {
		return false, nil // no key has a later record, and no tombstone is due
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

// filter appends to dst what the compaction keeps of a batch, which may be nothing, and returns the result. changed
// reports whether the compaction removes something from v. A gap counts as unchanged and is not appended, since
// segmentWriter.gap makes the gaps of the new segment. filter adds the removed records to p.did.RemovedRecords.
func (p *compactionRun) filter(dst []byte, v batch.View) (out []byte, changed bool) {
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
