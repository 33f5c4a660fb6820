package partition

import (
	"slices"
	"sync"
	"time"

	"tidings.dev/internal/batch"
)

// ReadAhead reads for those who read history in order what they will ask for next, while they work on what they have:
// else they would wait for the disk at every turn, and the disk for them. Readers who follow each other closely share
// what was read. It serves many logs and keeps within so many bytes in all. Safe for concurrent use. A nil one reads
// nothing ahead.
type ReadAhead struct {
	limitBytes int64
	leastBytes int // how much a reader must ask for at once: with less it is at work more often than the disk

	mu      sync.Mutex
	windows []*window
	bytes   int64       // reserved for windows
	tidy    *time.Timer // runs while there are windows
}

// NewReadAhead returns one that keeps at most limitBytes.
func NewReadAhead(limitBytes int64) *ReadAhead {
	return &ReadAhead{limitBytes: limitBytes, leastBytes: 64 << 10}
}

const (
	// windowReads is how many reads of its reader a window holds, within maxWindowBytes: enough for the disk to be asked
	// for several pieces at once.
	windowReads    = 4
	maxWindowBytes = 4 << 20

	stillInUse = time.Second      // a window that was used within this time gives way to none
	tidyUp     = 10 * time.Second // so often windows go that were not used since the last time
)

// window is what is read from an offset of a log on.
type window struct {
	log       *Log
	offset    int64
	sizeBytes int64         // that may be read, and is reserved
	ready     chan struct{} // closed when runs and end are set

	runs [][]byte // whole batches; none: it could not be read
	end  int64    // the offset behind them

	used  time.Time // the last time; guarded by ReadAhead.mu, as is
	spent bool      // somebody has read it to its end
}

func (w *window) isReady() bool {
	select {
	case <-w.ready:
		return true
	default:
		return false
	}
}

// holds says whether the window has, or will have, what a reader at an offset needs.
func (w *window) holds(l *Log, offset int64) bool {
	return w.log == l && (w.offset == offset || w.offset < offset && w.isReady() && offset < w.end)
}

// has says whether a reader at an offset is read ahead for.
func (a *ReadAhead) has(l *Log, offset int64) bool {
	if a == nil {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.find(l, offset) >= 0
}

// find is the place of the window that holds an offset; -1: there is none. With mu held.
func (a *ReadAhead) find(l *Log, offset int64) int {
	return slices.IndexFunc(a.windows, func(w *window) bool { return w.holds(l, offset) })
}

// begin reads in the background what is at an offset, for a reader of so many bytes at a time, unless that is done or
// there is no room.
func (a *ReadAhead) begin(l *Log, offset int64, maxBytes int) {
	if a == nil || maxBytes < a.leastBytes || !l.isHistory(offset) {
		return
	}
	w := &window{log: l, offset: offset, sizeBytes: int64(max(maxBytes, min(windowReads*maxBytes, maxWindowBytes))),
		ready: make(chan struct{}), used: time.Now()}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.find(l, offset) >= 0 || !a.makeRoom(w) {
		return
	}
	a.windows = append(a.windows, w)
	a.bytes += w.sizeBytes
	if a.tidy == nil {
		a.tidy = time.AfterFunc(tidyUp, a.tidyUp)
	}
	go w.fill()
}

// isHistory says whether what is at an offset is in a segment and no longer in memory.
func (l *Log) isHistory(offset int64) bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return offset < l.tail.first(l.end)
}

// fill reads the window. Who comes for what could not be read finds the error itself.
func (w *window) fill() {
	r := reading{log: w.log, offset: w.offset, maxBytes: int(w.sizeBytes), ahead: true}
	if err := r.run(); err == nil {
		w.runs = r.dst
	}
	w.end = r.offset
	close(w.ready)
}

// makeRoom lets windows go, those that are read to their end first, until w has its place. With mu held.
func (a *ReadAhead) makeRoom(w *window) bool {
	for a.bytes+w.sizeBytes > a.limitBytes {
		worst := -1
		for i, o := range a.windows {
			if !o.isReady() || !o.spent && w.used.Sub(o.used) < stillInUse {
				continue
			}
			if worst < 0 || o.spent && !a.windows[worst].spent || o.spent == a.windows[worst].spent && o.used.Before(a.windows[worst].used) {
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

// remove forgets a window. With mu held.
func (a *ReadAhead) remove(i int) {
	a.bytes -= a.windows[i].sizeBytes
	a.windows = slices.Delete(a.windows, i, i+1)
}

// tidyUp lets go what nobody has come for.
func (a *ReadAhead) tidyUp() {
	a.mu.Lock()
	defer a.mu.Unlock()
	before := time.Now().Add(-tidyUp)
	for i := len(a.windows) - 1; i >= 0; i-- {
		if w := a.windows[i]; w.isReady() && w.used.Before(before) {
			a.remove(i)
		}
	}
	a.tidy = nil
	if len(a.windows) > 0 {
		a.tidy = time.AfterFunc(tidyUp, a.tidyUp)
	}
}

// serve gives a reader what was read ahead for it, and sees to what comes after. It waits for a disk that is at it; ok is
// false if there is nothing.
func (a *ReadAhead) serve(r *reading) (ok bool) {
	if a == nil || r.ahead {
		return false
	}
	a.mu.Lock()
	i := a.find(r.log, r.offset)
	if i < 0 {
		a.mu.Unlock()
		return false
	}
	w := a.windows[i]
	w.used = time.Now()
	a.mu.Unlock()

	<-w.ready
	from := r.offset
	w.give(r)
	if r.offset == from {
		a.forget(w)
		return false
	}
	if r.offset >= w.end {
		a.mu.Lock()
		w.spent = true
		a.mu.Unlock()
	}
	r.then = w.end
	return true
}

// give adds to a reading what fits of the batches from its offset on; one at least, if it has none.
func (w *window) give(r *reading) {
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
	r.offset = max(r.offset, w.end) // what is left of it are gaps
}

// forget removes a window that leads nowhere.
func (a *ReadAhead) forget(w *window) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if i := slices.Index(a.windows, w); i >= 0 {
		a.remove(i)
	}
}

// drop forgets what was read of a log, and returns when nothing is being read of it.
func (a *ReadAhead) drop(l *Log) {
	if a == nil {
		return
	}
	var going []*window
	a.mu.Lock()
	for i := len(a.windows) - 1; i >= 0; i-- {
		if a.windows[i].log == l {
			going = append(going, a.windows[i])
			a.remove(i)
		}
	}
	a.mu.Unlock()
	for _, w := range going {
		<-w.ready
	}
}
