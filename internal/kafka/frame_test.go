package kafka

import "testing"

// A batch stays in the buffer of its frame only where it takes most of it.
func TestFrameHoldsWhatFillsIt(t *testing.T) {
	for _, c := range []struct {
		frameBytes, recordsBytes int
		want                     bool
	}{{1_000_100, 1_000_000, true}, {300_100, 300_000, true}, {70_000, 69_900, true}, {9000, 8900, false}, {9000, 0, false}, {200, 100, false}} {
		f := newFrame(c.frameBytes)
		if got := f.holds(f.buf.Bytes[:c.recordsBytes]); got != c.want {
			t.Errorf("%d bytes in a frame of %d: held is %v", c.recordsBytes, c.frameBytes, got)
		}
		f.recycle()
	}
}
