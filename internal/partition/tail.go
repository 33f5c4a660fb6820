package partition

import (
	"sort"
	"sync/atomic"
	"time"

	"tidings.dev/internal/batch"
)

// tail is the newest end of a log in memory: first batches that are in a segment file as well, then those that aren't
// yet. The zero value is empty. The log's lock guards it; the batches themselves never change.
type tail struct {
	batches        []tailBatch // in order; the first `gone` are dropped already
	gone           int
	written        int // batches[gone:written] are in a segment file
	bytes          int64
	unwrittenBytes int64
	readAt         atomic.Int64 // when a reader was last given something of it, Unix ns
}

// tailBatch is a batch in memory. Its memory goes back when it is evicted, unless a reader was given the bytes: then
// nobody knows how long they are looked at, and they are left to the garbage collector.
type tailBatch struct {
	batch.View
	memory batch.Memory // nil: the garbage collector's
	lent   uint32       // atomic: 1 once a reader was given it, which happens under the log's lock shared
}

func (t *tail) append(v batch.View, memory batch.Memory) {
	t.batches = append(t.batches, tailBatch{View: v, memory: memory})
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

// lend appends to dst the batches from the one that holds offset on, while they fit; got bytes are taken already. They
// may be kept for ever.
func (t *tail) lend(dst [][]byte, offset int64, maxBytes, got int) [][]byte {
	t.readAt.Store(time.Now().UnixNano())
	live := t.batches[t.gone:]
	live = live[sort.Search(len(live), func(i int) bool { return live[i].LastOffset() >= offset }):]
	for i := range live {
		b := &live[i]
		if got > 0 && got+len(b.View) > maxBytes {
			break
		}
		if b.memory != nil {
			atomic.StoreUint32(&b.lent, 1)
		}
		dst, got = append(dst, b.View), got+len(b.View)
	}
	return dst
}

// unwritten returns the batches that aren't in a segment file. The slice is good while the log's lock is held, its views
// until wrote.
func (t *tail) unwritten() []tailBatch { return t.batches[t.written:] }

// wrote notes that the first n unwritten batches, of so many bytes, are in a segment file.
func (t *tail) wrote(n int, sizeBytes int64) {
	t.written += n
	t.unwrittenBytes -= sizeBytes
}

// drop forgets the oldest batch, which is written.
func (t *tail) drop() {
	b := &t.batches[t.gone]
	t.bytes -= int64(len(b.View))
	if b.memory != nil && atomic.LoadUint32(&b.lent) == 0 {
		b.memory.Release()
	}
	*b = tailBatch{}
	t.gone++
}

// evict drops written batches, oldest first, until at most keepBytes are left or the rest is unwritten.
func (t *tail) evict(keepBytes int64) {
	for t.gone < t.written && t.bytes > keepBytes {
		t.drop()
	}
	switch live := len(t.batches) - t.gone; {
	case live == 0:
		t.batches, t.gone, t.written = nil, 0, 0 // an idle log keeps no memory
	case t.gone >= 64 && t.gone > live:
		moved := append(make([]tailBatch, 0, live+live/2), t.batches[t.gone:]...)
		t.batches, t.written, t.gone = moved, t.written-t.gone, 0
	}
}

// evictBelow drops the written batches that end at or below an offset.
func (t *tail) evictBelow(offset int64) {
	for t.gone < t.written && t.batches[t.gone].NextOffset() <= offset {
		t.drop()
	}
	t.evict(t.bytes)
}
