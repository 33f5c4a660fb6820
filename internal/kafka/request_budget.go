package kafka

import (
	linked "container/list"
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// errTooSlow is the reason for which a connection ends whose request arrives slowly while others wait for the memory
// that it holds.
var errTooSlow = errors.New("kafka: a request arrived too slowly, and others waited for its memory")

const (
	// A frame of at most smallFrameBytes may use the part of a requestBudget that is reserved for small frames.
	smallFrameBytes = 64 << 10
	// firstStepBytes is taken for a frame when its first bytes have arrived, unless the frame is smaller. Each further
	// step multiplies what is taken by stepFactor, once that much has arrived.
	firstStepBytes = 16 << 10
	stepFactor     = 4
	// While less than half of a requestBudget is in use, frames of at most oneStepBytes are taken in one step, which
	// saves copies.
	oneStepBytes = 1 << 20
	// A frame that has been arriving for slowAfter at less than slowBytesPerSecond is given up when there is a shortage.
	slowAfter          = time.Second
	slowBytesPerSecond = 64 << 10
)

// requestBudget bounds the bytes of request frames that are being read or handled, in all connections of a server. A
// frame takes from it as its bytes arrive, never as its header announces, so that a peer can hold only a small multiple
// of what it has sent (docs/kafka-traps.md, trap 25). A requestBudget is safe for concurrent use.
//
// A quarter is reserved for small frames. When frames that are still arriving hold half of the budget and another frame
// has to wait, those that arrive slowly are given up. If that is not enough for a second, the slowest of them is given
// up even if it is not slow. So nobody waits long for a peer that does not send.
//
// Frames in arrival hold bytes while they wait for more, which could block all of them for ever. Therefore the oldest of
// them may exceed the budget by overdraftBytes, which is the size of the largest frame.
//
// Invariants: usedSmall and usedLarge are the bytes taken and not returned; arriving is the part of them that frames in
// arrivals have taken. usedLarge <= largeBytes + overdraftBytes. usedSmall <= maxBytes.
type requestBudget struct {
	maxBytes       int64 // of all frames
	largeBytes     int64 // of frames above smallFrameBytes
	overdraftBytes int64

	mu                   sync.Mutex // guards what follows
	usedSmall, usedLarge int64
	arriving             int64
	arrivals             linked.List     // of *arrival, the oldest first
	small, large         []*budgetWaiter // in the order in which they came
}

// budgetWaiter is a call of requestBudget.take that waits.
type budgetWaiter struct {
	bytes   int64
	arrival *arrival      // nil for a frame that has arrived
	granted chan struct{} // closed when the bytes were taken
}

// arrival is a frame that is arriving. The reader of its connection has made it by begin, and ends it by end.
type arrival struct {
	size     int             // of the whole frame
	stop     func(error)     // ends the connection; does not block
	received atomic.Int64    // bytes that have arrived; the reader adds to it
	element  *linked.Element // in requestBudget.arrivals
	taken    int             // guarded by requestBudget.mu, like the fields below
	since    time.Time       // when the frame began to arrive, moved by the time for which it has waited for the budget
	waiting  bool            // the reader waits for the budget, so that nothing can arrive
	givenUp  bool            // stop was called
}

func newRequestBudget(maxBytes, maxFrameBytes int64) *requestBudget {
	return &requestBudget{maxBytes: maxBytes, largeBytes: maxBytes - maxBytes/4, overdraftBytes: maxFrameBytes}
}

// take takes the bytes of a small frame that has arrived. It blocks until they are free. If ctx is done first, take takes
// nothing and returns ctx's error.
func (b *requestBudget) take(ctx context.Context, bytes int) error {
	b.mu.Lock()
	if b.fits(int64(bytes), true, nil) {
		b.usedSmall += int64(bytes)
		b.mu.Unlock()
		return nil
	}
	_, err := b.wait(ctx, &budgetWaiter{bytes: int64(bytes), granted: make(chan struct{})}, true)
	return err
}

// begin adds a frame of which the first bytes have arrived to those that are arriving. It takes nothing yet. stop ends
// the frame's connection, and must not block.
func (b *requestBudget) begin(size int, stop func(error)) *arrival {
	a := &arrival{size: size, stop: stop, since: time.Now()}
	b.mu.Lock()
	defer b.mu.Unlock()
	a.element = b.arrivals.PushBack(a)
	return a
}

// grow takes the bytes of the next step of a frame, and returns how many bytes the frame has taken with them. It blocks
// until they are free, and returns for how long. If ctx is done first, grow takes nothing and returns ctx's error.
func (b *requestBudget) grow(ctx context.Context, a *arrival) (taken int, waited time.Duration, err error) {
	small := a.size <= smallFrameBytes
	b.mu.Lock()
	want := min(a.size, max(firstStepBytes, a.taken*stepFactor))
	if a.size <= oneStepBytes && b.usedSmall+b.usedLarge < b.maxBytes/2 {
		want = a.size
	}
	bytes := int64(want - a.taken)
	if b.fits(bytes, small, a) {
		b.grant(bytes, small, a)
		b.mu.Unlock()
		return want, 0, nil
	}
	a.waiting = true
	waited, err = b.wait(ctx, &budgetWaiter{bytes: bytes, arrival: a, granted: make(chan struct{})}, small)
	if err != nil {
		want -= int(bytes)
	}
	return want, waited, err
}

// end removes a frame from those that are arriving, because it has arrived or its connection ends. It returns nothing to
// the budget: the caller must call release with the number of bytes that end returns.
func (b *requestBudget) end(a *arrival) (taken int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.arrivals.Remove(a.element)
	b.arriving -= int64(a.taken)
	b.grantWaiting() // another frame is the oldest now, perhaps
	return a.taken
}

// release returns bytes to the budget. size is the size of the frame that they were taken for.
func (b *requestBudget) release(bytes, size int) {
	if bytes == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if size <= smallFrameBytes {
		b.usedSmall -= int64(bytes)
	} else {
		b.usedLarge -= int64(bytes)
	}
	b.grantWaiting()
}

// inUse returns the number of bytes taken and not returned.
func (b *requestBudget) inUse() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.usedSmall + b.usedLarge
}

// fits reports whether bytes can be taken now for a frame, of which a is the arrival if it is arriving. mu must be held.
func (b *requestBudget) fits(bytes int64, small bool, a *arrival) bool {
	all := b.usedSmall + b.usedLarge + bytes
	switch {
	case small:
		return b.usedSmall+bytes <= b.maxBytes-b.largeBytes || all <= b.maxBytes
	case a != nil && a.taken > 0 && b.arrivals.Front() == a.element:
		return b.usedLarge+bytes <= b.largeBytes+b.overdraftBytes
	default:
		return b.usedLarge+bytes <= b.largeBytes && all <= b.maxBytes
	}
}

// grant takes bytes for a frame. mu must be held.
func (b *requestBudget) grant(bytes int64, small bool, a *arrival) {
	if small {
		b.usedSmall += bytes
	} else {
		b.usedLarge += bytes
	}
	if a != nil {
		a.taken += int(bytes)
		b.arriving += bytes
	}
}

// wait blocks until the bytes of w are taken, or ctx is done, and returns for how long it has blocked. mu must be held;
// wait unlocks it.
func (b *requestBudget) wait(ctx context.Context, w *budgetWaiter, small bool) (time.Duration, error) {
	began := time.Now()
	queue := &b.large
	if small {
		queue = &b.small
	}
	*queue = append(*queue, w)
	b.giveUpSlow(began)
	b.mu.Unlock()

	var err error
	patience := time.NewTicker(slowAfter)
	defer patience.Stop()
	for waiting := true; waiting; {
		select {
		case <-w.granted:
			waiting = false
		case <-ctx.Done():
			err, waiting = ctx.Err(), false
		case now := <-patience.C:
			b.mu.Lock()
			b.giveUpSlow(now)
			b.giveUpSlowest(now)
			b.mu.Unlock()
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	waited := time.Since(began)
	if w.arrival != nil {
		w.arrival.waiting = false
		w.arrival.since = w.arrival.since.Add(waited)
	}
	if err == nil {
		return waited, nil
	}
	select {
	case <-w.granted: // meanwhile
		return waited, nil
	default:
	}
	for i, other := range *queue {
		if other == w {
			*queue = append((*queue)[:i], (*queue)[i+1:]...)
			break
		}
	}
	b.grantWaiting() // one behind w may fit
	return waited, err
}

// grantWaiting hands out free bytes to the frames that wait, in the order in which they came. Small frames have a queue of their own. The
// oldest of the arriving frames is given its bytes even if others have come before it. mu must be held.
func (b *requestBudget) grantWaiting() {
	for _, small := range [2]bool{true, false} {
		queue := &b.large
		if small {
			queue = &b.small
		}
		kept := (*queue)[:0]
		blocked := false
		for _, w := range *queue {
			oldest := w.arrival != nil && b.arrivals.Front() == w.arrival.element
			if blocked && !oldest || !b.fits(w.bytes, small, w.arrival) {
				blocked = true
				kept = append(kept, w)
				continue
			}
			b.grant(w.bytes, small, w.arrival)
			close(w.granted)
		}
		clear((*queue)[len(kept):])
		*queue = kept
	}
}

// giveUpSlow ends the connections of the frames that arrive slowly, if the arriving frames hold half of the budget. mu
// must be held.
func (b *requestBudget) giveUpSlow(now time.Time) {
	if b.arriving < b.maxBytes/2 {
		return
	}
	for e := b.arrivals.Front(); e != nil; e = e.Next() {
		if a := e.Value.(*arrival); a.mayBeGivenUp(now) && a.bytesPerSecond(now) < slowBytesPerSecond {
			a.giveUp()
		}
	}
}

// giveUpSlowest ends the connection of the frame that arrives at the lowest rate, if the arriving frames hold half of
// the budget. mu must be held.
func (b *requestBudget) giveUpSlowest(now time.Time) {
	if b.arriving < b.maxBytes/2 {
		return
	}
	var slowest *arrival
	for e := b.arrivals.Front(); e != nil; e = e.Next() {
		a := e.Value.(*arrival)
		if a.mayBeGivenUp(now) && (slowest == nil || a.bytesPerSecond(now) < slowest.bytesPerSecond(now)) {
			slowest = a
		}
	}
	if slowest != nil {
		slowest.giveUp()
	}
}

// mayBeGivenUp reports whether the frame holds bytes, has had time to arrive, and waits for its peer alone. The mu of
// the budget must be held.
func (a *arrival) mayBeGivenUp(now time.Time) bool {
	return a.taken > 0 && !a.waiting && !a.givenUp && now.Sub(a.since) > slowAfter
}

// bytesPerSecond returns the rate at which the frame has arrived. The mu of the budget must be held.
func (a *arrival) bytesPerSecond(now time.Time) float64 {
	return float64(a.received.Load()) / now.Sub(a.since).Seconds()
}

// giveUp ends the connection of the frame, whose reader then returns its bytes. The mu of the budget must be held.
func (a *arrival) giveUp() {
	a.givenUp = true
	a.stop(errTooSlow)
}
