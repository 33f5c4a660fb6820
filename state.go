package tidings

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"reflect"
	"runtime/debug"
	"strings"
	"sync"
)

// States are the states that a [ReactWith] keeps, one for each subject of the partitions that this instance owns. They
// are in memory, and are rebuilt from the log whenever a partition is assigned to the instance; [App.Ready] is closed
// once the first rebuild is complete. The methods of States are safe for concurrent use.
//
// The methods return copies of S. A copy is shallow unless S has a method Clone() S. Define one if S has maps, slices
// or pointers to values that fold changes.
type States[S any] struct {
	log *slog.Logger
	mu  sync.RWMutex // protects partitions and everything in it
	// partitions has the states by partition number and subject. Partitions of the same number are owned together,
	// whatever their topic.
	partitions map[int32]map[string]*kept[S]
}

// kept is the state of one subject. When the subject's partition goes to another instance, States drops its kept.
// Handlers that still run have a pointer to it and read it to the end; it does not change any more. If the partition
// comes back, its states are built anew, in new values.
type kept[S any] struct {
	state S
	// broken is a *FoldError if a fold of the subject has failed, so that state is not what the events say; otherwise
	// nil.
	broken error
}

// folded is the result of folding one event: the state that it was folded into.
type folded[S any] struct {
	*kept[S]
	unread *PayloadError // set if the fold called From and the event did not decode
}

// ReactWith keeps a state of type S for each subject and calls react with it.
//
// fold changes the state *s of the subject of event e by what e says. It is called with every event of the facts, in
// the order of the log within a subject, and begins with the oldest event in the log. The first event of a subject
// finds the zero S. While this instance owns the partition, fold is called once for each event. fold must be pure: it
// must do nothing but change *s. No other handler of the reaction is started while fold runs, so fold must not block.
// If fold panics or ends its goroutine, the state of the subject is broken until it is built anew: see [States.Err].
// If fold calls [Fact.From] and the event does not decode, react is not called for the event: see [OnUndecodable].
//
// react is called after fold, with the state as of event e, for each event that the reaction has not handled yet. It
// follows the rules of a handler of [React]. It must not change values that s refers to. A nil react makes a view: a
// state that is only read.
//
// Facts on several topics need topics with equal numbers of partitions; otherwise [App.Run] fails. Events of one
// subject on different topics are in no defined order. ReactWith panics as [React] does, and if facts is empty.
func ReactWith[S any](app *App, facts []Definition, fold func(s *S, e Any), react func(ctx context.Context, s S, e Any) error, opts ...ReactOption) *States[S] {
	checkReactWith(app, facts, fold == nil)
	r, o := app.reaction(opts)
	states := &States[S]{log: r.log, partitions: make(map[int32]map[string]*kept[S])}
	folder := &folder{
		fold: func(e Any) any { return states.fold(e, fold) },
		drop: states.drop,
	}
	for _, f := range facts {
		r.handle(f.definition(), o, folder, func(ctx context.Context, e *Any, result any) error {
			event := result.(folded[S])
			s, err := states.read(event.kept)
			switch {
			case err != nil:
				return err
			case event.unread != nil:
				return o.undecodable(ctx, *e, event.unread)
			case react == nil:
				return nil
			}
			return react(ctx, s, *e)
		})
	}
	return states
}

// checkReactWith panics if an argument of ReactWith is missing.
func checkReactWith(app *App, facts []Definition, noFold bool) {
	switch {
	case app == nil:
		panic("tidings: ReactWith: the app is nil: pass the one that tidings.Open returned")
	case len(facts) == 0:
		panic(fmt.Sprintf("tidings: app %q: ReactWith: no facts are given: pass tidings.Facts(…)", app.name))
	case noFold:
		panic(fmt.Sprintf("tidings: app %q: ReactWith: fold is nil: without state, use React", app.name))
	}
	for i, f := range facts {
		if f == nil || reflect.ValueOf(f).IsNil() {
			panic(fmt.Sprintf("tidings: app %q: ReactWith: fact number %d is nil: pass what tidings.Define returned", app.name, i+1))
		}
	}
}

// Get returns the state of a subject. It returns false if no event of the subject was folded by this instance, and if
// the subject's state is broken.
func (t *States[S]) Get(subject string) (S, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if k := t.find(subject); k != nil && k.broken == nil {
		return clone(&k.state), true
	}
	return *new(S), false
}

// Err returns a [*FoldError] if the state of a subject is broken, and otherwise nil. A state is broken when its fold
// has failed with some event: what the subject's events say is unknown until the state is built anew, by a process
// that starts again with a mended fold. Until then, the subject's handlers are not called, and its events are tried
// again.
func (t *States[S]) Err(subject string) error {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if k := t.find(subject); k != nil {
		return k.broken
	}
	return nil
}

// find returns the state of a subject, or nil if there is none. t.mu must be held.
func (t *States[S]) find(subject string) *kept[S] {
	for _, subjects := range t.partitions {
		if k := subjects[subject]; k != nil {
			return k
		}
	}
	return nil
}

// All returns an iterator over all subjects and their states, in no particular order. Subjects whose state is broken
// are left out. The states are copied when the loop begins.
func (t *States[S]) All() iter.Seq2[string, S] {
	return func(yield func(string, S) bool) {
		for subject, s := range t.copyAll() {
			if !yield(subject, s) {
				return
			}
		}
	}
}

// copyAll returns copies of all states that are not broken, by subject.
func (t *States[S]) copyAll() map[string]S {
	t.mu.RLock()
	defer t.mu.RUnlock()
	all := make(map[string]S)
	for _, subjects := range t.partitions {
		for subject, k := range subjects {
			if k.broken == nil {
				all[subject] = clone(&k.state)
			}
		}
	}
	return all
}

// Len returns the number of subjects that have a state, including broken ones.
func (t *States[S]) Len() int {
	t.mu.RLock()
	defer t.mu.RUnlock()
	n := 0
	for _, subjects := range t.partitions {
		n += len(subjects)
	}
	return n
}

// read returns a copy of k's state, or the error by which it is broken. The caller is the handler of the event that
// was folded into k last: no later event of the subject is folded before that event is done, so the state is that as
// of the event.
func (t *States[S]) read(k *kept[S]) (S, error) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if k.broken != nil {
		return *new(S), k.broken
	}
	return clone(&k.state), nil
}

// fold folds an event into the state of its subject with the user's function. If the state is broken already, or the
// function fails, the result's state is broken. If the function ends the goroutine, fold does not return; the state is broken then.
func (t *States[S]) fold(e Any, fold func(*S, Any)) folded[S] {
	t.mu.Lock()
	defer t.mu.Unlock()
	subjects := t.partitions[e.Partition]
	if subjects == nil {
		subjects = make(map[string]*kept[S])
		t.partitions[e.Partition] = subjects
	}
	k := subjects[e.Subject]
	if k == nil {
		k = new(kept[S])
		subjects[strings.Clone(e.Subject)] = k // e.Subject is a part of a larger string
	}
	if k.broken != nil {
		return folded[S]{kept: k}
	}
	e.unread = new(unread)
	t.call(k, &e, fold)
	failed := e.unread.failed.Load()
	if failed != nil {
		t.log.Warn("an event does not decode: the state of its subject is without it",
			"error", failed, "event", e.ID, "type", e.Type, "subject", e.Subject, "topic", e.Topic, "partition", e.Partition, "offset", e.Offset)
	}
	return folded[S]{k, failed}
}

// errGoexit is the error of a fold that ends its goroutine instead of returning.
var errGoexit = errors.New("it ended its goroutine (runtime.Goexit, as testing's FailNow does) in place of returning")

// call calls the user's function with the state k and an event. If the function panics or ends the goroutine, k is broken.
func (t *States[S]) call(k *kept[S], e *Any, fold func(*S, Any)) {
	err := errGoexit
	defer func() {
		if err != nil {
			t.breaks(k, e, err)
		}
	}()
	defer func() { // of its own, since methods of the value may end the goroutine, too
		if p := recover(); p != nil {
			err = &failedRun{text: panicText(p), stack: debug.Stack()}
		}
	}()
	fold(&k.state, *e)
	err = nil
}

// breaks makes the state k broken because its fold has failed with an event, and says so in the log.
func (t *States[S]) breaks(k *kept[S], e *Any, err error) {
	k.broken = &FoldError{Meta: e.Meta, Err: err}
	var stack []byte
	if panicked, ok := err.(*failedRun); ok {
		stack = panicked.stack
	}
	t.log.Error("the state of a subject is broken: its events wait until it is built anew by a program that can fold them",
		"error", k.broken, "event", e.ID, "type", e.Type, "subject", e.Subject, "topic", e.Topic, "partition", e.Partition, "offset", e.Offset, "stack", string(stack))
}

// drop forgets the states of the partitions with this number, which this instance does not own any more.
func (t *States[S]) drop(partition int32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.partitions, partition)
}

// clone returns a copy of *s, made by its Clone method if it has one. The lock of the States must be held.
func clone[S any](s *S) S {
	if c, ok := any(s).(interface{ Clone() S }); ok {
		return c.Clone()
	}
	return *s
}
