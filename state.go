package tidings

import (
	"context"
	"iter"
	"sync"
)

// States are the states of a ReactWith, one for each subject of the partitions that this instance owns. They are in
// memory, and rebuilt from the log when a partition is assigned; App.Ready is closed after the first rebuild. Methods
// are safe for concurrent use.
//
// What is given out are copies of S. A copy is shallow, unless S has a method Clone() S: add one if S holds maps,
// slices or pointers that fold writes to.
type States[S any] struct {
	mu         sync.RWMutex
	partitions map[int32]map[string]*S // by partition number: equal numbers of all its topics are owned together
}

// ReactWith keeps a state for each subject and lets react decide by it.
//
// fold is called with every event of the facts, in the order of the log per subject, once in the life of this
// instance's ownership of the partition, history first. It must be pure: it changes *s by what the event says and does
// nothing else. A new subject begins with the zero S.
//
// react is called after fold, with the state as of that event, for events that this reaction has not handled yet, and
// follows the rules of React. It must not change what s points to. A nil react makes a pure view.
//
// Facts on several topics need equal partition counts (Run fails otherwise); per subject, the order between topics is
// not defined.
func ReactWith[S any](app *App, facts []Definition, fold func(s *S, e Any), react func(ctx context.Context, s S, e Any) error, opts ...ReactOption) *States[S] {
	states := &States[S]{partitions: make(map[int32]map[string]*S)}
	r, o := app.reaction(opts)
	folder := &folder{
		fold: func(e Any) { states.fold(e, fold) },
		drop: states.drop,
	}
	for _, f := range facts {
		r.fold(f.definition(), folder)
		r.handle(f.definition(), o, func(ctx context.Context, e Any, partition int32) error {
			if react == nil {
				return nil
			}
			s, _ := states.get(partition, e.Subject)
			return react(ctx, s, e)
		})
	}
	return states
}

// Get is the state of a subject; false when nothing was folded for it here.
func (t *States[S]) Get(subject string) (S, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	for _, subjects := range t.partitions {
		if s, ok := subjects[subject]; ok {
			return clone(s), true
		}
	}
	return *new(S), false
}

// All gives every subject and its state, in no order. The states are those of the moment when the loop begins.
func (t *States[S]) All() iter.Seq2[string, S] {
	return func(yield func(string, S) bool) {
		t.mu.RLock()
		all := make(map[string]S)
		for _, subjects := range t.partitions {
			for subject, s := range subjects {
				all[subject] = clone(s)
			}
		}
		t.mu.RUnlock()
		for subject, s := range all {
			if !yield(subject, s) {
				return
			}
		}
	}
}

// Len is the number of subjects.
func (t *States[S]) Len() int {
	t.mu.RLock()
	defer t.mu.RUnlock()
	n := 0
	for _, subjects := range t.partitions {
		n += len(subjects)
	}
	return n
}

func (t *States[S]) get(partition int32, subject string) (S, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	s, ok := t.partitions[partition][subject]
	if !ok {
		return *new(S), false
	}
	return clone(s), true
}

func (t *States[S]) fold(e Any, fold func(*S, Any)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	subjects := t.partitions[e.Partition]
	if subjects == nil {
		subjects = make(map[string]*S)
		t.partitions[e.Partition] = subjects
	}
	s := subjects[e.Subject]
	if s == nil {
		s = new(S)
		subjects[e.Subject] = s
	}
	fold(s, e)
}

// drop forgets a partition that has gone to another instance.
func (t *States[S]) drop(partition int32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.partitions, partition)
}

// clone is called with the lock held.
func clone[S any](s *S) S {
	if c, ok := any(s).(interface{ Clone() S }); ok {
		return c.Clone()
	}
	return *s
}
