package story

import (
	"os"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kgo"

	"tidings.dev/internal/cloudevent"
)

// TestAnEventInStructuredModeHasAStory applies an event that another program has written in structured mode. It must
// have a place in a story like any other event.
func TestAnEventInStructuredModeHasAStory(t *testing.T) {
	value, err := os.ReadFile("../internal/cloudevent/testdata/structured.json")
	must(t, err)
	l := newTestLog()
	l.append(&kgo.Record{Topic: "plant", Value: value, Timestamp: epoch, Headers: []kgo.RecordHeader{
		{Key: cloudevent.HeaderContentType, Value: []byte("application/cloudevents+json; charset=UTF-8")},
	}})
	ix := openTest(t)
	apply(t, ix, l)
	s := ask(t, ix, "s/1", Live{})
	if len(s.Roots) != 1 {
		t.Fatalf("%d roots", len(s.Roots))
	}
	if e := s.Roots[0]; e.ID != "st-1" || e.Type != "plant.reading.taken" || e.Source != "/py" || e.Foreign {
		t.Errorf("%+v", e)
	}
}

// TestNamesAreBounded checks that names are valid UTF-8 and at most as long as a row may hold, whatever a record
// contains. A type that is not UTF-8 is none.
func TestNamesAreBounded(t *testing.T) {
	long := strings.Repeat("é", cloudevent.MaxNameBytes) + "\xff"
	e := readEvent(&kgo.Record{Topic: "orders", Key: []byte(long), Headers: []kgo.RecordHeader{{Key: cloudevent.HeaderID, Value: []byte("i" + long)}, {Key: cloudevent.HeaderType, Value: []byte(long[:len(long)-1])}}})
	for name, got := range map[string]string{"id": e.ID, "correlation": e.Correlation, "subject": e.Subject, "type": e.Type} {
		if got == "" || len(got) > cloudevent.MaxNameBytes || !utf8.ValidString(got) {
			t.Errorf("%s: %d bytes, %q", name, len(got), got[:min(len(got), 20)])
		}
	}
	if e.ID != e.Correlation {
		t.Error("the correlation is not the id that is kept")
	}
}
