package partition

import (
	"sort"

	"tidings.dev/internal/batch"
)

// tail is the newest end of a log in memory: first batches that are in a segment file as well, then those that aren't
// yet. The zero value is empty. The log's lock guards it; the batches themselves never change.
type tail struct {
	batches        []batch.View // in order; the first `gone` are dropped already
	gone           int
	written        int // batches[gone:written] are in a segment file
	bytes          int64
	unwrittenBytes int64
}

func (t *tail) append(v batch.View) {
	t.batches = append(t.batches, v)
	t.bytes += int64(len(v))
	t.unwrittenBytes += int64(len(v))
}

// first is the offset from which on the tail has everything; end if it is empty.
func (t *tail) first(end int64) int64 {
	if t.gone == len(t.batches) {
		return end
	}
	return t.batches[t.gone].BaseOffset()
}

// from returns the batches from the one that holds offset on. The slice is good while the log's lock is held.
func (t *tail) from(offset int64) []batch.View {
	live := t.batches[t.gone:]
	return live[sort.Search(len(live), func(i int) bool { return live[i].LastOffset() >= offset }):]
}

// unwritten returns the batches that aren't in a segment file. The slice is good while the log's lock is held.
func (t *tail) unwritten() []batch.View { return t.batches[t.written:] }

// wrote notes that the first n unwritten batches, of so many bytes, are in a segment file.
func (t *tail) wrote(n int, sizeBytes int64) {
	t.written += n
	t.unwrittenBytes -= sizeBytes
}

// evict drops written batches, oldest first, until at most keepBytes are left or the rest is unwritten.
func (t *tail) evict(keepBytes int64) {
	for t.gone < t.written && t.bytes > keepBytes {
		t.bytes -= int64(len(t.batches[t.gone]))
		t.batches[t.gone] = nil
		t.gone++
	}
	switch live := len(t.batches) - t.gone; {
	case live == 0:
		*t = tail{} // an idle log keeps no memory
	case t.gone >= 64 && t.gone > live:
		moved := append(make([]batch.View, 0, live+live/2), t.batches[t.gone:]...)
		t.batches, t.written, t.gone = moved, t.written-t.gone, 0
	}
}

// evictBelow drops the written batches that end at or below an offset.
func (t *tail) evictBelow(offset int64) {
	for t.gone < t.written && t.batches[t.gone].NextOffset() <= offset {
		t.bytes -= int64(len(t.batches[t.gone]))
		t.batches[t.gone] = nil
		t.gone++
	}
	t.evict(t.bytes)
}
