package story

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// chain returns the story of n events, each caused by the one before.
func chain(t *testing.T, n int) *Story {
	t.Helper()
	ix, l := openTest(t), newTestLog()
	l.subscribe("counter", "counts")
	cause := ""
	for i := range n {
		id := fmt.Sprint("e", i)
		r := l.event("counts", id, "e0", cause, "counter", "counted", "count/1", after(time.Duration(i)*ms))
		l.handled("counter", r, after(time.Duration(i)*ms+ms), ms)
		cause = id
	}
	apply(t, ix, l)
	s := ask(t, ix, "count/1", Live{})
	if s.Events != n {
		t.Fatalf("%d events", s.Events)
	}
	return s
}

// indented returns the story as indented JSON.
func indented(t *testing.T, s *Story) []byte {
	t.Helper()
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestALongChainIsPrintedInLinearSize checks that the output for a chain of events grows linearly with the number of
// events, and not with its square.
func TestALongChainIsPrintedInLinearSize(t *testing.T) {
	const n = 3000
	tenth, whole := chain(t, n/10), chain(t, n)
	for name, print := range map[string]func(*Story) int{
		"text":    func(s *Story) int { return len(render(t, s, Format{})) },
		"80 wide": func(s *Story) int { return len(render(t, s, Format{Width: 80})) },
		"JSON":    func(s *Story) int { return len(indented(t, s)) },
	} {
		short, long := print(tenth), print(whole)
		if long > 11*short {
			t.Errorf("%s: %d bytes for %d events, and %d for ten times as many", name, short, n/10, long)
		}
		if long > n*2000 {
			t.Errorf("%s: %d bytes for %d events", name, long, n)
		}
	}
	for _, width := range []int{0, 40, 80, 200} {
		got := render(t, whole, Format{Width: width})
		for i := range n { // every event must be shown, within the width
			if at := fmt.Sprintf("counts/0@%d", i); width != 40 && !strings.Contains(got, at) {
				t.Fatalf("%d columns: %s is missing", width, at)
			}
		}
		if handled := strings.Count(got, "✓ counter"); handled != n {
			t.Errorf("%d columns: %d of %d are shown as handled", width, handled, n)
		}
	}
}

// TestADeepTreeIsContinuedBelow checks that a tree which is too deep for the width is continued as another tree below
// it.
func TestADeepTreeIsContinuedBelow(t *testing.T) {
	got := render(t, chain(t, 6), Format{Width: 46}) // wide enough for three levels below the root
	want := `count/1: nothing is owed as far as is known, …

counted  2026-03-04 10:00:00.000 UTC  count/1…
└─ ✓ counter  handled +1.0 ms, took 1.0 ms
   └─ counted  +1.0 ms  counts/0@1
      └─ ✓ counter  handled +2.0 ms, took 1.0…
         └─ counted  +2.0 ms  counts/0@2
            └─ ✓ counter  handled +3.0 ms, to…
               └─ counted  +3.0 ms  counts/0@3
                  └─ ✓ counter  handled +4.0 …
                     └─ … 1 event below, cont…

… continued from counted  counts/0@3, emitted…
counted  +4.0 ms  counts/0@4
└─ ✓ counter  handled +5.0 ms, took 1.0 ms
   └─ counted  +5.0 ms  counts/0@5
      └─ ✓ counter  handled +6.0 ms, took 1.0…
`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestTheJSONOfADeepStory checks that the JSON of a deep story has every event, that none is nested deeper than most
// JSON readers allow, and that decoding and encoding it again gives the same bytes.
func TestTheJSONOfADeepStory(t *testing.T) {
	b := indented(t, chain(t, 100))
	var s Story
	if err := json.Unmarshal(b, &s); err != nil {
		t.Fatal(err)
	}
	var ids []string
	for e := range s.All {
		ids = append(ids, e.ID)
		if len(e.Obligations) != 1 {
			t.Errorf("%s: %v", e.ID, e.Obligations)
		}
	}
	if len(ids) != 100 || len(slices.Compact(slices.Sorted(slices.Values(ids)))) != 100 || len(s.Deeper) != 6 || s.Deeper[0].Causation != "e15" {
		t.Errorf("%d events, %d deeper", len(ids), len(s.Deeper))
	}
	for _, line := range bytes.Split(b, []byte("\n")) {
		if indent := len(line) - len(bytes.TrimLeft(line, " ")); indent > 4*maxNested+8 {
			t.Fatalf("%d columns: %s", indent, line)
		}
	}
	if again := indented(t, &s); !bytes.Equal(again, b) {
		t.Error("what was read is written differently")
	}
}
