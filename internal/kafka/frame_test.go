package kafka

import (
	"testing"

	"tidings.dev/internal/batch"
)

// TestFrameBufferIsKeptWhereTheBatchTakesMostOfIt checks that the log keeps the buffer of a frame only if a batch fills
// most of it.
func TestFrameBufferIsKeptWhereTheBatchTakesMostOfIt(t *testing.T) {
	for _, c := range []struct {
		frameBytes, recordsBytes int
		want                     bool
	}{{1_000_100, 1_000_000, true}, {300_100, 300_000, true}, {70_000, 69_900, true}, {9000, 8900, false}, {9000, 0, false}, {200, 100, false}} {
		f := newFrame(c.frameBytes)
		f.buf = batch.NewBuffer(c.frameBytes)
		if got := f.mostly(f.buf.Bytes[:c.recordsBytes]); got != c.want {
			t.Errorf("%d bytes in a frame of %d: kept is %v", c.recordsBytes, c.frameBytes, got)
		}
		f.recycle()
	}
}
