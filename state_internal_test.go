package tidings

import (
	"errors"
	"log/slog"
	"testing"
)

// Case: between the fold of an event and the call of its handler, the partition goes to another instance, and comes back: its
// states are being built anew. The handler gets the state as of its event, not an empty one, and not one half built.
func TestAHandlerGetsTheStateOfItsEventWhateverBecomesOfThePartition(t *testing.T) {
	states := &States[int]{log: slog.New(slog.DiscardHandler), partitions: make(map[int32]map[string]*kept[int])}
	count := func(s *int, _ Any) { *s++ }
	e := Any{Meta: Meta{Subject: "order/1", Partition: 3}}
	states.fold(e, count)
	folded := states.fold(e, count)
	states.drop(3)
	if s, err := states.read(folded.kept); s != 2 || err != nil {
		t.Errorf("after the partition is gone: %d, %v", s, err)
	}
	if _, ok := states.Get("order/1"); ok {
		t.Error("the state is there after the partition is gone")
	}
	again := states.fold(e, count)
	if s, err := states.read(folded.kept); s != 2 || err != nil {
		t.Errorf("after the partition is back: %d, %v", s, err)
	}
	if s, err := states.read(again.kept); s != 1 || err != nil {
		t.Errorf("built anew: %d, %v", s, err)
	}
}

// cloned is a state whose Clone panics, or does not return.
type cloned struct{ clone func() }

func (c cloned) Clone() cloned { c.clone(); return c }

// Case: Clone panics while somebody looks at the states. They are not locked for ever.
func TestACloneThatPanicsLocksNothing(t *testing.T) {
	states := &States[cloned]{log: slog.New(slog.DiscardHandler), partitions: make(map[int32]map[string]*kept[cloned])}
	e := Any{Meta: Meta{Subject: "order/1"}}
	folded := states.fold(e, func(c *cloned, _ Any) { c.clone = func() { panic("no") } })
	for name, look := range map[string]func(){
		"Get":  func() { states.Get("order/1") },
		"All":  func() { states.All()(func(string, cloned) bool { return true }) },
		"read": func() { states.read(folded.kept) },
	} {
		func() {
			defer func() {
				if p := recover(); p != "no" {
					t.Errorf("%s: %v", name, p)
				}
			}()
			look()
		}()
		if !states.mu.TryLock() {
			t.Fatalf("%s leaves the states locked", name)
		}
		states.mu.Unlock()
	}
	if broken := (&FoldError{Err: errGoexit}); !errors.Is(broken, errGoexit) {
		t.Error("a FoldError does not wrap its cause")
	}
}
