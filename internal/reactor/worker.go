package reactor

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"tidings.dev/internal/logclient"
)

// worker runs the handlers of one turn after the other, on a goroutine of its own. What has succeeded in a turn it reports when
// the turn is over, so that many fast handlers need the reactor's lock only once.
//
// r.mu of its Reactor protects the fields, with these exceptions. While a turn lasts, the worker reads tasks and writes ended
// without it: ended[i] from when it has claimed task i until it claims the next one, or the turn is over. claims, since and
// emits are atomic. So whoever holds r.mu may read tasks, and ended below the task that was claimed last.
type worker struct {
	turn   *turn
	tasks  []task
	ended  []handled // how the tasks have ended; without an item if there is nothing to report
	claims claims
	since  atomic.Int64 // when the task that was claimed last began, in nanoseconds since Reactor.epoch
	emits  atomic.Bool  // the handler has returned, and the worker hands what it has emitted to the client, which may block

	reported int        // number of tasks whose end was reported
	call     invocation // what was found out about the call that runs; see callOf
	end      ended      // reports the end of a turn; here, so that it is allocated once
}

// task is a call of an item's handler that a worker is to make.
type task struct {
	item *item
	ctx  context.Context
	to   *logclient.Client // that of the session: what the handler emits is appended by it
}

// begin makes a worker ready to be given the tasks of a turn. It must be idle, or have ended its turn.
func (w *worker) begin(t *turn) {
	clear(w.tasks)
	w.turn, w.tasks = t, w.tasks[:0]
}

// unreported returns how the tasks before i have ended, as far as that was not reported, and counts them as reported. r.mu
// must be held.
func (w *worker) unreported(i int) []handled {
	i = max(i, w.reported)
	h := w.ended[w.reported:i]
	w.reported = i
	return h
}

// idleWorker returns a worker that has no goroutine. r.mu must be held.
func (r *Reactor) idleWorker() *worker {
	n := len(r.idle)
	if n == 0 {
		return new(worker)
	}
	w := r.idle[n-1]
	r.idle = r.idle[:n-1]
	return w
}

// start has a worker do the tasks that it was given, on a new goroutine unless it is running, which is the worker of the calling
// goroutine and goes on by itself. It does nothing for nil. r.mu must be held.
func (r *Reactor) start(w, running *worker) {
	if w == nil {
		return
	}
	n := len(w.tasks)
	w.reported = 0
	w.ended = slices.Grow(w.ended[:0], n)[:n]
	w.since.Store(int64(time.Since(r.epoch)))
	if w.claims.reset(n); n > 1 {
		r.superviseSoon()
	}
	if w != running {
		r.working[w] = true
		go r.work(w)
	}
}

// work does the tasks of a worker, turn after turn, until the scheduler gives it none, so that an idle reaction has no workers.
func (r *Reactor) work(w *worker) { r.workFrom(w, w.claims.next()) }

// workFrom is work that begins with task i, which the worker has claimed; -1 if it could claim none.
func (r *Reactor) workFrom(w *worker, i int) {
	for {
		at := time.Now()
		for ; i >= 0; i = w.claims.next() {
			w.since.Store(int64(at.Sub(r.epoch)))
			at = r.attempt(w, i, at)
		}
		if !r.endTurn(w) {
			return
		}
		i = w.claims.next()
	}
}

// endTurn reports that the turn of a worker is over. It returns true if the worker was given another one.
func (r *Reactor) endTurn(w *worker) (more bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	w.end = ended{handled: w.unreported(w.claims.limit()), free: w.turn}
	if r.performAll(r.scheduler.step(&w.end), w) {
		return true
	}
	delete(r.working, w)
	if len(r.idle) < r.spec.Concurrency {
		w.begin(nil)
		r.idle = append(r.idle, w)
	}
	return false
}

// report reports how a worker's task i has ended, with what has ended before.
func (r *Reactor) report(w *worker, i int, ev event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if before := w.unreported(i); len(before) > 0 {
		r.stepLocked(&ended{handled: before})
	}
	w.reported = i + 1
	r.stepLocked(ev)
}

// cut takes the tasks away from a worker that it has not claimed, but for the first of its turn, and reports what has ended by now. r.mu must be held.
func (r *Reactor) cut(w *worker) {
	had := w.claims.limit()
	n := w.claims.cut()
	if n == had {
		return
	}
	ev := ended{handled: w.unreported(n - 1)}
	for _, t := range w.tasks[n:had] {
		ev.returned = append(ev.returned, t.item)
	}
	r.stepLocked(&ev)
}

// cutTurns cuts the turns of workers whose present task has taken that long. r.mu must be held.
func (r *Reactor) cutTurns(after time.Duration) (left bool) {
	var long []*worker
	now := time.Since(r.epoch)
	for w := range r.working {
		switch {
		case w.claims.claimed() == w.claims.limit():
		case now-time.Duration(w.since.Load()) >= after:
			long = append(long, w)
		default:
			left = true
		}
	}
	for _, w := range long {
		r.cut(w)
	}
	return left
}

// cutAfter is how long a handler takes before what is behind it in its turn is given to other workers.
const cutAfter = time.Millisecond

// superviseSoon makes supervise be called after cutAfter. r.mu must be held.
func (r *Reactor) superviseSoon() {
	if !r.supervised {
		r.supervised = true
		time.AfterFunc(cutAfter, r.supervise)
	}
}

// supervise gives the tasks that wait behind one that takes longer than cutAfter to other workers. It is called by a timer, as long as
// a turn has tasks that wait.
func (r *Reactor) supervise() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.supervised = false
	if r.cutTurns(cutAfter) {
		r.superviseSoon()
	}
}

// attempt does a worker's task i, which begins at started, and returns when it was over. If the handler has succeeded and emitted
// nothing, that is reported when the turn ends; anything else is reported at once, or, if emissions are not durable yet,
// later.
func (r *Reactor) attempt(w *worker, i int, started time.Time) (over time.Time) {
	w.ended[i] = handled{}
	t := w.tasks[i]
	a := attempt{item: t.item}
	if t.ctx.Err() != nil || t.item.fold && !r.foldOwned(w, i) {
		r.report(w, i, abandoned{a})
		return time.Now()
	}
	out := r.handle(w, i)
	over = time.Now()
	switch {
	case out.Skip != nil:
		r.report(w, i, skipped{a, *out.Skip, over, r.throughOf(out.Appended...)})
		return over
	case out.Err != nil:
		r.report(w, i, r.failure(a, out.Err))
		return over
	case len(out.Emit) == 0:
		w.ended[i] = handled{attempt: a, started: started, finished: over, through: r.throughOf(out.Appended...)}
		return over
	}
	w.emits.Store(true)
	defer w.emits.Store(false)
	for _, e := range out.Emit {
		if _, err := r.client.Topic(t.ctx, e.Topic); err != nil {
			r.report(w, i, r.failure(a, err))
			return time.Now()
		}
	}
	e := &emitting{Reactor: r, to: t.to, handled: handled{attempt: a, started: started, finished: over, emitted: len(out.Emit)}, Outcome: out}
	e.produce(t.ctx)
	return time.Now()
}

// errGoexit is the error of a handler that has ended its goroutine (runtime.Goexit).
var errGoexit = errors.New("the handler ended its goroutine (runtime.Goexit, as testing's FailNow does) in place of returning")

// handle calls the handler of a worker's task i and returns its outcome. If the handler ends the goroutine, handle reports the
// attempt as failed, and has the worker go on with its turn on another goroutine.
func (r *Reactor) handle(w *worker, i int) Outcome {
	t, turn := w.tasks[i], w.turn
	returned := false
	defer func() {
		if !returned {
			r.report(w, i, r.failure(attempt{item: t.item}, errGoexit))
			go r.work(w)
		}
	}()
	h, ctx := t.item.handler, t.ctx
	if h.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, h.Timeout)
		defer cancel()
		stop := context.AfterFunc(ctx, func() {
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				r.timeOut(w, turn, i)
			}
		})
		defer stop()
	}
	out := h.Handle(ctx, &t.item.event, t.item.result)
	returned = true
	if out.Err != nil && t.ctx.Err() == nil && ctx.Err() != nil {
		out.Err = &timeoutError{h.Timeout, out.Err}
	}
	return out
}

// foldOwned folds the event of a worker's task i, unless its partition was lost after the item was given out: then the
// partition's states are dropped, or belong to a later incarnation, which folds the event itself. It reports whether the handler
// may run. If Fold ends the goroutine, foldOwned has the worker go on with the task on another one.
func (r *Reactor) foldOwned(w *worker, i int) bool {
	it := w.tasks[i].item
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.owned[it.partition.incarnation] == nil {
		return false
	}
	returned := false
	defer func() {
		if !returned {
			go r.workFrom(w, i)
		}
	}()
	it.result = it.handler.Fold(&it.event)
	returned, it.fold = true, false
	return true
}
