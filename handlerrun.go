package tidings

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"runtime/debug"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"

	"tidings.dev/internal/cloudevent"
	"tidings.dev/internal/reactor"
)

// handlerRun is one run of a handler. It buffers the events that the handler emits, so that they are sent only if the
// handler succeeds.
type handlerRun struct {
	reaction *reaction
	// cause is the event being handled: the cause of what the handler emits.
	cause Meta

	// mu protects the fields below; emissions may come from several goroutines.
	mu        sync.Mutex
	ended     bool // end was called: no more emissions are accepted
	emissions []*kgo.Record
	nth       map[string]int // the number of emissions in this run, by type and subject: see derive

	// The following belong to the app's handlerRuns.
	underWay bool
	next     *handlerRun   // another run of the same story
	detached []*kgo.Record // what was emitted meanwhile, without a handler's context, of the story, and is durable
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
	e.meta.Correlation = r.cause.Correlation
	e.meta.Causation = r.cause.ID
	e.meta.TraceParent = cloudevent.ChildTraceParent(r.cause.TraceParent)
	e.reaction = r.reaction.name
	app := r.reaction.app
	app.client.Declare(d.topic, d.partitions, nil)
	record := e.record()
	if err := app.client.Fits(ctx, app.opts.emitTimeout, record); err != nil {
		return Receipt{}, notEmitted(e, err)
	}
	r.emissions = append(r.emissions, record)
	app.defs.emits(d.name, d.topic, e.begun)
	return Receipt{ID: e.meta.ID, Correlation: e.meta.Correlation, Topic: e.meta.Topic, Partition: -1, Offset: -1}, nil
}

// derive returns the id of the run's next emission of a type and subject. It works the id out from the cause, so
// another run of the handler for the same event, in any process, derives the same ids: that lets the reactions
// downstream drop the copies. r.mu must be held.
func (r *handlerRun) derive(typ, subject string) string {
	key := typ + "\x00" + subject
	if r.nth == nil {
		r.nth = make(map[string]int)
	}
	n := r.nth[key]
	r.nth[key] = n + 1
	return r.cause.handling.EmissionID(typ, subject, n)
}

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
	e := anyOf(received)
	e.handling, e.mismatches = received.Cause(r.name), r.mismatches
	run := &handlerRun{reaction: r, cause: e.Meta}
	defer run.end()
	r.app.runs.begin(run)
	defer r.app.runs.end(run) // also if the handler ends its goroutine
	out := callHandler(context.WithValue(ctx, runKey, run), h, e, folded)
	if out.Err != nil {
		return out
	}
	if out.Skip == nil {
		out.Emit = run.end()
	}
	out.Appended = r.app.runs.end(run)
	return out
}

// handlerRuns are the runs of an app that have not ended. The zero value has none; its methods may be called from any goroutine, and
// do not block.
type handlerRuns struct {
	mu      sync.Mutex
	byStory map[string]*handlerRun // by the correlation of their causes; those of one story are linked by next
}

func (r *handlerRuns) begin(run *handlerRun) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.byStory == nil {
		r.byStory = make(map[string]*handlerRun)
	}
	run.underWay, run.next = true, r.byStory[run.cause.Correlation]
	r.byStory[run.cause.Correlation] = run
}

// end ends a run and returns what was emitted meanwhile. If it has ended before, it does nothing.
func (r *handlerRuns) end(run *handlerRun) []*kgo.Record {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !run.underWay {
		return nil
	}
	run.underWay = false
	first := r.byStory[run.cause.Correlation]
	at := &first
	for *at != run {
		at = &(*at).next
	}
	if *at = run.next; first == nil {
		delete(r.byStory, run.cause.Correlation)
	} else {
		r.byStory[run.cause.Correlation] = first
	}
	return run.detached
}

// any reports whether there is a run.
func (r *handlerRuns) any() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.byStory) > 0
}

// appended notes that a record of a story is durable that was emitted without a handler's context. If a handler runs for an event of
// that story it may be the one that has emitted it: then the story must not settle before the record was read.
func (r *handlerRuns) appended(correlation string, record *kgo.Record) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for run := r.byStory[correlation]; run != nil; run = run.next {
		run.detached = append(run.detached, record)
	}
}

// handlerFrame is the name by which callHandler appears on a goroutine's stack: see insideHandler.
var handlerFrame = runtime.FuncForPC(reflect.ValueOf(callHandler).Pointer()).Name()

// callHandler calls a handler and turns its error or panic into an Outcome. All handlers are called by it:
// insideHandler looks for it on the stack, so it must not be inlined.
//
//go:noinline
func callHandler(ctx context.Context, h *handler, e Any, folded any) (out reactor.Outcome) {
	defer func() {
		if p := recover(); p != nil {
			out = reactor.Outcome{Err: &failedRun{text: panicText(p), stack: debug.Stack()}}
		}
	}()
	if err := h.handle(ctx, e, folded); err != nil {
		// outcomeOf is called under the recover above, since methods of err may panic, too.
		return outcomeOf(err) // here, since methods of err may panic, too
	}
	return reactor.Outcome{}
}
