package reactor

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"tidings.dev/internal/cloudevent"
)

// unhandledCommit is the time after which a position is committed that only moves over events which need no handler.
const unhandledCommit = 500 * time.Millisecond

// ownership is what the reactor keeps for an incarnation that it owns.
type ownership struct {
	topicPartition
	// ctx is what the contexts of the partition's handlers are derived from. It ends when the partition is lost, or
	// when giving it up takes too long.
	ctx    context.Context
	cancel context.CancelFunc
	idle   chan struct{} // closed when the scheduler emits becomeIdle
	// leaving is set when the group takes the partition away: no seek moves it any more.
	leaving bool
	// lost is set when this instance is not a member of the group any more: no position of the partition may be committed.
	lost bool
}

// task is a call of an item's handler that a worker is to make. With fold, the item's event must be folded before.
type task struct {
	*invocation
	ctx  context.Context
	fold bool
}

// step applies an event to the scheduler and performs the effects that it returns. r.mu must not be held.
func (r *Reactor) step(ev event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stepLocked(ev)
}

// stepLocked is like step, but r.mu must be held.
func (r *Reactor) stepLocked(ev event) {
	for _, e := range r.scheduler.step(ev) {
		r.perform(e)
	}
}

// stepAsWorker is like step for a worker whose task has ended. If the scheduler decides to run handlers, stepAsWorker
// returns the first run as next, for the calling worker, instead of starting a worker for it. If there is none, ok is
// false, and the worker must end.
func (r *Reactor) stepAsWorker(i *invocation, ev event) (next task, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.running, i)
	for _, e := range r.scheduler.step(ev) {
		if e, isRun := e.(run); isRun && !ok {
			next, ok = r.taskOf(e), true
			continue
		}
		r.perform(e)
	}
	return next, ok
}

// perform performs an effect, except for commit, refetch and checkTypes, which the callers of the scheduler's step
// handle themselves. r.mu must be held.
func (r *Reactor) perform(e effect) {
	switch e := e.(type) {
	case run:
		go r.work(r.taskOf(e))
	case fold:
		e.handler.Fold(e.event)
	case pauseFetch:
		r.group.PauseFetchPartitions(e.asMap())
		if e.full {
			r.spec.Log.Warn("so much is done ahead of a subject that is stuck that no more of the partition is taken in until it is through",
				"topic", e.topic, "partition", e.partition, "position", e.position)
		}
	case resumeFetch:
		r.group.ResumeFetchPartitions(e.asMap())
	case wentBack:
		r.restartLost(e.topicPartition, e.read, e.at)
	case pausePolling:
		r.polling = make(chan struct{})
	case resumePolling:
		close(r.polling)
	case armRetry:
		r.armRetry(e)
	case disarmRetry:
		r.timers.stop(e.item)
	case armFlush:
		time.AfterFunc(unhandledCommit, func() { r.step(flushDue{}) })
	case wantRefetch:
		select {
		case r.refetches <- struct{}{}:
		default:
		}
	case wantRound:
		r.wakeCommitter()
	case standDown:
		r.standDown(e)
	case becomeReady:
		close(r.ready)
	case becomeIdle:
		close(r.owned[e.incarnation].idle)
	case forget:
		r.owned[e.incarnation].cancel()
		delete(r.owned, e.incarnation)
	case dropState:
		r.spec.DropState(e.partition)
	}
}

// taskOf returns the task of a run effect, and records that its handler is about to be called. r.mu must be held.
func (r *Reactor) taskOf(e run) task {
	return task{r.begin(e.item), r.owned[e.item.partition.incarnation].ctx, e.fold}
}

// wakeCommitter makes a commit round follow soon. It does not block.
func (r *Reactor) wakeCommitter() {
	select {
	case r.dirty <- struct{}{}:
	default:
	}
}

func (tp topicPartition) asMap() map[string][]int32 {
	return map[string][]int32{tp.topic: {tp.partition}}
}

// recordOf returns a fetched record in the form that the scheduler takes. poll and refetch call it, on goroutines of
// their own.
func (r *Reactor) recordOf(fetched *kgo.Record) record {
	if fetched.Attrs.IsControl() {
		place := cloudevent.Event{Topic: fetched.Topic, Partition: fetched.Partition, Offset: fetched.Offset}
		return record{Event: place, control: true, leader: fetched.LeaderEpoch}
	}
	e := cloudevent.FromRecord(fetched)
	e.TopicID = r.topics[fetched.Topic].ID
	if e.NotUnderstood != "" {
		r.warnNotUnderstood(&e)
	}
	rec := newRecord(e, r.handlerOf(&e))
	rec.since, rec.leader = r.resume.subs.since(&e), fetched.LeaderEpoch
	return rec
}

// warnNotUnderstood logs that a record claims to be a CloudEvent but is not understood. It logs this only once for each
// topic, because a sender that writes such records usually writes many.
func (r *Reactor) warnNotUnderstood(e *cloudevent.Event) {
	if _, already := r.warned.LoadOrStore(e.Topic, true); already {
		return
	}
	r.spec.Log.Warn("a record claims to be a CloudEvent and is not understood: it is passed over, and so are others like it on this topic, which Stats counts as NotUnderstood",
		"why", e.NotUnderstood, "topic", e.Topic, "partition", e.Partition, "offset", e.Offset)
}
