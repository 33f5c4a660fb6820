package logclient

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// deadlineEvery is the distance between two shared deadlines.
const deadlineEvery = 50 * time.Millisecond

// deadlines makes contexts that end at given times. Consecutive calls for about the same time share one context, so
// that a record does not need a timer of its own. The zero value is ready for use, and its methods are safe for
// concurrent use.
type deadlines struct {
	mu   sync.Mutex
	last *deadline // the context that at returned last
}

// at returns a context that ends at the time when, or up to deadlineEvery earlier. Before it ends, on another goroutine,
// it calls deadlineComes of c with the time at which it ends, and come is true then.
func (d *deadlines) at(when time.Time, c *Client) *deadline {
	when = when.Truncate(deadlineEvery)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.last == nil || !d.last.when.Equal(when) {
		last := &deadline{Context: context.Background(), when: when, over: make(chan struct{})}
		time.AfterFunc(time.Until(when), func() {
			last.come.Store(true)
			c.deadlineComes(when)
			close(last.over)
		})
		d.last = last
	}
	return d.last
}

// deadline is a context that ends at a given time and cannot be cancelled.
type deadline struct {
	context.Context
	when time.Time
	come atomic.Bool   // it is when, or later
	over chan struct{} // closed after that
}

// Deadline implements context.Context.
func (d *deadline) Deadline() (time.Time, bool) { return d.when, true }

// Done implements context.Context.
func (d *deadline) Done() <-chan struct{} { return d.over }

// Err implements context.Context.
func (d *deadline) Err() error {
	select {
	case <-d.over:
		return context.DeadlineExceeded
	default:
		return nil
	}
}
