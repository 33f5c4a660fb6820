package partition

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"

	"tidings.dev/internal/batch"
)

// These are the numbers of bytes that a walker reads at once: seekBytes for a search from an index entry on, scanBytes
// for a whole segment.
const (
	seekBytes = 8 << 10
	scanBytes = 512 << 10
)

// errGone means that a segment was deleted or replaced after its snapshot was taken.
var errGone = errors.New("partition: segment deleted")

// walker reads the batches of a segment's snapshot in order and checks each of them. It is used by one goroutine.
type walker struct {
	f        *openFile
	epochs   epochs
	end      int64 // size of the snapshot in bytes
	position int64 // position of the next batch in bytes
	expect   int64 // base offset that the next batch must have
	chunk    int   // smallest number of bytes to read at once

	pooled *[]byte // memory for buf, from walkBuffers
	buf    []byte  // bytes of the file from position bufAt on
	bufAt  int64
}

// walkBuffers is a pool of *[]byte.
var walkBuffers = sync.Pool{New: func() any { return new([]byte) }}

// walk returns a walker that begins at position, where a batch with the base offset expect must begin. The caller must
// call close.
func (l *Log) walk(seg *segment, position, expect int64, chunkBytes int) (*walker, error) {
	f, err := l.open(seg)
	if err != nil {
		return nil, err
	}
	return l.walkOpen(f, seg, position, expect, chunkBytes), nil
}

// walkOpen does what walk does, with a file that is open already. The walker's close releases the file.
func (l *Log) walkOpen(f *openFile, seg *segment, position, expect int64, chunkBytes int) *walker {
	l.mu.RLock()
	known := l.epochs
	l.mu.RUnlock()
	return &walker{f: f, epochs: known, end: seg.SizeBytes, position: position, expect: expect,
		chunk: chunkBytes, pooled: walkBuffers.Get().(*[]byte)}
}

// open opens a segment's file for reading. The caller must call release. If the file does not exist, or is that of
// another segment, the error is a *CorruptError. If the segment was deleted or replaced meanwhile, it is errGone, and
// if the log was closed, ErrClosed.
func (l *Log) open(seg *segment) (*openFile, error) {
	key := fileKey{l, seg.SegmentName, segmentFile}
	f, err := l.files.acquire(key, false)
	if errors.Is(err, fs.ErrNotExist) {
		l.mu.RLock()
		there := l.segmentNamed(seg.SegmentName) != nil
		l.mu.RUnlock()
		switch {
		case l.closed.Load(): // the directory may have been removed
			return nil, ErrClosed
		case !there:
			return nil, errGone
		}
		return nil, &CorruptError{File: key.path(), Reason: "the file is missing"}
	}
	if err != nil {
		return nil, err
	}
	if err := l.verifyIdentity(f, seg); err != nil {
		return nil, errors.Join(err, f.release())
	}
	return f, nil
}

// close releases the file and the buffer.
func (w *walker) close() {
	walkBuffers.Put(w.pooled)
	// The file was only read, so that an error of release can be ignored.
	_ = w.f.release()
}

// head returns the header of the next batch, after a check that its base offset is the expected one and that its length
// fits the segment. It returns io.EOF after the last batch. The bytes are valid until the next call of head or next.
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

// skip moves the walker past the batch with the given header, without checking the rest of the batch.
func (w *walker) skip(head batch.View) {
	n, _ := batch.Length(head)
	w.position, w.expect = w.position+int64(n), head.NextOffset()
}

// next returns the next batch, checks it, and moves the walker past it. It returns io.EOF after the last batch. The
// bytes are valid until the next call of head or next.
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

// fill returns at least n bytes of the file from the walker's position on.
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

// corrupt returns a *CorruptError for damage at the walker's position.
func (w *walker) corrupt(reason string) error {
	return &CorruptError{File: w.f.key.path(), Position: w.position, Reason: reason}
}

// checkHead returns what is wrong with the header b of a stored batch, or "" if nothing is. expect is the base offset
// that follows from the batch before; it must be given because the checksum does not cover the base offset. roomBytes
// is the number of bytes to the end of the segment.
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

// checkStored returns what is wrong with a whole stored batch whose header is correct, or "" if nothing is. known are
// the leader epochs of the log. The batch's leader epoch must agree with them, since the checksum does not cover it.
func checkStored(v batch.View, known epochs) string {
	if got, want := v.Checksum(), v.CRC(); got != want {
		return fmt.Sprintf("checksum %08x, bytes have %08x", want, got)
	}
	if got, want := v.LeaderEpoch(), known.at(v.BaseOffset()); got != want {
		return fmt.Sprintf("leader epoch %d in epoch %d", got, want)
	}
	return ""
}
