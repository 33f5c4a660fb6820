package partition

import (
	"errors"
	"fmt"
	"io"
	"sort"

	"tidings.dev/internal/batch"
)

// Read appends to dst the batches from the one that holds offset on, at most maxBytes of them; the first is returned
// even if it is larger. Where compaction took that one away, the next is the first. Each element is one or more whole
// batches, immutable, and owned by the garbage collector. At End there are none. Below Start and above End it is
// ErrOffsetOutOfRange.
//
// What is in memory is returned without a copy or any I/O. The rest is read from the segment files, and every batch's
// checksum, offset and epoch are checked: damage is a *CorruptError, unless good batches before it could be returned
// first.
//
// Who reads history in order finds what comes next read already, if the log was given a ReadAhead.
func (l *Log) Read(dst [][]byte, offset int64, maxBytes int) ([][]byte, error) {
	r := reading{log: l, dst: dst, offset: offset, maxBytes: maxBytes}
	err := r.runAndAhead()
	return r.dst, err
}

// reading is one Read at work.
type reading struct {
	log      *Log
	dst      [][]byte
	offset   int64 // where it goes on
	maxBytes int
	got      int  // bytes in dst that it has added
	ahead    bool // nobody has asked for it yet: what is in memory stays there
	sends    bool // for who can send files

	inOrder bool  // the last of them came from a segment, and follow what was read before
	then    int64 // where reading ahead goes on then
}

// runAndAhead reads, and sees to what comes after unless it will be sent from its file.
func (r *reading) runAndAhead() error {
	err := r.run()
	if r.inOrder && err == nil && !(r.sends && r.log.stored(r.then, r.maxBytes).sizeBytes > 0) {
		r.log.ahead.begin(r.log, r.then, r.maxBytes)
	}
	return err
}

func (r *reading) run() error {
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
			if r.got > 0 { // deleted while we read
				return nil
			}
			return fmt.Errorf("%w: %d is not in [%d, %d]", ErrOffsetOutOfRange, r.offset, start, end)
		}
		if r.offset >= l.tail.first(l.end) {
			if !r.ahead {
				r.dst = l.tail.lend(r.dst, r.offset, r.maxBytes, r.got)
			}
			r.inOrder = false
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

// history reads from a segment, or takes what was read of it ahead. more says that there may be room for what follows.
func (r *reading) history(seg *segment, known epochs) (more bool, err error) {
	l := r.log
	if l.ahead.serve(r) {
		r.inOrder = true
		return r.got == 0, nil
	}
	batches, next, inOrder, err := l.readSegment(seg, known, r.offset, r.maxBytes-r.got, r.got == 0)
	switch {
	case errors.Is(err, errGone):
		return true, nil // the start has moved: look again
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
	r.offset, r.then, r.inOrder = next, next, inOrder
	return r.got == 0 || r.got < r.maxBytes, nil
}

// appendWithoutGaps appends runs of whole batches, without those that only fill gaps, and says how many bytes they are.
func appendWithoutGaps(dst [][]byte, batches []byte) (_ [][]byte, bytes int) {
	run := 0 // where it begins
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

// snapshot copies the segment that holds offset. With l.mu held.
func (l *Log) snapshot(offset int64) (segment, bool) {
	i := sort.Search(len(l.segments), func(i int) bool { return l.segments[i].Base > offset })
	if i == 0 {
		return segment{}, false
	}
	return *l.segments[i-1], true
}

// readSegment reads whole batches, from the one that holds offset on, in one piece. must asks for one at least. next
// is the offset after them; inOrder says that an earlier read ended where this one began, or the segment begins there.
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
	past := inOrder && l.hints.isFirst(seg, int64(maxBytes))
	data, next, err = l.readAt(seg, known, position, offset, inOrder, past, maxBytes, must)
	if c, ok := errors.AsType[*CorruptError](err); ok && c.Position == position {
		// The segment is damaged, or we were led astray. Reading it from its beginning tells.
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

// seek finds the position of the batch that holds offset.
func (l *Log) seek(seg *segment, offset int64) (int64, error) {
	position, err := l.trySeek(seg, offset)
	if _, corrupt := errors.AsType[*CorruptError](err); corrupt || errors.Is(err, errIndex) {
		return l.rebuild(seg.SegmentName, offset)
	}
	return position, err
}

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

// readAt reads and checks batches from a position on, past the page cache or not; the one there must hold offset, or begin
// with it if so said.
func (l *Log) readAt(seg *segment, known epochs, position, offset int64, begins, past bool, maxBytes int, must bool) (data []byte, next int64, err error) {
	f, err := l.open(seg)
	if err != nil {
		return nil, 0, err
	}
	// A file that was only read has nothing to lose.
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
		if past {
			data, err = f.ReadPast(want, position)
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
		if !must && whole > maxBytes { // one without records is no longer than the head that is always read
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
	if !past { // what the page cache has now can be sent from there: what was read past it, it will have read anew
		f.checked.add(position, position+int64(size))
	}
	if reason != "" {
		return nil, 0, corrupt(position, reason)
	}
	return data[:size:size], next, nil
}

// checkRun says how many bytes of whole, good batches data begins with, and which offset comes after them. The first must be
// whole, and reason is what is wrong with it: the next read will begin with any other bad one.
func checkRun(data []byte, known epochs, roomBytes int64) (sizeBytes int, next int64, reason string) {
	next = batch.View(data).BaseOffset()
	for at := 0; ; {
		rest := data[at:]
		whole, ok := batch.Length(rest)
		if len(rest) < batch.HeaderBytes || ok && int64(whole) <= roomBytes-int64(at) && whole > len(rest) {
			return at, next, "" // the last is cut off, or there is none
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
