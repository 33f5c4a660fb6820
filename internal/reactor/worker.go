package reactor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"tidings.dev/internal/cloudevent"
)

// work runs a task, and then the tasks that the scheduler gives to this worker when the one before has ended. It ends
// when there is none, so that an idle reaction has no workers.
func (r *Reactor) work(t task) {
	for more := true; more; {
		t, more = r.stepAsWorker(t.invocation, r.attempt(t))
	}
}

// attempt runs the task's handler once. It returns the event that reports the end of the attempt or, if the end is
// reported later because emissions are not durable yet, a workerFree.
func (r *Reactor) attempt(t task) event {
	a := attempt{item: t.item, freeWorker: true}
	if t.fold && !r.foldOwned(t.item) {
		return abandoned{a}
	}
	started := time.Now()
	out := r.handle(a, t)
	ended := time.Now()
	switch {
	case out.Skip != nil:
		return skipped{a, *out.Skip, ended, r.throughOf(out.Appended...)}
	case out.Err != nil:
		return r.failure(a, out.Err)
	case len(out.Emit) == 0:
		return handled{attempt: a, started: started, finished: ended, through: r.throughOf(out.Appended...)}
	}
	for _, e := range out.Emit {
		if _, err := r.client.Topic(t.ctx, e.Topic); err != nil {
			return r.failure(a, err)
		}
	}
	a.freeWorker = false
	r.produce(t.ctx, out.Emit, func(err error) {
		if err != nil {
			r.step(r.failure(a, err))
			return
		}
		r.step(handled{attempt: a, started: started, finished: ended, emitted: len(out.Emit), through: r.throughOf(slices.Concat(out.Appended, out.Emit)...)})
	})
	return workerFree{t.item}
}

// errGoexit is the error of a handler that has ended its goroutine (runtime.Goexit).
var errGoexit = errors.New("the handler ended its goroutine (runtime.Goexit, as testing's FailNow does) in place of returning")

// handle calls the handler and returns its outcome. If the handler ends the goroutine, handle reports the attempt as
// failed and starts a new worker in place of this one.
func (r *Reactor) handle(a attempt, t task) Outcome {
	returned := false
	defer func() {
		if returned {
			return
		}
		if next, more := r.stepAsWorker(t.invocation, r.failure(a, errGoexit)); more {
			go r.work(next)
		}
	}()
	h, ctx := t.item.handler, t.ctx
	if h.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, h.Timeout)
		defer cancel()
		stop := context.AfterFunc(ctx, func() {
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				r.timeOut(t.invocation)
			}
		})
		defer stop()
	}
	out := h.Handle(ctx, &t.item.event, t.item.fold)
	returned = true
	if out.Err != nil && t.ctx.Err() == nil && ctx.Err() != nil {
		out.Err = &timeoutError{h.Timeout, out.Err}
	}
	return out
}

// foldOwned folds an item's event, unless its partition was lost after the item was given out: then the partition's
// states are dropped, or belong to a later incarnation, which folds the event itself. It reports whether the handler
// may run.
func (r *Reactor) foldOwned(it *item) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.owned[it.partition.incarnation] == nil {
		return false
	}
	it.fold = it.handler.Fold(&it.event)
	return true
}

// produce appends the records that a handler has emitted. It calls done once when all of them are acknowledged or have
// failed, with nil or the first error. It blocks while too many records are on their way to the log. done must not
// block.
func (r *Reactor) produce(ctx context.Context, emitted []*kgo.Record, done func(error)) {
	var left atomic.Int32
	var failure atomic.Pointer[error]
	left.Store(int32(len(emitted)))
	for _, e := range emitted {
		produced := func(err error) {
			if err != nil {
				err = fmt.Errorf("%s not emitted: %w", cloudevent.FromRecord(e).Type, err)
				failure.CompareAndSwap(nil, &err)
			}
			if left.Add(-1) > 0 {
				return
			}
			if first := failure.Load(); first != nil {
				done(*first)
				return
			}
			done(nil)
		}
		if err := r.client.ProduceWithin(ctx, r.spec.EmitTimeout, e, produced); err != nil {
			produced(err)
		}
	}
}
