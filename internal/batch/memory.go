package batch

import (
	"math/bits"
	"runtime"
	"slices"
	"sync"
)

// Memory is memory of batches that can be reused. Release must be called at most once, when nothing reads the batches
// any more. If that cannot be known, it must not be called; the garbage collector then frees the memory.
type Memory interface{ Release() }

// Buffer is a Memory from a pool, for requests and batches. Its bytes are not cleared before reuse.
type Buffer struct{ Bytes []byte }

// SmallBytes is the largest capacity in bytes of a small buffer. The capacity of a small buffer is a power of two. The
// capacity of a larger buffer exceeds the requested size by at most a quarter, and NewBuffer returns it only for sizes
// that use at least three quarters of it.
const SmallBytes = 1 << (smallestShift + smallSizes - 1)

// Small buffers are numerous and are used for short times. They are in pools, which the garbage collector empties.
// Large buffers are few. They are in a freeList, since new allocations after each collection would make the next one
// come sooner.
const (
	smallestShift = 9
	smallSizes    = 6
	maxFreeBytes  = 10 << 20 // upper bound for the capacity of all large buffers that are free
)

var (
	smallBuffers [smallSizes]sync.Pool
	largeBuffers freeList
)

// NewBuffer returns a Buffer whose Bytes have the length sizeBytes and any content. The caller may call Release when it
// needs the buffer no longer.
func NewBuffer(sizeBytes int) *Buffer {
	var b *Buffer
	var capBytes int
	if shift := bits.Len(uint(max(sizeBytes, 1) - 1)); sizeBytes > SmallBytes {
		b = largeBuffers.get(sizeBytes)
		// A capacity is 5, 6, 7 or 8 steps, so that buffers for similar sizes can replace each other.
		step := 1 << (shift - 3)
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

// FilledBy reports whether sizeBytes bytes use at least three quarters of the buffer's capacity.
func (b *Buffer) FilledBy(sizeBytes int) bool { return sizeBytes >= cap(b.Bytes)/4*3 }

// Release returns the buffer to its pool, so that NewBuffer may return it again. The caller must not use the buffer after the
// call, nor any slice of its Bytes.
func (b *Buffer) Release() {
	if n := cap(b.Bytes); n > SmallBytes {
		largeBuffers.put(b)
	} else {
		smallBuffers[bits.Len(uint(n-1))-smallestShift].Put(b)
	}
}

// freeList holds large buffers that are not in use. They are freed if get is not called between two garbage
// collections. The zero value is empty.
//
// mu guards all fields. Invariants: bytes is the sum of the capacities of buffers, and at most maxFreeBytes; if buffers
// is not empty, awaiting is true.
type freeList struct {
	mu       sync.Mutex
	buffers  []*Buffer // in the order of their release; the most recently released one is last
	bytes    int
	used     bool // get was called since the last collection
	awaiting bool // releaseIdle will be called at the next collection
}

// get removes and returns the most recently released buffer that is large enough for sizeBytes and filled by sizeBytes.
// It returns nil if there is none.
func (s *freeList) get(sizeBytes int) *Buffer {
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

// put adds a buffer. While all buffers together exceed maxFreeBytes, it frees the one that was released first.
func (s *freeList) put(b *Buffer) {
	if cap(b.Bytes) > maxFreeBytes {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.buffers, s.bytes = append(s.buffers, b), s.bytes+cap(b.Bytes)
	n := 0
	for ; s.bytes > maxFreeBytes; n++ {
		s.bytes -= cap(s.buffers[n].Bytes)
	}
	s.buffers = slices.Delete(s.buffers, 0, n)
	s.awaitCollection()
}

// awaitCollection arranges that releaseIdle is called at the next garbage collection. s.mu must be held.
func (s *freeList) awaitCollection() {
	if s.awaiting || len(s.buffers) == 0 {
		return
	}
	s.awaiting = true
	// An object of less than 16 bytes could share its memory with others and be collected only with them.
	runtime.AddCleanup(new([32]byte), (*freeList).releaseIdle, s)
}

// releaseIdle frees all buffers if get was not called since the last call of releaseIdle.
func (s *freeList) releaseIdle() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.used {
		s.buffers, s.bytes = nil, 0
	}
	s.used, s.awaiting = false, false
	s.awaitCollection()
}
