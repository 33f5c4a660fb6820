package framework

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"tidings.dev/internal/bench"
)

// deliveryTimeout is how long an event may take to be handled after it was emitted.
const deliveryTimeout = 30 * time.Second

// origin is when the clock of now began.
var origin = time.Now()

// now returns the time in nanoseconds of a monotonic clock.
func now() int64 { return int64(time.Since(origin)) }

// events are those that something has happened to, with how long after they were due. Its methods are safe for
// concurrent use.
type events struct {
	n atomic.Int64 // all of them, measured or not

	mu       sync.Mutex // protects the fields below
	from, to int64      // those that were due in [from, to) are measured, in nanoseconds of now
	latency  bench.Histogram
}

// measure begins to measure the events that are due in [from, to).
func (e *events) measure(from, to int64) {
	e.mu.Lock()
	e.from, e.to = from, to
	e.mu.Unlock()
}

// record records that it has happened now to an event that was due at a time.
func (e *events) record(due int64) {
	took := now() - due
	e.mu.Lock()
	if due >= e.from && due < e.to {
		e.latency.Record(time.Duration(took))
	}
	e.mu.Unlock()
	e.n.Add(1)
}

// histogram returns the latencies of the measured events.
func (e *events) histogram() *bench.Histogram {
	e.mu.Lock()
	defer e.mu.Unlock()
	h := e.latency
	return &h
}

// await blocks until it has happened to so many events. It fails after deliveryTimeout.
func (e *events) await(ctx context.Context, want int64) error {
	for deadline := time.Now().Add(deliveryTimeout); e.n.Load() < want; {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%d of %d events were handled in %v", e.n.Load(), want, deliveryTimeout)
		}
		time.Sleep(time.Millisecond)
	}
	return nil
}
