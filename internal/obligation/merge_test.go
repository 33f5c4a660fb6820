package obligation

import (
	"slices"
	"testing"
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
