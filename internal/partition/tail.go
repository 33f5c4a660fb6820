package partition

import (
	"sort"
	"sync/atomic"
	"time"

	"tidings.dev/internal/batch"
)

// tail contains the newest batches of a log, in memory: first batches that are in a segment file too, then batches that
// are not in a segment file yet. The zero value is empty. The log's mu guards it. The bytes of a batch never change.
// Invariant: gone <= written <= len(batches).
type tail struct {
	batches        []tailBatch // in the order of offsets; batches[:gone] are zero
	gone           int         // number of batches that were dropped
	written        int         // batches[gone:written] are in a segment file
	bytes          int64       // size of batches[gone:]
	unwrittenBytes int64       // size of batches[written:]
	// readAt is the time at which a reader last got batches from the tail, in nanoseconds since the Unix epoch.
	readAt atomic.Int64
}

// tailBatch is a batch in memory. When it leaves the tail, its memory is released, unless a reader has got its bytes. A
// reader may keep the bytes without a limit of time, so that memory is left to the garbage collector.
type tailBatch struct {
	batch.View
	memory batch.Memory // pooled memory of the batch; nil if the memory belongs to the garbage collector
	shared uint32       // 1 if a reader has got the bytes; accessed atomically, since readers hold mu only shared
}

// append adds a batch that is in no segment file yet. The log's mu must be held.
func (t *tail) append(v batch.View, memory batch.Memory) {
	t.batches = append(t.batches, tailBatch{View: v, memory: memory})
	t.bytes += int64(len(v))
	t.unwrittenBytes += int64(len(v))
}

// first returns the base offset of the oldest batch, or end if the tail is empty.
func (t *tail) first(end int64) int64 {
	if t.gone == len(t.batches) {
		return end
	}
	return t.batches[t.gone].BaseOffset()
}

// read appends to dst the batches from the one that contains offset on, as long as their size and got, the number of
// bytes that dst has already, do not exceed maxBytes. If got is 0, it appends at least one batch. The reader may keep
// the batches. The log's mu must be held, at least shared.
func (t *tail) read(dst [][]byte, offset int64, maxBytes, got int) [][]byte {
	t.readAt.Store(time.Now().UnixNano())
	live := t.batches[t.gone:]
	live = live[sort.Search(len(live), func(i int) bool { return live[i].LastOffset() >= offset }):]
	for i := range live {
		b := &live[i]
		if got > 0 && got+len(b.View) > maxBytes {
			break
		}
		if b.memory != nil {
			atomic.StoreUint32(&b.shared, 1)
		}
		dst, got = append(dst, b.View), got+len(b.View)
	}
	return dst
}

// unwritten returns the batches that are in no segment file yet. The slice is valid while the log's mu is held. The
// batches in it are valid until wrote is called.
func (t *tail) unwritten() []tailBatch { return t.batches[t.written:] }

// wrote records that the first n unwritten batches, which have sizeBytes together, are now in a segment file.
func (t *tail) wrote(n int, sizeBytes int64) {
	t.written += n
	t.unwrittenBytes -= sizeBytes
}

// drop removes the oldest batch, which must be in a segment file.
func (t *tail) drop() {
	b := &t.batches[t.gone]
	t.bytes -= int64(len(b.View))
	if b.memory != nil && atomic.LoadUint32(&b.shared) == 0 {
		b.memory.Release()
	}
	*b = tailBatch{}
	t.gone++
}

// evict removes batches that are in a segment file, oldest first, until at most keepBytes are left or all others are
// unwritten.
func (t *tail) evict(keepBytes int64) {
	for t.gone < t.written && t.bytes > keepBytes {
		t.drop()
	}
	switch live := len(t.batches) - t.gone; {
	case live == 0:
		t.batches, t.gone, t.written = nil, 0, 0 // an idle log needs no memory
	case t.gone >= 64 && t.gone > live:
		moved := append(make([]tailBatch, 0, live+live/2), t.batches[t.gone:]...)
		t.batches, t.written, t.gone = moved, t.written-t.gone, 0
	}
}

// evictBelow removes the batches that are in a segment file and end at or below offset.
func (t *tail) evictBelow(offset int64) {
	for t.gone < t.written && t.batches[t.gone].NextOffset() <= offset {
		t.drop()
	}
	t.evict(t.bytes)
}
