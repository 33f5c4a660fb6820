package logclient

import (
	"context"
	"sync"
)

// resending passes records to kgo again that kgo has given back, in that order, after a remedy was applied to each.
type resending struct {
	mu      sync.Mutex
	waiting []givenBack
	running bool
}

// givenBack is a record that kgo has given back, and the remedy to apply before it is sent again. If remedy returns an
// error, the record fails with it.
type givenBack struct {
	delivery *delivery
	remedy   func(context.Context, *delivery) error
}

// resend has a record sent again by its sequence, which is held until then, after remedy was applied on another
// goroutine. It does not block. The record keeps its slot.
func (c *Client) resend(d *delivery, remedy func(context.Context, *delivery) error) {
	d.seq.hold()
	r := &c.resending
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waiting = append(r.waiting, givenBack{d, remedy})
	if !r.running {
		r.running = true
		go r.run(c.life)
	}
}

// run resends the waiting records until none is left.
func (r *resending) run(life context.Context) {
	for {
		r.mu.Lock()
		if len(r.waiting) == 0 {
			r.running = false
			r.mu.Unlock()
			return
		}
		next := r.waiting[0]
		r.waiting = r.waiting[1:]
		r.mu.Unlock()
		next.do(life)
	}
}

// do applies the remedy and sends the record again, or ends the delivery with an error.
func (g givenBack) do(life context.Context) {
	d := g.delivery
	if life.Err() != nil {
		d.fail(ErrClosed)
		return
	}
	ctx, cancel := life, func() {}
	if d.timeout > 0 {
		ctx, cancel = context.WithDeadline(life, d.begun.Add(d.timeout-grace(d.timeout)))
	}
	defer cancel()
	err := g.remedy(ctx, d)
	switch {
	case err == nil:
		d.seq.putBack(d)
	case ctx.Err() != nil && life.Err() == nil:
		d.fail(d.c.unacknowledged(d.record, d.begun, false, d.c.obstacle(err)))
	default:
		d.fail(err)
	}
}

// fail ends a delivery whose remedy was of no use.
func (d *delivery) fail(err error) {
	d.seq.answered(d, false)
	d.finish(err)
}
