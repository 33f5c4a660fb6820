package partition

import (
	"math/rand/v2"
	"testing"
)

// A set of bytes beside a map of them: it may forget, but never invents.
func TestSpans(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 4))
	for _, pieces := range []int{5, 1000} {
		const size = 1000
		var s byteRanges
		var in [size + 1]bool
		for range pieces {
			from := rng.IntN(size)
			end := min(size, from+rng.IntN(4))
			s.add(int64(from), int64(end))
			for i := from; i < end; i++ {
				in[i] = true
			}
			if len(s.list) > maxByteRanges {
				t.Fatalf("%d pieces", len(s.list))
			}
			for at := range size {
				end := at
				for in[end] {
					end++
				}
				got := int(s.endOf(int64(at)))
				if got > end || got < at || pieces < maxByteRanges && got != end {
					t.Fatalf("from %d to %d, got %d", at, end, got)
				}
			}
		}
	}

	// Case: readers in order make one piece.
	var s byteRanges
	for at := int64(0); at < 1000; at += 10 {
		s.add(at, at+10)
		s.add(at, at+5)
	}
	if len(s.list) != 1 || s.endOf(3) != 1000 || s.endOf(1000) != 1000 {
		t.Fatalf("%v", s.list)
	}
}
