package obligation

import (
	"slices"
	"testing"
	"time"
)

func TestAProgramChangesTheTypesOfItsVersionAndOlderOnes(t *testing.T) {
	one, two, three := Version{Named: "1"}, Version{Named: "2"}, Version{Named: "3"}
	have := &Subscription{Reaction: "payment", Topic: "orders", Version: two, Types: []string{"a", "b"},
		TypeSince: map[string]map[int32]int64{"b": {0: 7}}}
	for name, test := range map[string]struct {
		version        Version
		types          []string
		want, joining  []string
		keepsSinceOfB  bool
		becomesVersion Version
	}{
		"a higher version's replace them": {three, []string{"a", "c"}, []string{"a", "c"}, []string{"c"}, false, three},
		"an equal one's are added":        {two, []string{"c"}, []string{"a", "b", "c"}, []string{"c"}, true, two},
		"a lower one's are not":           {one, []string{"c"}, []string{"a", "b"}, nil, true, two},
		"nor are those of none":           {Version{}, []string{"a"}, []string{"a", "b"}, nil, true, two},
	} {
		got := have.WithTypes(test.version, test.types)
		_, since := got.TypeSince["b"]
		if !slices.Equal(got.Types, test.want) || !slices.Equal(got.Joining, test.joining) || since != test.keepsSinceOfB || got.Version != test.becomesVersion {
			t.Errorf("%s: %+v", name, got)
		}
	}
	if !slices.Equal(have.Types, []string{"a", "b"}) || len(have.TypeSince) != 1 {
		t.Errorf("the original was changed: %+v", have)
	}
}

// Case: two instances write at the same time, each without knowing of the other.
func TestTwoRecordsOfOneRevisionAreMerged(t *testing.T) {
	first := &Subscription{Reaction: "r", Topic: "t", Types: []string{"a"}, Start: map[int32]int64{0: 1}, Since: map[int32]int64{0: 1}, Revision: 3}
	second := &Subscription{Reaction: "r", Topic: "t", Types: []string{"b"}, Joining: []string{"b"}, Start: map[int32]int64{0: 2}, Revision: 3}
	m := Merge(first, second)
	if !slices.Equal(m.Types, []string{"a", "b"}) || !slices.Equal(m.Joining, []string{"b"}) || m.Start[0] != 1 || m.Revision != 3 {
		t.Errorf("of one version: %+v", m)
	}
	second.Version = Version{Named: "2"}
	if m := Merge(first, second); !slices.Equal(m.Types, []string{"b"}) || m.Start[0] != 1 || m.Version != second.Version {
		t.Errorf("the second one higher: %+v", m)
	}
	first.Version = Version{Named: "3"}
	if m := Merge(first, second); !slices.Equal(m.Types, []string{"a"}) || len(m.Joining) > 0 {
		t.Errorf("the first one higher: %+v", m)
	}
	second.Retired = true
	if m := Merge(first, second); m.Retired {
		t.Errorf("retired by one of two: %+v", m)
	}
}

func TestWhatCountsOfSubscriptions(t *testing.T) {
	at := func(revision int64) *Subscription { return &Subscription{Revision: revision} }
	for _, test := range []struct {
		have, read int64
		want       bool
	}{{0, 0, true}, {0, 1, true}, {1, 2, true}, {1, 1, false}, {2, 1, false}, {1, 0, false}} {
		if got := at(test.read).Supersedes(at(test.have)); got != test.want {
			t.Errorf("revision %d after %d: %v", test.read, test.have, got)
		}
	}
	if !at(0).Supersedes(nil) {
		t.Error("the first record does not count")
	}
}

func TestTypesAreRetiredOneByOne(t *testing.T) {
	s := &Subscription{Types: []string{"a", "b"}, Joining: []string{"b"}}
	one := s.WithoutTypes("b")
	if !slices.Equal(one.Types, []string{"a"}) || len(one.Joining) > 0 || one.Retired {
		t.Errorf("%+v", one)
	}
	if none := one.WithoutTypes("a"); !none.Retired {
		t.Errorf("%+v", none)
	}
}

// Case: types end, by hand, by a program of a higher version, and as two records of one revision become one.
func TestTypesThatHaveEndedAreKnown(t *testing.T) {
	s := &Subscription{Version: Version{Named: "1"}, Types: []string{"a", "b", "c"}, Since: map[int32]int64{0: 10}, TypeSince: map[string]map[int32]int64{"b": {0: 20}}}
	now := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	check := func(s *Subscription, typ string, from, to int64) {
		t.Helper()
		e, ok := s.Ended[typ]
		if !ok {
			t.Fatalf("%s has not ended: %+v", typ, s)
		}
		for offset, want := range map[int64]bool{from - 1: false, from: true, to - 1: true, to: e.Until == nil} {
			if e.Has(0, offset) != want {
				t.Errorf("%s: %+v has %d: %v", typ, e, offset, !want)
			}
		}
	}
	byHand := s.WithoutTypes("b")
	if !byHand.Ending() || len(s.Ended) != 0 {
		t.Errorf("%+v", byHand)
	}
	check(byHand, "b", 20, 1<<40)
	byHand.SetEnded(map[int32]int64{0: 30}, now)
	if byHand.Ending() || !byHand.Ended["b"].At.Equal(now) {
		t.Errorf("%+v", byHand)
	}
	check(byHand, "b", 20, 30)
	byHand.SetEnded(map[int32]int64{0: 40}, now) // it is known by now
	check(byHand, "b", 20, 30)

	higher := byHand.WithTypes(Version{Named: "2"}, []string{"b", "c"})
	higher.SetEnded(map[int32]int64{0: 50}, now)
	check(higher, "a", 10, 50)
	check(higher, "b", 20, 30) // added again, and ended before
	again := higher.WithTypes(Version{Named: "3"}, []string{"a", "c"})
	again.SetEnded(map[int32]int64{0: 70}, now)
	check(again, "b", 20, 30) // it was joining: nothing was owed
	again.TypeSince, again.Joining = map[string]map[int32]int64{"a": {0: 80}}, nil
	again = again.WithoutTypes("a")
	again.SetEnded(map[int32]int64{0: 90}, now)
	check(again, "a", 10, 90)

	other := s.WithTypes(Version{Named: "2"}, []string{"a"})
	other.SetEnded(map[int32]int64{0: 60}, now)
	for _, merged := range []*Subscription{Merge(s, other), Merge(other, s)} {
		check(merged, "b", 20, 60)
		check(merged, "c", 10, 60)
	}
	if on := other.On(TopicID{1}); other.Clone().Equal(s) || !other.Clone().Equal(other) {
		t.Errorf("%+v", on)
	}
	other.TopicID = TopicID{1}
	if on := other.On(TopicID{2}); len(on.Ended) != 0 {
		t.Errorf("another topic has the types that have ended on this one: %+v", on)
	}
	if last := s.WithoutTypes("a", "b", "c"); !last.Retired || len(last.Types) != 3 || len(last.Ended) != 0 {
		t.Errorf("%+v", last)
	}
	impossible := other.Clone()
	impossible.Ended["b"] = Ended{map[int32]int64{0: -5}, map[int32]int64{0: 1 << 50}, now}
	possible := impossible.Possible(other, func(string, TopicID, int32) (int64, bool) { return 100, true })
	check(possible, "b", 20, 60)
}
