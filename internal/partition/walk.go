package partition

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"

	"tidings.dev/internal/batch"
)

// How much a walk reads at once: seekBytes to get from an index entry to a batch, scanBytes for a whole segment.
const (
	seekBytes = 8 << 10
	scanBytes = 512 << 10
)

// errGone says that a segment was deleted or replaced since the snapshot was taken.
var errGone = errors.New("partition: segment deleted")

// walker goes through the batches of a segment's snapshot in order and checks each.
type walker struct {
	f        *openFile
	epochs   epochs
	end      int64 // of the snapshot, in bytes
	position int64 // of the next batch
	expect   int64 // its base offset
	chunk    int

	pooled *[]byte
	buf    []byte // what was read at bufAt
	bufAt  int64
}

var walkBuffers = sync.Pool{New: func() any { return new([]byte) }}

// walk begins at a batch of which position and base offset are known. Close the walker after use.
func (l *Log) walk(seg *segment, position, expect int64, chunkBytes int) (*walker, error) {
	f, err := l.open(seg)
	if err != nil {
		return nil, err
	}
	return l.walkOpen(f, seg, position, expect, chunkBytes), nil
}

// walkOpen is walk in a file that is open.
func (l *Log) walkOpen(f *openFile, seg *segment, position, expect int64, chunkBytes int) *walker {
	l.mu.RLock()
	known := l.epochs
	l.mu.RUnlock()
	return &walker{f: f, epochs: known, end: seg.SizeBytes, position: position, expect: expect,
		chunk: chunkBytes, pooled: walkBuffers.Get().(*[]byte)}
}

// open opens a segment's file for reading. A file that isn't there, or is another's, is corruption, unless its segment
// was deleted or replaced in the meantime.
func (l *Log) open(seg *segment) (*openFile, error) {
	key := fileKey{l, seg.SegmentName, segmentFile}
	f, err := l.files.acquire(key, false)
	if errors.Is(err, fs.ErrNotExist) {
		l.mu.RLock()
		there := l.segmentNamed(seg.SegmentName) != nil
		l.mu.RUnlock()
		switch {
		case l.closed.Load(): // and its directory perhaps removed
			return nil, ErrClosed
		case !there:
			return nil, errGone
		}
		return nil, &CorruptError{File: key.path(), Reason: "the file is missing"}
	}
	if err != nil {
		return nil, err
	}
	if err := l.vouch(f, seg); err != nil {
		return nil, errors.Join(err, f.release())
	}
	return f, nil
}

func (w *walker) close() {
	walkBuffers.Put(w.pooled)
	// A file that was only read has nothing to lose.
	_ = w.f.release()
}

// head returns the next batch's head, whose offset is right and whose length fits; io.EOF after the last. The bytes
// are good until the next call.
func (w *walker) head() (batch.View, error) {
	if w.position >= w.end {
		return nil, io.EOF
	}
	b, err := w.fill(batch.HeaderBytes)
	if err != nil {
		return nil, err
	}
	if reason := checkHead(b, w.expect, w.end-w.position); reason != "" {
		return nil, w.corrupt(reason)
	}
	return batch.View(b), nil
}

// skip passes a batch of which the head was read, without checking the rest.
func (w *walker) skip(head batch.View) {
	n, _ := batch.Length(head)
	w.position, w.expect = w.position+int64(n), head.NextOffset()
}

// next returns the next batch, checked; io.EOF after the last. The bytes are good until the next call.
func (w *walker) next() (batch.View, error) {
	head, err := w.head()
	if err != nil {
		return nil, err
	}
	n, _ := batch.Length(head)
	b, err := w.fill(n)
	if err != nil {
		return nil, err
	}
	v := batch.View(b[:n])
	if reason := checkStored(v, w.epochs); reason != "" {
		return nil, w.corrupt(reason)
	}
	w.skip(v)
	return v, nil
}

// fill returns at least n bytes from the position on.
func (w *walker) fill(n int) ([]byte, error) {
	if at := w.position - w.bufAt; at >= 0 && at+int64(n) <= int64(len(w.buf)) {
		return w.buf[at:], nil
	}
	want := int(min(int64(max(n, w.chunk)), w.end-w.position))
	if n > want {
		return nil, w.corrupt(fmt.Sprintf("%d bytes to the end of the segment, too few for a batch", want))
	}
	if cap(*w.pooled) < want {
		*w.pooled = make([]byte, want)
	}
	got, err := w.f.ReadAt((*w.pooled)[:want], w.position)
	w.buf, w.bufAt = (*w.pooled)[:got], w.position
	switch {
	case got == want:
		return w.buf, nil
	case err == io.EOF:
		return nil, w.corrupt(fmt.Sprintf("the file ends at %d, it had %d", w.position+int64(got), w.end))
	default:
		return nil, err
	}
}

func (w *walker) corrupt(reason string) error {
	return &CorruptError{File: w.f.key.path(), Position: w.position, Reason: reason}
}

// checkHead says what is wrong with the head of a stored batch, "" if nothing. The base offset isn't covered by the
// checksum, so it must be the one that follows from the batch before.
func checkHead(b []byte, expect, roomBytes int64) string {
	n, ok := batch.Length(b)
	v := batch.View(b)
	switch {
	case !ok || int64(n) > roomBytes:
		return fmt.Sprintf("a batch of %d bytes, %d are left", n, roomBytes)
	case v.MagicByte() != batch.Magic:
		return fmt.Sprintf("magic %d", v.MagicByte())
	case v.BaseOffset() != expect:
		return fmt.Sprintf("base offset %d where %d belongs", v.BaseOffset(), expect)
	case v.LastOffsetDelta() < 0:
		return fmt.Sprintf("last offset delta %d", v.LastOffsetDelta())
	}
	return ""
}

// checkStored says what is wrong with a whole stored batch whose head is right, "" if nothing. The leader epoch isn't
// covered by the checksum either, but the log knows it.
func checkStored(v batch.View, known epochs) string {
	if got, want := v.Checksum(), v.CRC(); got != want {
		return fmt.Sprintf("checksum %08x, bytes have %08x", want, got)
	}
	if got, want := v.LeaderEpoch(), known.at(v.BaseOffset()); got != want {
		return fmt.Sprintf("leader epoch %d in epoch %d", got, want)
	}
	return ""
}
