package bench

import (
	"context"
	"iter"
	"time"
)

// clockStart is the origin of the times in this package, which are nanoseconds on the monotonic clock.
var clockStart = time.Now()

func monotonicNow() int64 { return int64(time.Since(clockStart)) }

// pacer computes for a sender the times at which its records should be sent. If the sender falls behind, it gets times in
// the past. Latency is measured from these times, so that a stall counts for every record that should have been sent
// during it (no coordinated omission).
type pacer struct {
	ctx    context.Context
	first  int64
	period float64 // nanoseconds between two records; 0: as fast as possible
	n      int64   // number of times given out
}

// newPacer returns the pacer for one of several senders that together send rate records per second. The times of the
// senders are spread evenly over a period. A rate of 0 means as fast as possible.
func newPacer(ctx context.Context, rate float64, sender, senders int) *pacer {
	p := &pacer{ctx: ctx, first: monotonicNow()}
	if rate > 0 {
		p.period = float64(senders) / rate * 1e9
		p.first += int64(p.period * float64(sender) / float64(senders))
	}
	return p
}

// next blocks until the next record is due and returns the time at which it should be sent. It returns false once the
// context is done.
func (p *pacer) next() (int64, bool) {
	if p.period == 0 {
		return monotonicNow(), p.ctx.Err() == nil
	}
	due := p.due()
	for {
		if p.ctx.Err() != nil {
			return 0, false
		}
		wait := time.Duration(due - monotonicNow())
		switch {
		case wait <= 0:
			p.n++
			return due, true
		case wait > timerError:
			// A timer can be interrupted by the context, but it is not precise.
			timer := time.NewTimer(wait - timerError)
			select {
			case <-timer.C:
			case <-p.ctx.Done():
				timer.Stop()
			}
		default:
			preciseSleep(wait)
		}
	}
}

func (p *pacer) due() int64 { return p.first + int64(float64(p.n)*p.period) }

// overdue yields the times before now that next has not returned. If there is no rate, it yields none.
func (p *pacer) overdue(now int64) iter.Seq[int64] {
	return func(yield func(int64) bool) {
		for ; p.period > 0 && p.due() < now; p.n++ {
			if !yield(p.due()) {
				return
			}
		}
	}
}

// timerError is how late a timer of the runtime may fire, as the runtime's poller counts in milliseconds.
const timerError = 3 * time.Millisecond
