package story

import (
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	bolt "go.etcd.io/bbolt"

	"tidings.dev/internal/cloudevent"
)

// from appends an event with this source, type, id and correlation.
func (l *testLog) from(source, typ, id, correlation string) *kgo.Record {
	e := cloudevent.Event{ID: id, Type: typ, Source: source, Subject: "m/1", Time: epoch, Correlation: correlation, Data: []byte(`{}`)}
	r := e.Record("plant")
	r.Timestamp = epoch
	return l.append(r)
}

// eventsOf returns the events of a story as "source id type", with " again" after an event that has copies, in
// alphabetical order.
func eventsOf(s *Story) (events []string) {
	for e := range s.All {
		line := e.Source + " " + e.ID + " " + e.Type
		if len(e.Copies) > 0 {
			line += " again"
		}
		events = append(events, line)
	}
	slices.Sort(events)
	return events
}

// TestAnEventIsKnownByItsSourceTypeAndID applies events with the same id: from two sources, of two types, and one that
// was sent twice. Only the last is a copy, and each event has an obligation of its own.
func TestAnEventIsKnownByItsSourceTypeAndID(t *testing.T) {
	ix, l := openTest(t), newTestLog()
	l.subscribe("checks", "plant", "taken", "checked")
	a := l.from("/a", "taken", "1", "")
	l.from("/b", "taken", "1", "")
	l.from("/a", "checked", "1", "")
	again := l.from("/a", "taken", "1", "")
	apply(t, ix, l)
	s := ask(t, ix, "1", Live{})
	want := []string{"/a 1 checked", "/a 1 taken again", "/b 1 taken"}
	if got := eventsOf(s); !slices.Equal(got, want) || s.Events != 3 {
		t.Errorf("%d events: %q, want %q", s.Events, got, want)
	}
	// Handling a copy is handling the event; the other events are still owed.
	open := func() (n int) {
		for e := range ask(t, ix, "1", Live{}).All {
			for _, o := range e.Obligations {
				if o.Open() {
					n++
				}
			}
		}
		return n
	}
	if open() != 3 {
		t.Errorf("%d open", open())
	}
	l.handled("checks", again, epoch, 0)
	apply(t, ix, l)
	if st := ix.Stats(); open() != 2 || st.Events != 3 || st.Open != 1 {
		t.Errorf("%d open, %+v", open(), st)
	}
	_ = a
}

// TestAnIDMayLeadToSeveralStories asks for an id that events of several stories have, and that is the correlation of
// one. The answer must have all of these stories.
func TestAnIDMayLeadToSeveralStories(t *testing.T) {
	ix, l := openTest(t), newTestLog()
	l.from("/a", "taken", "7", "a-7")
	l.from("/b", "taken", "7", "b-7")
	l.from("/c", "taken", "7", "")
	apply(t, ix, l)
	refs, err := ix.Find("7", 0)
	must(t, err)
	var found []string
	for _, r := range refs {
		found = append(found, r.Correlation+" by "+r.By)
	}
	if want := []string{"7 by correlation", "b-7 by event", "a-7 by event"}; !slices.Equal(found, want) {
		t.Errorf("%q, want %q", found, want)
	}
	s := ask(t, ix, "7", Live{})
	if s.Events != 3 || len(s.Correlations) != 3 || len(s.Roots) != 3 {
		t.Errorf("%d events in %q", s.Events, s.Correlations)
	}
	if refs, err = ix.Find("7", 2); err != nil || len(refs) != 2 {
		t.Errorf("%v, %v", refs, err)
	}
}

// TestACauseIsKnownAmongEventsOfOneID applies two events of one story that have the same id, each of which has caused
// others. Those must be below their own cause.
func TestACauseIsKnownAmongEventsOfOneID(t *testing.T) {
	ix, l := openTest(t), newTestLog()
	for _, source := range []string{"/a", "/b"} {
		l.from(source, "taken", "1", "c")
		cause := cloudevent.Event{Source: source, Type: "taken", ID: "1", Derivation: cloudevent.DerivedFromIdentity}
		for n := range 2 {
			e := cloudevent.Event{ID: cause.Cause("checks").EmissionID("checked", source, n), Type: "checked", Source: "checks", Subject: source,
				Time: after(ms), Correlation: "c", Causation: "1", Reaction: "checks"}
			l.append(e.Record("plant"))
		}
	}
	apply(t, ix, l)
	s := ask(t, ix, "c", Live{})
	if len(s.Roots) != 2 {
		t.Fatalf("%d roots", len(s.Roots))
	}
	for _, root := range s.Roots {
		if len(root.Children) != 2 || root.Children[0].Subject != root.Source || root.Children[1].Subject != root.Source {
			t.Errorf("%s: %+v", root.Source, root.Children)
		}
	}
}

// TestLongIDsAreApart checks that two ids which are longer than a row may hold, and begin alike, are two events.
func TestLongIDsAreApart(t *testing.T) {
	ix, l := openTest(t), newTestLog()
	for _, end := range []string{"a", "b", "a"} {
		l.from("/a", "taken", strings.Repeat("x", 2*cloudevent.MaxNameBytes)+end, "c")
	}
	apply(t, ix, l)
	if s := ask(t, ix, "c", Live{}); s.Events != 2 {
		t.Errorf("%d events", s.Events)
	}
}

// TestAnIndexOfAnEarlierFormatIsBuiltAgain checks that an index file of the format that identified events by their ids
// alone is set aside, and a new one is begun.
func TestAnIndexOfAnEarlierFormatIsBuiltAgain(t *testing.T) {
	ix := openTest(t)
	path := ix.path
	must(t, ix.db.Update(func(tx *bolt.Tx) error { return tx.Bucket(bucketMeta).Put(keyFormat, []byte("tidings story 2")) }))
	must(t, ix.Close())
	again, err := OpenIndex(path, slog.New(slog.DiscardHandler))
	must(t, err)
	defer again.Close()
	if at := again.position("plant", 0); at != 0 {
		t.Errorf("it begins at %d", at)
	}
}
