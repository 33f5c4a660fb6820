package tidings

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"reflect"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kgo"

	"tidings.dev/internal/cloudevent"
	"tidings.dev/internal/reactor"
)

// handlerRun is one run of a handler, and the context that the handler gets. It buffers the events that the handler emits,
// so that they are sent only if the handler succeeds.
type handlerRun struct {
	context.Context // the parent, which has all values but the run
	reaction        *reaction
	// event is the event being handled: the cause of what the handler emits. Its Payload is nil after the run, so that
	// whoever keeps the context does not keep a whole fetch in memory.
	event Any

	// mu protects the fields below; emissions may come from several goroutines.
	mu        sync.Mutex
	ended     bool // end was called: no more emissions are accepted
	emissions []*kgo.Record
	room      [1]*kgo.Record // for emissions, as long as there is one
	first     kind           // of the first emission
	firsts    int            // the number of emissions of the kind first
	others    map[kind]int   // the numbers of the other emissions

	// The following belong to the app's handlerRuns.
	bucket         *runBucket    // where it is while it is under way; nil otherwise
	earlier, later *handlerRun   // its neighbours in the bucket
	detached       []*kgo.Record // what was emitted meanwhile, without a handler's context, of the story, and is durable
}

// Value implements context.Context.
func (r *handlerRun) Value(key any) any {
	if key == runKey {
		return r
	}
	return r.Context.Value(key)
}

var errHandlerReturned = errors.New("the handler whose context this is has returned: wait in the handler for the goroutines that emit")

// emit buffers an event until the handler has returned. It returns a *TooLargeError if the topic would not take the
// event. It asks the log only about a topic that the app has not used before, or whose known limit the event exceeds.
// After end it returns an error that matches errHandlerReturned.
func (r *handlerRun) emit(ctx context.Context, d *definition, e *outgoing) (Receipt, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended {
		return Receipt{}, fmt.Errorf("%s not emitted: %w", d.name, errHandlerReturned)
	}
	if e.meta.ID == "" {
		e.meta.ID = r.derive(d.name, e.meta.Subject)
	}
	e.meta.Source = r.reaction.app.name
	e.meta.Correlation = r.event.Correlation
	e.meta.Causation = r.event.ID
	e.meta.TraceParent = cloudevent.ChildTraceParent(r.event.TraceParent)
	e.reaction = r.reaction.name
	app := r.reaction.app
	app.declare(d)
	record := e.recordIn(new(cloudevent.RecordRoom))
	if err := app.client.Fits(ctx, app.opts.emitTimeout, record); err != nil {
		return Receipt{}, notEmitted(e, err)
	}
	if r.emissions == nil {
		r.emissions = r.room[:0]
	}
	r.emissions = append(r.emissions, record)
	app.defs.emits(d.name, d.topic, e.begun)
	return Receipt{ID: e.meta.ID, Correlation: e.meta.Correlation, Topic: e.meta.Topic, Partition: -1, Offset: -1}, nil
}

// derive returns the id of the run's next emission of a type and subject. It works the id out from the cause, so
// another run of the handler for the same event, in any process, derives the same ids: that lets the reactions
// downstream drop the copies. r.mu must be held.
func (r *handlerRun) derive(typ, subject string) string {
	k := kind{typ, subject}
	if r.firsts == 0 {
		r.first = k
	}
	var n int
	if k == r.first {
		n = r.firsts
		r.firsts++
	} else {
		if r.others == nil {
			r.others = make(map[kind]int)
		}
		n = r.others[k]
		r.others[k] = n + 1
	}
	return r.event.handling.EmissionID(typ, subject, n)
}

// kind is what derive numbers emissions by.
type kind struct{ typ, subject string }

// end makes later emissions fail and returns the records of those made before.
func (r *handlerRun) end() []*kgo.Record {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended = true
	return r.emissions
}

// run calls a handler once for the received event and returns its outcome. folded is what the handler's fold returned
// for the event; nil without a fold. If the handler ends its goroutine (runtime.Goexit), run does not return.
func (r *reaction) run(ctx context.Context, h *handler, received *cloudevent.Event, folded any) reactor.Outcome {
	run := &handlerRun{Context: ctx, reaction: r, event: anyOf(received)}
	run.event.handling, run.event.mismatches = received.Cause(r.name), r.mismatches
	r.app.runs.begin(run)
	over := false
	defer func() {
		if !over { // the handler has ended its goroutine
			run.end()
			r.app.runs.end(run)
		}
	}()
	out := callHandler(run, h, folded)
	over = true
	run.event.Payload = nil
	emitted, appended := run.end(), r.app.runs.end(run)
	if out.Err != nil {
		return out
	}
	if out.Skip == nil {
		out.Emit = emitted
	}
	out.Appended = appended
	return out
}

// handlerRuns are the runs of an app that have not ended. The zero value has none; its methods may be called from any goroutine, and
// do not block.
type handlerRuns struct {
	running atomic.Int64
	buckets [64]runBucket // by the correlation of their causes
}

// runBucket has some of the runs, in a list.
type runBucket struct {
	mu   sync.Mutex // protects last, and the fields bucket, earlier, later and detached of its runs
	last *handlerRun
}

var bucketSeed = maphash.MakeSeed()

// bucketOf returns the bucket of the runs of a story.
func (r *handlerRuns) bucketOf(correlation string) *runBucket {
	return &r.buckets[maphash.String(bucketSeed, correlation)%uint64(len(r.buckets))]
}

func (r *handlerRuns) begin(run *handlerRun) {
	r.running.Add(1)
	b := r.bucketOf(run.event.Correlation)
	b.mu.Lock()
	defer b.mu.Unlock()
	run.bucket, run.earlier = b, b.last
	if b.last != nil {
		b.last.later = run
	}
	b.last = run
}

// end ends a run and returns what was emitted meanwhile. It must be called once for each begin.
func (r *handlerRuns) end(run *handlerRun) []*kgo.Record {
	r.running.Add(-1)
	b := run.bucket
	b.mu.Lock()
	defer b.mu.Unlock()
	if run.earlier != nil {
		run.earlier.later = run.later
	}
	if run.later != nil {
		run.later.earlier = run.earlier
	} else {
		b.last = run.earlier
	}
	run.bucket, run.earlier, run.later = nil, nil, nil
	return run.detached
}

// any reports whether there is a run.
func (r *handlerRuns) any() bool { return r.running.Load() > 0 }

// appended notes that a record of a story is durable that was emitted without a handler's context. If a handler runs for an event of
// that story it may be the one that has emitted it: then the story must not settle before the record was read. appended reports whether
// it has kept the record.
func (r *handlerRuns) appended(correlation string, record *kgo.Record) (kept bool) {
	if !r.any() {
		return false
	}
	b := r.bucketOf(correlation)
	b.mu.Lock()
	defer b.mu.Unlock()
	for run := b.last; run != nil; run = run.earlier {
		if run.event.Correlation == correlation {
			run.detached = append(run.detached, record)
			kept = true
		}
	}
	return kept
}

// handlerFrame is the name by which callHandler appears on a goroutine's stack: see insideHandler.
var handlerFrame = runtime.FuncForPC(reflect.ValueOf(callHandler).Pointer()).Name()

// callHandler calls a handler and turns its error or panic into an Outcome. All handlers are called by it:
// insideHandler looks for it on the stack, so it must not be inlined.
//
//go:noinline
func callHandler(run *handlerRun, h *handler, folded any) (out reactor.Outcome) {
	defer func() {
		if p := recover(); p != nil {
			out = reactor.Outcome{Err: &failedRun{text: panicText(p), stack: debug.Stack()}}
		}
	}()
	if err := h.handle(run, &run.event, folded); err != nil {
		// outcomeOf is called under the recover above, since methods of err may panic, too.
		return outcomeOf(err) // here, since methods of err may panic, too
	}
	return reactor.Outcome{}
}

// panicText returns the text of an error for a recovered panic value. It does not panic itself: fmt recovers if a
// method of value panics.
func panicText(value any) string { return fmt.Sprintf("panic: %v", value) }
