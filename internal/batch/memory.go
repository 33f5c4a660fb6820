package batch

import (
	"math/bits"
	"runtime"
	"slices"
	"sync"
)

// Memory is what a batch stands in, if that is to be used again. Release says that nobody looks at the batch any more; it
// is called once or, where nobody can know, never.
type Memory interface{ Release() }

// Buffer is a Memory for requests and batches. Its bytes are not cleared between uses.
type Buffer struct{ Bytes []byte }

// Buffers of up to SmallBytes take a power of two; larger ones are filled by what they were made or taken for.
const SmallBytes = 1 << (smallestShift + smallSizes - 1)

// Small buffers are many and short-lived, and kept by pools that the garbage collector empties. Large ones are few: they
// are kept apart from it, since each one lost has it come sooner, and at most spareBytes of them.
const (
	smallestShift = 12
	smallSizes    = 3
	spareBytes    = 10 << 20
)

var (
	smallBuffers [smallSizes]sync.Pool
	largeBuffers spares
)

// NewBuffer returns a buffer of sizeBytes.
func NewBuffer(sizeBytes int) *Buffer {
	var b *Buffer
	var capBytes int
	if shift := bits.Len(uint(max(sizeBytes, 1) - 1)); sizeBytes > SmallBytes {
		b = largeBuffers.take(sizeBytes)
		step := 1 << (shift - 3) // 5, 6, 7 or 8 of it: alike requests take the same
		capBytes = (sizeBytes + step - 1) / step * step
	} else {
		size := max(shift-smallestShift, 0)
		b, _ = smallBuffers[size].Get().(*Buffer)
		capBytes = 1 << (size + smallestShift)
	}
	if b == nil {
		return &Buffer{Bytes: make([]byte, sizeBytes, capBytes)}
	}
	b.Bytes = b.Bytes[:sizeBytes]
	return b
}

// FilledBy says whether so many bytes leave over no more than a quarter of the buffer's memory.
func (b *Buffer) FilledBy(sizeBytes int) bool { return sizeBytes >= cap(b.Bytes)/4*3 }

// Release gives the buffer back. It may not be used any more, nor anything that aliases its bytes.
func (b *Buffer) Release() {
	if n := cap(b.Bytes); n > SmallBytes {
		largeBuffers.give(b)
	} else {
		smallBuffers[bits.Len(uint(n-1))-smallestShift].Put(b)
	}
}

// spares are large buffers that nobody uses, at most spareBytes of them; when nobody has come for one between two garbage
// collections, they go. The zero value is empty.
type spares struct {
	mu      sync.Mutex
	buffers []*Buffer // the one given back last is last
	bytes   int
	used    bool // since the last collection
	watched bool // tidy is called after the next one
}

// take returns the buffer given back last that is large enough and filled by so many bytes; nil if there is none.
func (s *spares) take(sizeBytes int) *Buffer {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used = true
	for i, b := range slices.Backward(s.buffers) {
		if n := cap(b.Bytes); n >= sizeBytes && b.FilledBy(sizeBytes) {
			s.buffers, s.bytes = slices.Delete(s.buffers, i, i+1), s.bytes-n
			return b
		}
	}
	return nil
}

// give keeps a buffer, and lets those go that were given back first while there are too many.
func (s *spares) give(b *Buffer) {
	if cap(b.Bytes) > spareBytes {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.buffers, s.bytes = append(s.buffers, b), s.bytes+cap(b.Bytes)
	n := 0
	for ; s.bytes > spareBytes; n++ {
		s.bytes -= cap(s.buffers[n].Bytes)
	}
	s.buffers = slices.Delete(s.buffers, 0, n)
	s.watch()
}

// watch has tidy called by the next collection. The lock is held.
func (s *spares) watch() {
	if s.watched || len(s.buffers) == 0 {
		return
	}
	s.watched = true
	runtime.AddCleanup(new([32]byte), (*spares).tidy, s) // a smaller one may share its memory with others that live on
}

// tidy lets all go if nobody has come for any.
func (s *spares) tidy() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.used {
		s.buffers, s.bytes = nil, 0
	}
	s.used, s.watched = false, false
	s.watch()
}
