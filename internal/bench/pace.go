package bench

import (
	"context"
	"iter"
	"time"
)

// began is the origin of moments: a moment is nanoseconds since, on the monotonic clock.
var began = time.Now()

func moment() int64 { return int64(time.Since(began)) }

// pacer gives out the moments at which records are meant to be sent. A sender that falls behind gets moments that have
// passed already, and latency is counted from those: what a stall holds up is part of the stall (no coordinated
// omission).
type pacer struct {
	ctx      context.Context
	first    int64
	interval float64 // ns; 0: as fast as it goes
	n        int64   // moments given out
}

// newPacer paces one of several senders that share a rate, a little after the one before it.
func newPacer(ctx context.Context, rate float64, sender, senders int) *pacer {
	p := &pacer{ctx: ctx, first: moment()}
	if rate > 0 {
		p.interval = float64(senders) / rate * 1e9
		p.first += int64(p.interval * float64(sender) / float64(senders))
	}
	return p
}

// next blocks until the next record is due and returns when it was meant to be sent; false once the context has ended.
func (p *pacer) next() (int64, bool) {
	if p.interval == 0 {
		return moment(), p.ctx.Err() == nil
	}
	due := p.due()
	for {
		if p.ctx.Err() != nil {
			return 0, false
		}
		wait := time.Duration(due - moment())
		switch {
		case wait <= 0:
			p.n++
			return due, true
		case wait > coarse:
			// Far off: a timer, which the context can cut short.
			timer := time.NewTimer(wait - coarse)
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

func (p *pacer) due() int64 { return p.first + int64(float64(p.n)*p.interval) }

// overdue yields the moments up to now that were not given out any more. Without a rate there are none.
func (p *pacer) overdue(now int64) iter.Seq[int64] {
	return func(yield func(int64) bool) {
		for ; p.interval > 0 && p.due() < now; p.n++ {
			if !yield(p.due()) {
				return
			}
		}
	}
}

// coarse is what the runtime's timers may be late by: its poller counts in milliseconds.
const coarse = 3 * time.Millisecond
