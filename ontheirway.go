package tidings

import (
	"context"
	"errors"
	"sync"
	"time"
)

// maxOnTheirWayBytes is the number of bytes, of keys and values, that the events of EmitAsync may have on their way.
const maxOnTheirWayBytes = 64 << 20

// onTheirWay counts the events of EmitAsync that the log has not answered yet, so that begin can bound their bytes and
// wait can wait for them. The zero value is ready for use, and its methods are safe for concurrent use.
type onTheirWay struct {
	mu    sync.Mutex
	count int
	bytes int
	fewer chan struct{} // closed when an event ends; nil while no goroutine waits
}

var errTooMuchOnItsWay = errors.New("too many bytes wait for the log already")

// begin counts an event of so many bytes; the caller must call end with the same number once the event is answered.
// begin blocks until the event fits within maxOnTheirWayBytes, and returns errTooMuchOnItsWay after atMost (0 means no
// limit) or ctx's error when ctx is done; then it has not counted the event. An event fits if no other is on its way,
// whatever its size.
func (o *onTheirWay) begin(ctx context.Context, bytes int, atMost time.Duration) error {
	fits := func() bool { return o.count == 0 || o.bytes+bytes <= maxOnTheirWayBytes }
	o.mu.Lock()
	defer o.mu.Unlock()
	if !fits() {
		var over <-chan time.Time
		if atMost > 0 {
			timer := time.NewTimer(atMost)
			defer timer.Stop()
			over = timer.C
		}
		for !fits() {
			if err := o.awaitFewer(ctx, over); err != nil {
				return err
			}
		}
	}
	o.count++
	o.bytes += bytes
	return nil
}

// end takes back what begin has counted.
func (o *onTheirWay) end(bytes int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.count--
	o.bytes -= bytes
	if o.fewer != nil {
		close(o.fewer)
		o.fewer = nil
	}
}

// wait blocks until no event is on its way, for at most atMost and until ctx is done.
func (o *onTheirWay) wait(ctx context.Context, atMost time.Duration) {
	timer := time.NewTimer(atMost)
	defer timer.Stop()
	o.mu.Lock()
	defer o.mu.Unlock()
	for o.count > 0 && o.awaitFewer(ctx, timer.C) == nil {
	}
}

// awaitFewer blocks until an event ends, and returns nil then, errTooMuchOnItsWay when over receives, or ctx's error
// when ctx is done. o.mu must be held; awaitFewer releases it while it waits.
func (o *onTheirWay) awaitFewer(ctx context.Context, over <-chan time.Time) error {
	if o.fewer == nil {
		o.fewer = make(chan struct{})
	}
	fewer := o.fewer
	o.mu.Unlock()
	defer o.mu.Lock()
	select {
	case <-fewer:
		return nil
	case <-over:
		return errTooMuchOnItsWay
	case <-ctx.Done():
		return ctx.Err()
	}
}
