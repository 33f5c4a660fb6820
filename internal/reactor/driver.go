package reactor

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"tidings.dev/internal/cloudevent"
	"tidings.dev/internal/logclient"
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

// step applies an event to the scheduler and performs the effects that it returns. r.mu must not be held.
func (r *Reactor) step(ev event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stepLocked(ev)
}

// stepLocked is like step, but r.mu must be held.
func (r *Reactor) stepLocked(ev event) {
	r.performAll(r.scheduler.step(ev), nil)
	switch ev.(type) {
	case revoke, lost, drain:
		r.cutTurns(0)
	}
}

// performAll performs effects. Each turn among them is given to a worker: the first one to free, unless that is nil, and
// the others to new ones. performAll reports whether free was given one. r.mu must be held.
func (r *Reactor) performAll(effects []effect, free *worker) (used bool) {
	var last *worker // to whom the last run was given
	for i := 0; i < len(effects); i++ {
		e := effects[i]
		if _, isFold := e.(fold); isFold {
			i += r.foldAll(effects[i:]) - 1
			continue
		}
		given, isRun := e.(run)
		if !isRun {
			r.perform(e)
			continue
		}
		if last == nil || last.turn != given.turn {
			r.start(last, free)
			if last = free; last == nil || used {
				last = r.idleWorker()
			}
			used = used || last == free
			last.begin(given.turn)
		}
		last.tasks = append(last.tasks, task{given.item, r.owned[given.partition.incarnation].ctx, r.bound.Load()})
	}
	r.start(last, free)
	return used
}

// foldAll performs the folds that effects begin with, and returns their number. They are called on another goroutine, since a Fold
// may end its goroutine; then another one goes on with the next. r.mu must be held, and is held meanwhile.
func (r *Reactor) foldAll(effects []effect) (n int) {
	for n < len(effects) {
		if _, isFold := effects[n].(fold); !isFold {
			break
		}
		n++
	}
	for next := 0; next < n; {
		over := make(chan struct{})
		go func() {
			defer close(over)
			for next < n {
				e := effects[next].(fold)
				next++ // before the call, which may not return
				e.handler.Fold(e.event)
			}
		}()
		<-over
	}
	return n
}

// perform performs an effect, except for run, fold, commit, refetch and checkTypes, which the callers of the scheduler's step
// handle themselves. r.mu must be held.
func (r *Reactor) perform(e effect) {
	switch e := e.(type) {
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

// reader makes fetched records of one topic records of the scheduler. Nearly all events of a topic are of the types that the last ones
// were of, so it keeps what it has looked up. poll and refetch have one each time.
type reader struct {
	*Reactor
	topic logclient.Topic

	typ     string   // of the last event
	handler *Handler // of events of typ
	since   map[int32]int64
}

// reading returns a reader for a topic.
func (r *Reactor) reading(topic string) *reader { return &reader{Reactor: r, topic: r.topics[topic]} }

// read sets a zero record to a fetched one, in the form that the scheduler takes.
func (r *reader) read(fetched *kgo.Record, rec *record) {
	rec.leader = fetched.LeaderEpoch
	if fetched.Attrs.IsControl() {
		rec.Event = cloudevent.Event{Topic: fetched.Topic, Partition: fetched.Partition, Offset: fetched.Offset}
		rec.control = true
		return
	}
	e := &rec.Event
	e.Read(fetched)
	e.TopicID = r.topic.ID
	if e.NotUnderstood != "" {
		r.warnNotUnderstood(e)
	}
	e.KeepIdentity()
	rec.identity = e.Identity()
	if e.Type != r.typ || e.Type == "" {
		r.typ, r.handler, r.since = e.Type, r.handlerOf(e), r.resume.subs.since(e)
	}
	rec.handler, rec.since = r.handler, r.since[e.Partition]
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
