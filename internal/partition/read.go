package partition

import (
	"errors"
	"fmt"
	"io"
	"math"
	"sort"

	"tidings.dev/internal/batch"
)

// Read appends batches to dst and returns it. It begins with the batch that contains offset, or with the next batch if
// compaction has removed that one. It appends at most maxBytes of batches, but always at least one batch if there is
// one. Each element that it appends is one or more whole batches. It is immutable and its memory is never reused, so
// that the caller may keep it. If offset is End, nothing is appended. If it is below Start or above End, the error
// matches ErrOffsetOutOfRange.
//
// Batches in memory are returned without a copy and without I/O. Other batches are read from the segment files, and
// their checksums, offsets and leader epochs are checked. If the first batch is damaged, the error is a *CorruptError;
// if a later one is damaged, Read returns the batches before it.
//
// If the log has a ReadAhead and batches are read sequentially, Read starts to read the following batches in the
// background.
func (l *Log) Read(dst [][]byte, offset int64, maxBytes int) ([][]byte, error) {
	r := readOp{log: l, dst: dst, offset: offset, maxBytes: maxBytes}
	err := r.runAndReadAhead()
	return r.dst, err
}

// readOp is the state of one call of Read. It is used by one goroutine.
type readOp struct {
	log      *Log
	dst      [][]byte
	offset   int64 // offset of the next record to read
	maxBytes int
	got      int  // number of bytes that were appended to dst
	prefetch bool // this is a read of ReadAhead, which does not want batches that are in memory
	canSend  bool // batches that come later can be sent from their file: see ReadStored

	sequential bool  // the last batches came from a segment and follow what an earlier read has read
	following  int64 // if sequential: the offset at which reading ahead should begin
}

// runAndReadAhead calls run, and then starts to read the following batches ahead, unless they can be sent from their
// file.
func (r *readOp) runAndReadAhead() error {
	err := r.run()
	if r.sequential && err == nil && !(r.canSend && r.log.stored(r.following, r.maxBytes, math.MaxInt64).sizeBytes > 0) {
		r.log.readAhead.begin(r.log, r.following, r.maxBytes)
	}
	return err
}

// run reads batches from memory, or from one segment after the other.
func (r *readOp) run() error {
	l := r.log
	for {
		l.mu.RLock()
		if l.closed.Load() {
			l.mu.RUnlock()
			return ErrClosed
		}
		if r.offset < l.start || r.offset > l.end {
			start, end := l.start, l.end
			l.mu.RUnlock()
			if r.got > 0 { // records were deleted during the read
				return nil
			}
			return fmt.Errorf("%w: %d is not in [%d, %d]", ErrOffsetOutOfRange, r.offset, start, end)
		}
		if r.offset >= l.tail.first(l.end) {
			if !r.prefetch {
				r.dst = l.tail.read(r.dst, r.offset, r.maxBytes, r.got)
			}
			r.sequential = false
			l.mu.RUnlock()
			return nil
		}
		seg, found := l.snapshot(r.offset)
		known := l.epochs
		l.mu.RUnlock()
		if !found {
			return fmt.Errorf("partition: %s has no segment for offset %d", l.dir, r.offset)
		}
		if more, err := r.history(&seg, known); err != nil || !more {
			return err
		}
	}
}

// history reads batches from a segment, or takes them from the ReadAhead if they were read ahead. more reports whether
// the read may go on with the following batches.
func (r *readOp) history(seg *segment, known epochs) (more bool, err error) {
	l := r.log
	if l.readAhead.serve(r) {
		r.sequential = true
		return r.got == 0, nil
	}
	batches, next, inOrder, err := l.readSegment(seg, known, r.offset, r.maxBytes-r.got, r.got == 0)
	switch {
	case errors.Is(err, errGone):
		return true, nil // the segment was deleted or replaced, so that run must look for the offset again
	case err != nil && r.got == 0:
		return false, err
	case err != nil || len(batches) == 0:
		return false, nil
	}
	if seg.Generation == 0 {
		r.dst, r.got = append(r.dst, batches), r.got+len(batches)
	} else {
		var taken int
		r.dst, taken = appendWithoutGaps(r.dst, batches)
		r.got += taken
	}
	r.offset, r.following, r.sequential = next, next, inOrder
	return r.got == 0 || r.got < r.maxBytes, nil
}

// appendWithoutGaps appends whole batches to dst, without the empty batches that fill gaps. Each element that it
// appends is a run of batches between gaps. It returns dst and the number of bytes that it has appended.
func appendWithoutGaps(dst [][]byte, batches []byte) (_ [][]byte, bytes int) {
	run := 0 // position at which the current run begins
	add := func(end int) {
		if end > run {
			dst, bytes = append(dst, batches[run:end:end]), bytes+end-run
		}
	}
	for at := 0; at < len(batches); {
		n, _ := batch.Length(batches[at:])
		if batch.View(batches[at:]).Gap() {
			add(at)
			run = at + n
		}
		at += n
	}
	add(len(batches))
	return dst, bytes
}

// snapshot returns a copy of the segment that contains offset, and whether there is one. l.mu must be held.
func (l *Log) snapshot(offset int64) (segment, bool) {
	i := l.segmentAt(offset)
	if i < 0 {
		return segment{}, false
	}
	return *l.segments[i], true
}

// segmentAt returns the index of the segment that contains offset, or -1 if there is none. l.mu must be held.
func (l *Log) segmentAt(offset int64) int {
	return sort.Search(len(l.segments), func(i int) bool { return l.segments[i].Base > offset }) - 1
}

// readSegment reads whole batches from a segment, beginning with the batch that contains offset. It reads at most
// maxBytes; if must is true, it reads at least one batch. next is the offset after these batches. inOrder reports
// whether offset is the beginning of the segment or the end of an earlier read.
func (l *Log) readSegment(seg *segment, known epochs, offset int64, maxBytes int, must bool) (data []byte, next int64, inOrder bool, err error) {
	position, inOrder := int64(0), offset == seg.Base
	if !inOrder {
		position, inOrder = l.hints.find(seg.SegmentName, offset)
	}
	if inOrder = inOrder && position < seg.SizeBytes; !inOrder {
		if position, err = l.seek(seg, offset); err != nil {
			return nil, 0, false, err
		}
	}
	uncached := inOrder && l.hints.isFirst(seg, int64(maxBytes))
	data, next, err = l.readAt(seg, known, position, offset, inOrder, uncached, maxBytes, must)
	if c, ok := errors.AsType[*CorruptError](err); ok && c.Position == position {
		// The segment is damaged, or the hint or the index was wrong. rebuild reads the segment from its beginning.
		if position, err = l.rebuild(seg.SegmentName, offset); err != nil {
			return nil, 0, false, err
		}
		data, next, err = l.readAt(seg, known, position, offset, false, false, maxBytes, must)
	}
	if err != nil {
		return nil, 0, false, err
	}
	if len(data) > 0 {
		l.hints.keep(hint{segment: seg.SegmentName, offset: next, position: position + int64(len(data))})
	}
	return data, next, inOrder, nil
}

// seek returns the position of the batch that contains offset in a segment. If the index cannot be used, it builds it
// again.
func (l *Log) seek(seg *segment, offset int64) (int64, error) {
	position, err := l.trySeek(seg, offset)
	if _, corrupt := errors.AsType[*CorruptError](err); corrupt || errors.Is(err, errIndex) {
		return l.rebuild(seg.SegmentName, offset)
	}
	return position, err
}

// trySeek does what seek does, but returns an error if the index cannot be used.
func (l *Log) trySeek(seg *segment, offset int64) (int64, error) {
	from, _, err := l.lookUp(seg, func(e indexEntry) bool { return seg.Base+int64(e.offset) <= offset })
	if err != nil {
		return 0, err
	}
	w, err := l.walk(seg, int64(from.position), seg.Base+int64(from.offset), seekBytes)
	if err != nil {
		return 0, err
	}
	defer w.close()
	for {
		head, err := w.head()
		if err == io.EOF {
			return 0, w.corrupt(fmt.Sprintf("offset %d should come before", offset))
		}
		if err != nil {
			return 0, err
		}
		if head.LastOffset() >= offset {
			return w.position, nil
		}
		w.skip(head)
	}
}

// readAt reads and checks whole batches of a segment from position on. The first batch must contain offset; if begins
// is true, offset must be its base offset. Otherwise the error is a *CorruptError. If uncached is true, readAt reads
// past the page cache. It reads at most maxBytes, but at least one batch if must is true. next is the offset after the
// batches.
func (l *Log) readAt(seg *segment, known epochs, position, offset int64, begins, uncached bool, maxBytes int, must bool) (data []byte, next int64, err error) {
	f, err := l.open(seg)
	if err != nil {
		return nil, 0, err
	}
	// The file was only read, so that an error of release can be ignored.
	defer func() { _ = f.release() }()
	room := seg.SizeBytes - position
	corrupt := func(at int64, reason string) error {
		return &CorruptError{File: f.key.path(), Position: at, Reason: reason}
	}
	if room < batch.HeaderBytes {
		return nil, 0, corrupt(position, fmt.Sprintf("%d bytes to the end of the segment, too few for a batch", room))
	}

	for want := int(min(max(int64(maxBytes), batch.HeaderBytes), room)); ; {
		var n int
		if uncached {
			data, err = f.ReadUncached(want, position)
			n = len(data)
		} else {
			data = make([]byte, want)
			n, err = f.ReadAt(data, position)
		}
		if n < want && err != io.EOF {
			return nil, 0, err
		}
		if n < batch.HeaderBytes {
			return nil, 0, corrupt(position, fmt.Sprintf("the file ends at %d, it had %d", position+int64(n), seg.SizeBytes))
		}
		data = data[:n]
		first := batch.View(data)
		if reason := checkHead(data, first.BaseOffset(), room); reason != "" {
			return nil, 0, corrupt(position, reason)
		}
		if first.BaseOffset() > offset || first.LastOffset() < offset || begins && first.BaseOffset() != offset {
			return nil, 0, corrupt(position, fmt.Sprintf("batch [%d, %d] where %d belongs", first.BaseOffset(), first.LastOffset(), offset))
		}
		whole, _ := batch.Length(data)
		if !must && whole > maxBytes { // a batch without records is not longer than the header, which is always read
			return nil, 0, nil
		}
		if whole <= n {
			break
		}
		if err == io.EOF {
			return nil, 0, corrupt(position, fmt.Sprintf("the file ends at %d, it had %d", position+int64(n), seg.SizeBytes))
		}
		want = whole
	}

	size, next, reason := checkRun(data, known, room)
	// Bytes that were read past the page cache are not in it. To send them, they would be read from the disk again,
	// unchecked.
	if !uncached {
		f.checked.add(position, position+int64(size))
	}
	if reason != "" {
		return nil, 0, corrupt(position, reason)
	}
	return data[:size:size], next, nil
}

// checkRun returns the size of the whole, undamaged batches at the beginning of data, and the offset after them. data
// must contain the whole first batch. If the first batch is damaged, reason says why. A later damaged batch ends the
// run without a reason, since the next read will begin with it. roomBytes is the number of bytes to the end of the
// segment.
func checkRun(data []byte, known epochs, roomBytes int64) (sizeBytes int, next int64, reason string) {
	next = batch.View(data).BaseOffset()
	for at := 0; ; {
		rest := data[at:]
		whole, ok := batch.Length(rest)
		if len(rest) < batch.HeaderBytes || ok && int64(whole) <= roomBytes-int64(at) && whole > len(rest) {
			return at, next, "" // the last batch is not whole, or there are no more batches
		}
		reason := checkHead(rest, next, roomBytes-int64(at))
		if reason == "" {
			reason = checkStored(rest[:whole], known)
		}
		switch {
		case reason != "" && at == 0:
			return 0, next, reason
		case reason != "":
			return at, next, ""
		}
		at, next = at+whole, batch.View(rest).NextOffset()
	}
}
