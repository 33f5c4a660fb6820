package logclient

import (
	"sync"
	"time"
)

// expiries ends deliveries whose timeouts are over. All deliveries with the same timeout share one timer, so that a record costs
// none. The zero value is ready for use, and its methods are safe for concurrent use.
type expiries struct {
	mu     sync.Mutex // protects what follows, the queues, and the fields queue, earlier and later of deliveries
	queues map[time.Duration]*expiryQueue
}

// expiryQueue is the deliveries of one timeout that have not ended, in the order in which they began. It is in expiries.queues from
// the first delivery until its timer finds none.
type expiryQueue struct {
	timeout     time.Duration
	first, last *delivery
	timer       *time.Timer // calls expiries.sweep at wake
	wake        time.Time   // not after the time of first is over
}

// add makes sure that d.expire is called, in a goroutine of its own, once the timeout of d is over, unless remove is called before.
func (x *expiries) add(d *delivery) {
	x.mu.Lock()
	defer x.mu.Unlock()
	q := x.queues[d.timeout]
	if q == nil {
		q = &expiryQueue{timeout: d.timeout}
		if x.queues == nil {
			x.queues = make(map[time.Duration]*expiryQueue)
		}
		x.queues[d.timeout] = q
	}
	q.insert(d)
	switch over := q.over(d); {
	case q.timer == nil:
		q.wake = over
		q.timer = time.AfterFunc(time.Until(over), func() { x.sweep(q) })
	case over.Before(q.wake):
		q.wake = over
		q.timer.Reset(time.Until(over))
	}
}

// remove undoes add. It returns false, and leaves the delivery as it is, if the delivery's timeout is over: d.expire was called then, or
// will be.
func (x *expiries) remove(d *delivery) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if d.queue == nil {
		return false
	}
	d.queue.unlink(d)
	return true
}

// due returns the sequences of the deliveries that kgo is to give up at the time when or earlier.
func (x *expiries) due(when time.Time) map[*sequence]bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	due := make(map[*sequence]bool)
	for _, q := range x.queues {
		for d := q.first; d != nil && !d.giveUp.when.After(when); d = d.later {
			due[d.seq] = true
		}
	}
	return due
}

// sweep expires the deliveries of a queue whose time is over.
func (x *expiries) sweep(q *expiryQueue) {
	x.mu.Lock()
	var over []*delivery
	for q.first != nil && time.Until(q.over(q.first)) <= 0 {
		over = append(over, q.first)
		q.unlink(q.first)
	}
	if q.first != nil {
		q.wake = q.over(q.first)
		q.timer.Reset(time.Until(q.wake))
	} else if x.queues[q.timeout] == q {
		delete(x.queues, q.timeout)
	}
	x.mu.Unlock()
	for _, d := range over {
		d.expire()
	}
}

// over returns when the time of a delivery of the queue is over.
func (q *expiryQueue) over(d *delivery) time.Time { return d.begun.Add(q.timeout) }

// insert puts a delivery behind all that began before it. It searches from the end, where the place nearly always is: a delivery that
// had to wait for a slot began before some that are in the queue. expiries.mu must be held.
func (q *expiryQueue) insert(d *delivery) {
	d.queue, d.earlier = q, q.last
	for d.earlier != nil && d.earlier.begun.After(d.begun) {
		d.later, d.earlier = d.earlier, d.earlier.earlier
	}
	if d.earlier != nil {
		d.earlier.later = d
	} else {
		q.first = d
	}
	if d.later != nil {
		d.later.earlier = d
	} else {
		q.last = d
	}
}

// unlink takes a delivery out of the queue. expiries.mu must be held.
func (q *expiryQueue) unlink(d *delivery) {
	if d.earlier != nil {
		d.earlier.later = d.later
	} else {
		q.first = d.later
	}
	if d.later != nil {
		d.later.earlier = d.earlier
	} else {
		q.last = d.earlier
	}
	d.queue, d.earlier, d.later = nil, nil, nil
}
