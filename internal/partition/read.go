package partition

import (
	"errors"
	"fmt"
	"io"
	"sort"
	"sync"

	"tidings.dev/internal/batch"
)

// Read appends to dst the batches from the one that holds offset on, at most maxBytes of them; the first is returned
// even if it is larger. Where compaction took that one away, the next is the first. Each element is one or more whole batches, immutable, and owned by the garbage collector. At
// End there are none. Below Start and above End it is ErrOffsetOutOfRange.
//
// What is in memory is returned without a copy or any I/O. The rest is read from the segment files, and every batch's
// checksum, offset and epoch are checked: damage is a *CorruptError, unless good batches before it could be returned
// first.
func (l *Log) Read(dst [][]byte, offset int64, maxBytes int) ([][]byte, error) {
	for got := 0; ; {
		l.mu.RLock()
		if l.closed.Load() {
			l.mu.RUnlock()
			return dst, ErrClosed
		}
		if offset < l.start || offset > l.end {
			start, end := l.start, l.end
			l.mu.RUnlock()
			if got > 0 { // deleted while we read
				return dst, nil
			}
			return dst, fmt.Errorf("%w: %d is not in [%d, %d]", ErrOffsetOutOfRange, offset, start, end)
		}
		if offset >= l.tail.first(l.end) {
			dst = l.tail.lend(dst, offset, maxBytes, got)
			l.mu.RUnlock()
			return dst, nil
		}
		seg, found := l.snapshot(offset)
		known := l.epochs
		l.mu.RUnlock()
		if !found {
			return dst, fmt.Errorf("partition: %s has no segment for offset %d", l.dir, offset)
		}

		batches, next, err := l.readSegment(&seg, known, offset, maxBytes-got, got == 0)
		switch {
		case errors.Is(err, errGone):
			continue // the start has moved: look again
		case err != nil && got == 0:
			return dst, err
		case err != nil || len(batches) == 0:
			return dst, nil
		}
		if seg.Generation == 0 {
			dst, got = append(dst, batches), got+len(batches)
		} else {
			var taken int
			dst, taken = appendWithoutGaps(dst, batches)
			got += taken
		}
		offset = next
		if got > 0 && got >= maxBytes {
			return dst, nil
		}
	}
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
// is the offset after them.
func (l *Log) readSegment(seg *segment, known epochs, offset int64, maxBytes int, must bool) (data []byte, next int64, err error) {
	position, hinted := l.hints.find(seg.SegmentName, offset)
	if !hinted || position >= seg.SizeBytes {
		hinted = false
		if position, err = l.seek(seg, offset); err != nil {
			return nil, 0, err
		}
	}
	data, next, err = l.readAt(seg, known, position, offset, hinted, maxBytes, must)
	if c, ok := errors.AsType[*CorruptError](err); ok && c.Position == position {
		// The segment is damaged, or we were led astray. Reading it from its beginning tells.
		if position, err = l.rebuild(seg.SegmentName, offset); err != nil {
			return nil, 0, err
		}
		data, next, err = l.readAt(seg, known, position, offset, false, maxBytes, must)
	}
	if err != nil {
		return nil, 0, err
	}
	if len(data) > 0 {
		l.hints.keep(hint{segment: seg.SegmentName, offset: next, position: position + int64(len(data))})
	}
	return data, next, nil
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

// readAt reads and checks batches from a position on; the one there must hold offset, or begin with it if so said.
func (l *Log) readAt(seg *segment, known epochs, position, offset int64, begins bool, maxBytes int, must bool) (data []byte, next int64, err error) {
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

	data = make([]byte, min(max(int64(maxBytes), batch.HeaderBytes), room))
	for {
		n, err := f.ReadAt(data, position)
		if n < len(data) && err != io.EOF {
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
		if whole <= n {
			break
		}
		switch {
		case err == io.EOF:
			return nil, 0, corrupt(position, fmt.Sprintf("the file ends at %d, it had %d", position+int64(n), seg.SizeBytes))
		case !must:
			return nil, 0, nil // it doesn't fit
		}
		data = make([]byte, whole)
	}

	next = batch.View(data).BaseOffset()
	for at := 0; ; {
		rest := data[at:]
		whole, ok := batch.Length(rest)
		if len(rest) < batch.HeaderBytes || ok && whole <= int(room)-at && whole > len(rest) {
			return data[:at:at], next, nil // the last is cut off by maxBytes, or there is none
		}
		reason := checkHead(rest, next, room-int64(at))
		if reason == "" {
			reason = checkStored(rest[:whole], known)
		}
		if reason != "" && at == 0 {
			return nil, 0, corrupt(position, reason)
		}
		if reason != "" {
			return data[:at:at], next, nil // the next read will begin with it
		}
		at, next = at+whole, batch.View(rest).NextOffset()
	}
}

// hint says where the batch with this base offset is: where an earlier read ended.
type hint struct {
	segment          SegmentName
	offset, position int64
}

// hints spare sequential readers the index. A hint is only a guess: readAt checks what it leads to. The zero value is
// ready.
type hints struct {
	mu   sync.Mutex
	ring []hint
	at   int
}

// maxHints is how many sequential readers of one log's history are remembered.
const maxHints = 8

func (h *hints) find(segment SegmentName, offset int64) (position int64, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, x := range h.ring {
		if x.segment == segment && x.offset == offset {
			return x.position, true
		}
	}
	return 0, false
}

func (h *hints) keep(x hint) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.ring) < maxHints {
		h.ring = append(h.ring, x)
		return
	}
	h.ring[h.at] = x
	h.at = (h.at + 1) % maxHints
}
