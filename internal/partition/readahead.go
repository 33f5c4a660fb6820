package partition

import (
	"slices"
	"sync"
	"time"

	"tidings.dev/internal/batch"
)

// ReadAhead reads in the background the batches that consumers will probably ask for next, so that consumer and disk
// work at the same time. Consumers that are close to each other share what was read. One ReadAhead serves many logs and
// keeps at most limitBytes in memory for all of them. It is safe for concurrent use. A nil *ReadAhead does nothing.
//
// mu guards extents, bytes and expiry. Invariant: bytes is the sum of sizeBytes over extents, and at most limitBytes.
type ReadAhead struct {
	limitBytes int64
	leastBytes int // nothing is read ahead for a reader that asks for fewer bytes, since it is slower than the disk

	mu      sync.Mutex
	extents []*extent
	bytes   int64       // sum of sizeBytes over all extents, whether or not their reads have ended
	expiry  *time.Timer // calls expireIdle; nil if it is not running
}

// NewReadAhead returns a ReadAhead that keeps at most limitBytes in memory.
func NewReadAhead(limitBytes int64) *ReadAhead {
	return &ReadAhead{limitBytes: limitBytes, leastBytes: 64 << 10}
}

const (
	// extentReads is the size of an extent, in multiples of the size that its reader asks for, up to maxExtentBytes. It
	// is large enough for several requests to the disk at once.
	extentReads    = 4
	maxExtentBytes = 4 << 20

	protectedFor   = time.Second      // an extent that was used within this time is not removed to make space for another
	expiryInterval = 10 * time.Second // an extent that was not used for this time is removed
)

// extent contains the batches that are read ahead from one log, from one offset on. runs and end belong to the
// goroutine of read until it closes ready, and do not change after that.
type extent struct {
	log       *Log
	offset    int64
	sizeBytes int64         // largest number of bytes to read; it counts against ReadAhead.limitBytes
	ready     chan struct{} // closed when runs and end are set

	runs [][]byte // whole batches; empty if they could not be read
	end  int64    // the offset after the last batch of runs

	used     time.Time // time at which a reader last asked for the extent; guarded by ReadAhead.mu
	consumed bool      // some reader has read the extent to its end; guarded by ReadAhead.mu
}

// isReady reports whether the extent's read has ended.
func (w *extent) isReady() bool {
	select {
	case <-w.ready:
		return true
	default:
		return false
	}
}

// holds reports whether the extent has, or will have when it is ready, the batch that contains offset.
func (w *extent) holds(l *Log, offset int64) bool {
	return w.log == l && (w.offset == offset || w.offset < offset && w.isReady() && offset < w.end)
}

// has reports whether some extent holds offset.
func (a *ReadAhead) has(l *Log, offset int64) bool {
	if a == nil {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.find(l, offset) >= 0
}

// find returns the index of the extent that holds offset, or -1 if there is none. a.mu must be held.
func (a *ReadAhead) find(l *Log, offset int64) int {
	return slices.IndexFunc(a.extents, func(w *extent) bool { return w.holds(l, offset) })
}

// begin starts to read an extent of the log l in the background, from offset on, for a reader that asks for maxBytes at
// a time. It does nothing if an extent holds the offset already, if the batch is in memory, or if there is no space for
// the extent.
func (a *ReadAhead) begin(l *Log, offset int64, maxBytes int) {
	if a == nil || maxBytes < a.leastBytes || !l.isHistory(offset) {
		return
	}
	w := &extent{log: l, offset: offset, sizeBytes: int64(max(maxBytes, min(extentReads*maxBytes, maxExtentBytes))),
		ready: make(chan struct{}), used: time.Now()}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.find(l, offset) >= 0 || !a.makeRoom(w) {
		return
	}
	a.extents = append(a.extents, w)
	a.bytes += w.sizeBytes
	if a.expiry == nil {
		a.expiry = time.AfterFunc(expiryInterval, a.expireIdle)
	}
	go w.read()
}

// isHistory reports whether the batch at offset is in a segment and not in memory.
func (l *Log) isHistory(offset int64) bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return offset < l.tail.first(l.end)
}

// read reads the extent's batches. It is the goroutine that begin starts. An error is dropped: the reader then reads
// the batches itself and meets the error.
func (w *extent) read() {
	r := readOp{log: w.log, offset: w.offset, maxBytes: int(w.sizeBytes), prefetch: true}
	if err := r.run(); err == nil {
		w.runs = r.dst
	}
	w.end = r.offset
	close(w.ready)
}

// makeRoom removes extents until there is space for w. It first removes extents that were read to their end, then those
// that were not used for the longest time. It returns false if there is not enough space without extents that must
// stay. a.mu must be held.
func (a *ReadAhead) makeRoom(w *extent) bool {
	for a.bytes+w.sizeBytes > a.limitBytes {
		worst := -1
		for i, o := range a.extents {
			if !o.isReady() || !o.consumed && w.used.Sub(o.used) < protectedFor {
				continue
			}
			if worst < 0 || o.consumed && !a.extents[worst].consumed || o.consumed == a.extents[worst].consumed && o.used.Before(a.extents[worst].used) {
				worst = i
			}
		}
		if worst < 0 {
			return false
		}
		a.remove(worst)
	}
	return true
}

// remove removes the i-th extent. a.mu must be held.
func (a *ReadAhead) remove(i int) {
	a.bytes -= a.extents[i].sizeBytes
	a.extents = slices.Delete(a.extents, i, i+1)
}

// expireIdle removes the extents that were not used for expiryInterval. The expiry timer calls it.
func (a *ReadAhead) expireIdle() {
	a.mu.Lock()
	defer a.mu.Unlock()
	before := time.Now().Add(-expiryInterval)
	for i := len(a.extents) - 1; i >= 0; i-- {
		if w := a.extents[i]; w.isReady() && w.used.Before(before) {
			a.remove(i)
		}
	}
	a.expiry = nil
	if len(a.extents) > 0 {
		a.expiry = time.AfterFunc(expiryInterval, a.expireIdle)
	}
}

// serve adds to a read the batches that were read ahead for it. If they are still being read, it waits for them. It
// returns false if there are none.
func (a *ReadAhead) serve(r *readOp) (ok bool) {
	if a == nil || r.prefetch {
		return false
	}
	a.mu.Lock()
	i := a.find(r.log, r.offset)
	if i < 0 {
		a.mu.Unlock()
		return false
	}
	w := a.extents[i]
	w.used = time.Now()
	a.mu.Unlock()

	<-w.ready
	from := r.offset
	w.copyTo(r)
	if r.offset == from {
		a.forget(w)
		return false
	}
	if r.offset >= w.end {
		a.mu.Lock()
		w.consumed = true
		a.mu.Unlock()
	}
	r.following = w.end
	return true
}

// copyTo adds to r the batches of the extent from r.offset on that fit r.maxBytes, at least one if r has none yet. The
// extent must be ready.
func (w *extent) copyTo(r *readOp) {
	for _, run := range w.runs {
		from, at := -1, 0
		for at < len(run) {
			n, _ := batch.Length(run[at:])
			v := batch.View(run[at : at+n])
			if v.LastOffset() < r.offset {
				at += n
				continue
			}
			if r.got > 0 && r.got+n > r.maxBytes {
				break
			}
			if from < 0 {
				from = at
			}
			at += n
			r.got += n
			r.offset = v.NextOffset()
		}
		if from >= 0 {
			r.dst = append(r.dst, run[from:at:at])
		}
		if at < len(run) {
			return
		}
	}
	r.offset = max(r.offset, w.end) // the rest of the extent consists of gaps
}

// forget removes an extent that could not be read.
func (a *ReadAhead) forget(w *extent) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if i := slices.Index(a.extents, w); i >= 0 {
		a.remove(i)
	}
}

// drop removes all extents of the log l. It returns when their reads have ended.
func (a *ReadAhead) drop(l *Log) {
	if a == nil {
		return
	}
	var going []*extent
	a.mu.Lock()
	for i := len(a.extents) - 1; i >= 0; i-- {
		if a.extents[i].log == l {
			going = append(going, a.extents[i])
			a.remove(i)
		}
	}
	a.mu.Unlock()
	for _, w := range going {
		<-w.ready
	}
}
