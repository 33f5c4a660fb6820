package batch

import (
	"runtime"
	"testing"
	"time"
)

// Buffers have room for what they were asked for and at most twice as much or, if they are large, little more, also when
// they are used again. Peers can have the broker hold many requests of a few bytes.
func TestBuffersFit(t *testing.T) {
	for range 3 {
		for _, sizeBytes := range []int{0, 1, 4095, 4096, 4097, 9000, SmallBytes, SmallBytes + 1, 20000, 40959, 40961, 65536, 65537,
			100000, 999999, 1 << 20, 1<<20 + 1, 1300000} {
			b := NewBuffer(sizeBytes)
			if len(b.Bytes) != sizeBytes {
				t.Fatalf("%d bytes, want %d", len(b.Bytes), sizeBytes)
			}
			if sizeBytes > SmallBytes && !b.FilledBy(sizeBytes) || cap(b.Bytes) > max(512, 2*sizeBytes) {
				t.Errorf("%d bytes stand in %d", sizeBytes, cap(b.Bytes))
			}
			b.Release()
		}
	}
}

// Large buffers are used again, the one given back last first, and no more of them are kept than may be.
func TestSpares(t *testing.T) {
	s := freeList{awaiting: true} // no collection takes any
	of := func(sizeBytes int) *Buffer { return &Buffer{Bytes: make([]byte, sizeBytes)} }
	first, second, small := of(100_000), of(100_000), of(60_000)
	s.put(first)
	s.put(second)
	s.put(small)
	for _, c := range []struct {
		sizeBytes int
		want      *Buffer
	}{{100_001, nil}, {74_999, nil}, {75_000, second}, {60_000, small}, {60_000, nil}, {100_000, first}, {100_000, nil}} {
		if got := s.get(c.sizeBytes); got != c.want {
			t.Errorf("take %d: %p, want %p", c.sizeBytes, got, c.want)
		}
	}
	for range 2 * maxFreeBytes >> 20 {
		s.put(of(1 << 20))
	}
	s.put(of(maxFreeBytes + 1)) // never kept, and nothing goes for it
	s.put(small)
	kept := 0
	for _, b := range s.buffers {
		kept += cap(b.Bytes)
	}
	if kept != s.bytes || kept > maxFreeBytes || kept < maxFreeBytes-1<<20 || s.get(60_000) != small {
		t.Errorf("%d bytes are kept, %d by its own count, at most %d may be", kept, s.bytes, maxFreeBytes)
	}
}

// Case: nobody comes for a buffer any more. Spares stay over one collection, for those who use them, and then go.
func TestUnusedSparesGo(t *testing.T) {
	var s freeList
	kept := func() int {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.buffers)
	}
	s.put(&Buffer{Bytes: make([]byte, 100_000)})
	s.get(1)
	if s.releaseIdle(); kept() != 1 {
		t.Errorf("%d are left though they are used", kept())
	}
	for deadline := time.Now().Add(30 * time.Second); kept() != 0; runtime.GC() {
		if time.Now().After(deadline) {
			t.Fatal("memory is collected and they are still kept")
		}
	}
}
