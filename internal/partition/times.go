package partition

import (
	"errors"
	"io"

	"tidings.dev/internal/batch"
)

// maxLookBytes is the largest decompressed size in bytes of a batch that a search by time decodes. A larger batch
// counts as one record.
const maxLookBytes = 64 << 20

// OffsetForTime returns the offset and timestamp of the first record at or after Start whose timestamp, in milliseconds
// since the Unix epoch, is at least ms. ok is false if there is none. A batch whose records cannot be decoded counts as
// one record with the batch's largest timestamp. OffsetForTime reads at most one index interval and the batches whose
// largest timestamp is at least ms. The error is a *CorruptError or one of I/O.
func (l *Log) OffsetForTime(ms int64) (offset, timestamp int64, ok bool, err error) {
	l.mu.RLock()
	from := l.start
	l.mu.RUnlock()
	for {
		l.mu.RLock()
		from = max(from, l.start)
		seg, next, found := l.segmentForTime(from, ms)
		if !found {
			offset, timestamp, ok = timeInTail(l.tail.unwritten(), from, ms)
			l.mu.RUnlock()
			return offset, timestamp, ok, nil
		}
		l.mu.RUnlock()

		offset, timestamp, ok, err = l.timeInSegment(&seg, from, ms)
		switch {
		case errors.Is(err, errGone):
			continue
		case err != nil || ok:
			return offset, timestamp, ok, err
		}
		from = next
	}
}

// segmentForTime returns a copy of the first segment that ends after the offset from and whose largest timestamp is at
// least ms. next is the offset after the segment. ok is false if there is no such segment. l.mu must be held.
func (l *Log) segmentForTime(from, ms int64) (seg segment, next int64, ok bool) {
	for i, s := range l.segments {
		if next = l.segmentEnd(i); next > from && s.MaxTimestamp >= ms {
			return *s, next, true
		}
	}
	return segment{}, 0, false
}

// segmentEnd returns the offset after the last record of the i-th segment. l.mu must be held.
func (l *Log) segmentEnd(i int) int64 {
	if i+1 < len(l.segments) {
		return l.segments[i+1].Base
	}
	return l.written
}

// timeInSegment returns the first record of a segment whose offset is at least from and whose timestamp is at least ms.
// If the index cannot be used, it builds it again.
func (l *Log) timeInSegment(seg *segment, from, ms int64) (offset, timestamp int64, ok bool, err error) {
	offset, timestamp, ok, err = l.tryTimeInSegment(seg, from, ms, true)
	if _, corrupt := errors.AsType[*CorruptError](err); corrupt || errors.Is(err, errIndex) {
		if _, err = l.rebuild(seg.SegmentName, from); err != nil {
			return 0, 0, false, err
		}
		return l.tryTimeInSegment(seg, from, ms, false)
	}
	return offset, timestamp, ok, err
}

// tryTimeInSegment does what timeInSegment does, with the index as it is, or without the index if useIndex is false.
func (l *Log) tryTimeInSegment(seg *segment, from, ms int64, useIndex bool) (offset, timestamp int64, ok bool, err error) {
	var entry indexEntry
	if useIndex {
		// The search begins at the last entry that satisfies one of two conditions: all batches before it are older
		// than ms, or its batch is not after from. Each condition holds for all entries up to some entry, so that their
		// disjunction does too, as lookUp requires.
		entry, _, err = l.lookUp(seg, func(e indexEntry) bool {
			return e.maxBefore < ms || seg.Base+int64(e.offset) <= from
		})
		if err != nil {
			return 0, 0, false, err
		}
	}
	w, err := l.walk(seg, int64(entry.position), seg.Base+int64(entry.offset), seekBytes)
	if err != nil {
		return 0, 0, false, err
	}
	defer w.close()
	for {
		v, err := w.next()
		if err == io.EOF {
			return 0, 0, false, nil
		}
		if err != nil {
			return 0, 0, false, err
		}
		if offset, timestamp, ok = timeInBatch(v, from, ms); ok {
			return offset, timestamp, true, nil
		}
	}
}

// timeInTail returns the first record in batches whose offset is at least from and whose timestamp is at least ms.
func timeInTail(batches []tailBatch, from, ms int64) (offset, timestamp int64, ok bool) {
	for i := range batches {
		if offset, timestamp, ok = timeInBatch(batches[i].View, from, ms); ok {
			return offset, timestamp, true
		}
	}
	return 0, 0, false
}

// timeInBatch returns the first record in v whose offset is at least from and whose timestamp is at least ms. If v
// cannot be decoded, it counts as one record.
func timeInBatch(v batch.View, from, ms int64) (offset, timestamp int64, ok bool) {
	if v.LastOffset() < from || v.MaxTimestamp() < ms {
		return 0, 0, false
	}
	for r, err := range batch.Records(v, maxLookBytes) {
		if err != nil {
			return max(v.BaseOffset(), from), v.MaxTimestamp(), true
		}
		if r.Offset >= from && r.Timestamp >= ms {
			return r.Offset, r.Timestamp, true
		}
	}
	return 0, 0, false
}

// MaxTimestamp returns the offset and timestamp of the first record that has the largest timestamp of the log. It
// returns -1, -1 if the log is empty. If the record's segment cannot be read, the offset is the base offset of its
// batch.
func (l *Log) MaxTimestamp() (offset, timestamp int64) {
	l.mu.RLock()
	start := l.start
	// The segment that contains the start may have its largest timestamp in a record below the start.
	partly, found := l.snapshot(start)
	l.mu.RUnlock()
	offset, timestamp = -1, -1
	if found && partly.MaxBase < start {
		offset, timestamp = l.maxFrom(&partly, start)
	}

	l.mu.RLock()
	var holder *segment
	for i, s := range l.segments {
		if l.segmentEnd(i) > start && s.MaxBase >= start && s.MaxTimestamp > timestamp {
			snapshot := *s
			offset, timestamp, holder = s.MaxBase, s.MaxTimestamp, &snapshot
		}
	}
	for _, b := range l.tail.unwritten() {
		if found, at, later := maxInBatch(b.View, start, timestamp); later {
			offset, timestamp, holder = found, at, nil
		}
	}
	l.mu.RUnlock()
	if holder == nil {
		return offset, timestamp
	}
	if found, at, ok, err := l.timeInSegment(holder, start, timestamp); err == nil && ok {
		return found, at
	}
	return offset, timestamp
}

// maxFrom returns the first record with the largest timestamp among the records of one segment with offsets of at least
// start. It returns -1, -1 if no such record can be read.
func (l *Log) maxFrom(seg *segment, start int64) (offset, timestamp int64) {
	offset, timestamp = -1, -1
	w, err := l.walk(seg, 0, seg.Base, scanBytes)
	if err != nil {
		return offset, timestamp
	}
	defer w.close()
	for {
		v, err := w.next()
		if err != nil {
			return offset, timestamp
		}
		if found, at, later := maxInBatch(v, start, timestamp); later {
			offset, timestamp = found, at
		}
	}
}

// maxInBatch returns the first record with the largest timestamp among the records of v with offsets of at least start.
// later is false if that timestamp is not larger than known.
func maxInBatch(v batch.View, start, known int64) (offset, timestamp int64, later bool) {
	timestamp = known
	if v.LastOffset() < start || v.MaxTimestamp() <= known {
		return 0, 0, false
	}
	for r, err := range batch.Records(v, maxLookBytes) {
		if err != nil {
			return max(v.BaseOffset(), start), v.MaxTimestamp(), true
		}
		if r.Offset >= start && r.Timestamp > timestamp {
			offset, timestamp = r.Offset, r.Timestamp
		}
	}
	return offset, timestamp, timestamp > known
}
