package partition

import (
	"errors"
	"io"

	"tidings.dev/internal/batch"
)

// maxLookBytes bounds what a batch may decompress to when a record in it is looked for by time. A batch that holds
// more is taken as a whole.
const maxLookBytes = 64 << 20

// OffsetForTime finds the first record at or after Start whose timestamp is at least ms. ok is false if there is none.
// A batch whose records can't be decoded counts as one record of its largest timestamp. It reads at most an index
// interval and the batches whose head promises such a record.
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

// segmentForTime copies the first segment with offsets from `from` on whose largest timestamp is late enough; next is
// the offset after it. With l.mu held.
func (l *Log) segmentForTime(from, ms int64) (seg segment, next int64, ok bool) {
	for i, s := range l.segments {
		if next = l.segmentEnd(i); next > from && s.MaxTimestamp >= ms {
			return *s, next, true
		}
	}
	return segment{}, 0, false
}

// segmentEnd is the offset after the i-th segment. With l.mu held.
func (l *Log) segmentEnd(i int) int64 {
	if i+1 < len(l.segments) {
		return l.segments[i+1].Base
	}
	return l.written
}

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

func (l *Log) tryTimeInSegment(seg *segment, from, ms int64, useIndex bool) (offset, timestamp int64, ok bool, err error) {
	var entry indexEntry
	if useIndex {
		// The last entry before which nothing is late enough, and which isn't past `from`'s own entry unless that is
		// further on: both conditions hold up to an entry, so their union does.
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

func timeInTail(batches []tailBatch, from, ms int64) (offset, timestamp int64, ok bool) {
	for i := range batches {
		if offset, timestamp, ok = timeInBatch(batches[i].View, from, ms); ok {
			return offset, timestamp, true
		}
	}
	return 0, 0, false
}

// timeInBatch finds the first record from `from` on with a timestamp of at least ms.
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

// MaxTimestamp finds the first record with the largest timestamp of all; -1, -1 if the log is empty. Where a segment
// can't be read, the batch that has the timestamp is named by its base offset.
func (l *Log) MaxTimestamp() (offset, timestamp int64) {
	l.mu.RLock()
	start := l.start
	// The segment that holds the start may have its largest timestamp below it.
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

// maxFrom finds the first record with the largest timestamp among those of one segment from start on; -1, -1 if there
// is none that can be read.
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

// maxInBatch finds the first record with the largest timestamp among those from start on, if it is larger than one
// known.
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
