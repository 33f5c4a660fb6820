package reactor

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"tidings.dev/internal/obligation"
)

// watchEvery is the interval at which running handlers are looked at.
const watchEvery = time.Second

// invocation is one call of a handler, or is about to be one, from when a worker has claimed its task until the next one is claimed or
// the turn has ended. r.mu of its Reactor protects it.
type invocation struct {
	worker   *worker
	turn     *turn
	index    int // of the task
	item     *item
	attempt  int
	since    time.Time
	timeout  bool          // the call has run past its Handler.Timeout, and does not count as a worker any more
	named    time.Duration // how long the call had been running when the log last named it; 0 if it has not
	reported time.Time     // when a record was last written that says that the call runs
}

// Slow describes a call of a handler that has been running for longer than its Handler.Slow.
type Slow struct {
	ID, Type, Subject string // those of the event, as the following
	Topic             string
	Partition         int32
	Offset            int64
	Since             time.Time // when the call began
	Attempt           int       // number of the attempt, from 1
	TimedOut          bool      // the Handler.Timeout is over, and the handler has not returned
}

// name returns a description of the call.
func (i *invocation) name() Slow {
	e := &i.item.event
	return Slow{ID: e.ID, Type: e.Type, Subject: e.Subject, Topic: e.Topic, Partition: e.Partition, Offset: e.Offset,
		Since: i.since, Attempt: i.attempt, TimedOut: i.timeout}
}

// callOf returns the call that a worker makes, is about to make first, or has just made. It returns nil if the attempt is over, and
// its item may be used for another event. r.mu must be held.
func (r *Reactor) callOf(w *worker) *invocation {
	i := max(w.claims.claimed()-1, 0)
	if w.tasks[i].item.turn != w.turn {
		return nil
	}
	if w.call.turn != w.turn || w.call.index != i {
		it := w.tasks[i].item
		w.call = invocation{worker: w, turn: w.turn, index: i, item: it, attempt: it.failures + 1, since: r.epoch.Add(time.Duration(w.since.Load()))}
	}
	return &w.call
}

// timeOut is called when the call of a handler that is task i of a worker's turn has run for longer than its
// Handler.Timeout. It lets another handler run in its place, so that the call does not use up Concurrency. Go cannot
// stop the call, so no later event of its subject is handled until it returns. If the call has ended already, timeOut
// does nothing.
func (r *Reactor) timeOut(w *worker, t *turn, i int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.working[w] || w.turn != t || w.claims.claimed() != i+1 {
		return
	}
	r.cut(w)
	call := r.callOf(w)
	if call == nil {
		return
	}
	call.timeout = true
	r.stepLocked(timedOut{call.item})
}

// timeoutError is the error of a handler that has returned an error after its timeout.
type timeoutError struct {
	after time.Duration
	err   error
}

func (e *timeoutError) Error() string {
	return fmt.Sprintf("the handler has run past its Timeout of %v: %v", e.after, e.err)
}

func (e *timeoutError) Unwrap() error { return e.err }

// slowest returns the calls that have been running for longer than their Handler.Slow, the longest first. r.mu must be
// held.
func (r *Reactor) slowest(now time.Time) []*invocation {
	var slow []*invocation
	for w := range r.working {
		i := r.callOf(w)
		if i == nil {
			continue
		}
		if after := i.item.handler.Slow; after > 0 && now.Sub(i.since) >= after {
			slow = append(slow, i)
		}
	}
	slices.SortFunc(slow, func(a, b *invocation) int { return a.since.Compare(b.since) })
	return slow
}

// watch logs slow handlers until ctx is done: each call when it has become slow, and again whenever it has been
// running for twice as long, at least every hour.
func (r *Reactor) watch(ctx context.Context) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		select {
		case now := <-tick.C:
			r.nameSlow(now)
		case <-ctx.Done():
			return
		}
	}
}

// reportRunning writes, for each slow call, a record that the handler runs, which stories show. It does not wait for
// the records. r.mu must be held.
func (r *Reactor) reportRunning(slow []*invocation, now time.Time) {
	for _, i := range slow[:min(len(slow), maxNamed)] {
		if now.Sub(i.reported) < obligation.RunningEvery {
			continue
		}
		i.reported = now
		e := &i.item.event
		r.bound.Load().Offer(recordOfFact(&obligation.Running{
			Reaction: r.spec.Name, Topic: e.Topic, TopicID: obligation.TopicID(i.item.partition.topicID), Partition: e.Partition, Offset: e.Offset,
			Attempt: i.attempt, Since: i.since.UTC(), First: i.item.firstFailed, At: now.UTC(),
		}))
	}
}

// maxNamed is the number of slow calls that one log line names, and that are reported at a time.
const maxNamed = 20

// nameSlow logs the calls that watch is to log, and reports those that have just become slow to the scheduler.
func (r *Reactor) nameSlow(now time.Time) {
	r.mu.Lock()
	var named []string
	all := r.slowest(now)
	late := 0 // number of calls past their timeout
	r.reportRunning(all, now)
	for _, i := range all {
		if i.timeout {
			late++
		}
		ran := now.Sub(i.since).Round(time.Second)
		if i.named > 0 && ran < min(2*i.named, i.named+time.Hour) {
			continue
		}
		if i.named == 0 {
			r.stepLocked(slow{i.item})
		}
		i.named = max(ran, time.Nanosecond)
		e := &i.item.event
		named = append(named, fmt.Sprintf("%s of %s: event %s (%s/%d offset %d), attempt %d, for %v", e.Type, cmp.Or(e.Subject, "no subject"), e.ID,
			e.Topic, e.Partition, e.Offset, i.attempt, ran))
	}
	r.mu.Unlock()
	if len(named) == 0 {
		return
	}
	attrs := []any{"running", len(all), "past their timeout", late, "handlers", named[:min(len(named), maxNamed)]}
	if left := len(named) - maxNamed; left > 0 {
		attrs = append(attrs, "more", left)
	}
	r.spec.Log.Warn("handlers have been running for long; later events of their subjects wait", attrs...)
}
