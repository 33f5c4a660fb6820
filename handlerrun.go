package tidings

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync"

	"tidings.dev/internal/delivery"
)

// handlerRun is one run of a handler: the cause of what it emits, and the buffer for it.
type handlerRun struct {
	reaction *reaction
	cause    Meta

	mu        sync.Mutex
	ended     bool
	emissions []*outgoing
	nth       map[string]int // how many of a type and subject were emitted in this run
}

var errHandlerReturned = errors.New("the handler whose context this is has returned: wait in the handler for the goroutines that emit")

// emit keeps an event until the handler has returned.
func (r *handlerRun) emit(d *definition, e *outgoing) (Receipt, error) {
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
	e.meta.TraceParent = childTraceParent(r.cause.TraceParent)
	e.reaction = r.reaction.name
	r.emissions = append(r.emissions, e)
	r.reaction.app.topics.declare(d)
	return Receipt{ID: e.meta.ID, Correlation: e.meta.Correlation, Topic: e.meta.Topic, Partition: -1, Offset: -1}, nil
}

// derive makes the id of the next emission of a type and subject. A run after a crash, or after a failure, makes the
// same ids again, whichever process it is in; that is what lets the reactions downstream drop the copies.
func (r *handlerRun) derive(typ, subject string) string {
	key := typ + "\x00" + subject
	if r.nth == nil {
		r.nth = make(map[string]int)
	}
	n := r.nth[key]
	r.nth[key] = n + 1
	return delivery.DeriveID("event", r.cause.ID, r.reaction.name, typ, subject, strconv.Itoa(n))
}

// end closes the buffer and gives what is in it.
func (r *handlerRun) end() []*outgoing {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended = true
	return r.emissions
}

// panicError is a panic of a handler.
type panicError struct {
	value any
	stack []byte
}

func (e *panicError) Error() string { return fmt.Sprintf("panic: %v", e.value) }

// handlerFrame is callHandler's name on the stack.
var handlerFrame = runtime.FuncForPC(reflect.ValueOf(callHandler).Pointer()).Name()

// callHandler is the one place that runs handlers. It is found on the stack by insideHandler, so it must not be inlined.
//
//go:noinline
func callHandler(ctx context.Context, h *handler, e Any) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &panicError{p, debug.Stack()}
		}
	}()
	return h.handle(ctx, e, e.Partition)
}
