package reactor

import (
	"errors"
	"time"

	"tidings.dev/internal/obligation"
)

// failure returns the event that reports a failed attempt, and logs the failure: after the first attempt, the second,
// the fourth, and so on. The attempt must not have been reported before.
func (r *Reactor) failure(a attempt, err error) event {
	it := a.item
	attempts := it.failures + 1
	wait := it.handler.Retry(err, attempts)
	if attempts&(attempts-1) == 0 {
		e := &it.event
		attrs := []any{"error", err, "attempt", attempts, "next", wait.Round(time.Millisecond), "event", e.ID, "type", e.Type,
			"subject", e.Subject, "correlation", e.Correlation, "topic", e.Topic, "partition", e.Partition, "offset", e.Offset}
		if p, ok := errors.AsType[stackError](err); ok && p.Stack() != nil {
			attrs = append(attrs, "stack", string(p.Stack()))
		}
		r.spec.Log.Warn("an event was not handled and will be tried again", attrs...)
	}
	return failed{attempt: a, err: err.Error(), at: time.Now(), wait: wait}
}

// stackError is an error with the stack of a handler that has panicked. The stack is logged.
type stackError interface {
	error
	Stack() []byte
}

// retryTimers has the timers of the items that wait for their next attempt. Reactor.mu must be held to use it.
type retryTimers struct {
	of map[*item]*time.Timer

	// reports is the number of records that mayReport has been asked for since reported, for the limit of
	// reportsPerSecond.
	reported time.Time
	reports  int
}

// stop stops and removes the timer of an item.
func (t *retryTimers) stop(it *item) {
	t.of[it].Stop()
	delete(t.of, it)
}

const (
	reportAfter      = time.Second // the shortest wait that is worth a record
	reportsPerSecond = 20          // the number of records in a second
)

// mayReport reports whether a record may be written about a wait that begins now, and counts it.
func (t *retryTimers) mayReport(wait time.Duration, now time.Time) bool {
	if wait < reportAfter {
		return false
	}
	if now.Sub(t.reported) > time.Second {
		t.reported, t.reports = now, 0
	}
	t.reports++
	return t.reports <= reportsPerSecond
}

// armRetry performs an armRetry effect: it reports retryDue after the wait. It also writes a record that says that the
// event waits, for stories; the record is not waited for, and there are few of them. r.mu must be held.
func (r *Reactor) armRetry(e armRetry) {
	it := e.item
	r.timers.of[it] = time.AfterFunc(e.wait, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.timers.of[it] != nil { // otherwise it was stopped while it fired
			delete(r.timers.of, it)
			r.stepLocked(retryDue{it})
		}
	})
	now := time.Now()
	if !r.timers.mayReport(e.wait, now) {
		return
	}
	r.bound.Load().Offer(recordOfFact(&obligation.Retrying{
		Reaction: r.spec.Name, Topic: it.event.Topic, TopicID: obligation.TopicID(it.partition.topicID),
		Partition: it.event.Partition, Offset: it.event.Offset,
		Attempt: it.failures, First: it.firstFailed, Error: it.lastError, Next: now.Add(e.wait).UTC(), At: now.UTC(),
	}))
}
