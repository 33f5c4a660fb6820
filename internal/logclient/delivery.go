package logclient

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// delivery is one record on its way to the log. It holds one of the client's slots until kgo has finally answered.
//
// kgo sends a record again by itself, without limit. It gives a record up only if it knows that no broker can have it,
// and then it also gives up all other records that wait for the same partition. A delivery passes its record to kgo
// again if its own time is not over. Its sequence says when: see [sequence].
//
// A delivery is used again for another record when nobody has it any more: see finish.
type delivery struct {
	promise func(*kgo.Record, error) // answered, as kgo takes it: the delivery's for good

	c       *Client
	record  *kgo.Record
	begun   time.Time     // when the delivery began
	timeout time.Duration // 0 means none
	giveUp  *deadline     // when kgo is to give the record up, if it can; nil means never
	seq     *sequence
	number  int64       // the delivery's place in seq
	sent    time.Time   // when the record was last passed to kgo
	refused bool        // the record was refused as too large, once
	done    func(error) // called once, with the result
	ended   atomic.Bool // done was called, or is about to be

	// queue is the queue in which the delivery waits for the end of its timeout; nil if it does not wait. earlier and later are
	// its neighbours there. expiries.mu protects all three.
	queue          *expiryQueue
	earlier, later *delivery
}

// deliver takes a slot and passes a record to kgo. timeout, if it is not 0, counts from begun. It blocks and calls
// done as Produce and ProduceWithin document.
func (c *Client) deliver(ctx context.Context, r *kgo.Record, begun time.Time, timeout time.Duration, done func(error)) error {
	d := deliveries.Get().(*delivery)
	if d.promise == nil {
		d.promise = d.answered
	}
	d.c, d.record, d.begun, d.timeout, d.done, d.seq = c, r, begun, timeout, done, c.sequenceOf(r)
	if err := d.takeSlot(ctx); err != nil {
		d.free()
		return err
	}
	if timeout > 0 {
		d.giveUp = c.deadlines.at(d.begun.Add(timeout-grace(timeout)), c)
		c.expiries.add(d)
	}
	d.seq.send(d)
	return nil
}

// deadlineComes is called when the deadline of some deliveries has come, before kgo is told.
func (c *Client) deadlineComes(when time.Time) {
	for s := range c.expiries.due(when) {
		s.expire()
	}
}

// late reports whether kgo is to give the record up, or is about to be told.
func (d *delivery) late() bool { return d.giveUp != nil && d.giveUp.come.Load() }

// giveUpContext returns a context that ends when kgo is to give the record up.
func (d *delivery) giveUpContext() context.Context {
	if d.giveUp == nil {
		return context.Background()
	}
	return d.giveUp
}

// grace returns how much earlier than the caller's timeout kgo has to give a record up. kgo checks only now and then
// whether it may do so, and a caller that times out before must be told that the record may be in the log.
func grace(timeout time.Duration) time.Duration { return min(timeout/4, 5*time.Second) }

// takeSlot blocks until a slot is free, and takes it. It returns an *Unacknowledged if the timeout is over before, and
// ctx's error if ctx is done before.
func (d *delivery) takeSlot(ctx context.Context) error {
	select {
	case d.c.slots <- struct{}{}:
		return nil
	default:
	}
	var over <-chan time.Time
	if d.timeout > 0 {
		timer := time.NewTimer(d.timeout - time.Since(d.begun))
		defer timer.Stop()
		over = timer.C
	}
	select {
	case d.c.slots <- struct{}{}:
		return nil
	case <-over:
		return d.c.unacknowledged(d.record, d.begun, false, errTooManyOnTheirWay)
	case <-ctx.Done():
		return ctx.Err()
	}
}

var errTooManyOnTheirWay = errors.New("too many records wait for the log already")

// answered is called by kgo with the result of a record. kgo makes one call at a time, for all records.
func (d *delivery) answered(_ *kgo.Record, err error) {
	switch {
	case err == nil:
		d.c.acknowledged(d.record, d.begun)
	case errors.Is(err, kgo.ErrClientClosed):
		err = ErrClosed
	case d.ended.Load():
	case errors.Is(err, kerr.MessageTooLarge) && !d.refused:
		d.refused = true
		d.c.resend(d, d.c.refit)
		return
	case isGone(err) && !d.late():
		d.c.resend(d, d.c.revive)
		return
	case !transient(err) && !d.c.restartedSince(d.record.Topic, d.sent):
	case d.late():
		err = d.c.unacknowledged(d.record, d.begun, false, d.c.obstacle(err))
	default:
		d.seq.putBack(d) // kgo gave it up together with another record
		return
	}
	d.seq.answered(d, err == nil)
	d.finish(err)
}

// giveUpUnsent ends a delivery whose record kgo does not have, and which is not in the log.
func (d *delivery) giveUpUnsent(reason error) {
	d.finish(d.c.unacknowledged(d.record, d.begun, false, d.c.obstacle(reason)))
}

// finish ends a delivery whose record kgo does not have any more.
func (d *delivery) finish(err error) {
	<-d.c.slots
	last := d.timeout == 0 || d.c.expiries.remove(d)
	d.end(err)
	if last { // otherwise the timer may have it
		d.free()
	}
}

// deliveries has deliveries that are not in use.
var deliveries = sync.Pool{New: func() any { return new(delivery) }}

// free makes the delivery ready for another record. Nobody else may have it.
func (d *delivery) free() {
	*d = delivery{promise: d.promise}
	deliveries.Put(d)
}

// expire ends a delivery, by its timer, whose record kgo has neither delivered nor given up. kgo keeps the record and
// may still deliver it.
func (d *delivery) expire() {
	d.end(d.c.unacknowledged(d.record, d.begun, true, d.c.obstacle(nil)))
}

// end calls done, unless it was called before.
func (d *delivery) end(err error) {
	if !d.ended.Swap(true) {
		d.done(err)
	}
}

// transient reports whether err is a failure to reach a broker, or one that passes by itself, so that the record was
// not refused.
func transient(err error) bool {
	_, isNet := errors.AsType[net.Error](err)
	return isNet || kerr.IsRetriable(err) || kgo.IsRetryableBrokerErr(err) || isContext(err)
}

// isContext reports whether err says that a context was cancelled or has reached its deadline.
func isContext(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}
