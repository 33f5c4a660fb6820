package story_test

import (
	"strings"
	"testing"
	"time"

	"tidings.dev/story"
)

func TestMismatchInWords(t *testing.T) {
	at := time.Date(2026, 11, 29, 9, 50, 14, 0, time.UTC)
	for want, m := range map[string]story.FieldMismatch{
		"events of version 2 have a, which it does not read, and lack b and c.d, which it reads (found 2026-11-29 09:50 UTC)": {Version: 2, Unknown: []string{"a"}, Missing: []string{"b", "c.d"}, At: at},
		"events have a, b, c, d, e and 2 more, which it does not read":                                                        {Unknown: strings.Split("abcdefg", "")},
		"events lack �[31m, which it reads":                                                                                   {Missing: []string{"\x1b[31m"}},
	} {
		if got := m.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// TestAMismatchIsRendered checks that a mismatch is printed below its obligation, as part of the tree and within the
// width.
func TestAMismatchIsRendered(t *testing.T) {
	at := time.Date(2026, 11, 29, 9, 50, 14, 0, time.UTC)
	s := &story.Story{Sentence: "s", First: at, Roots: []*story.Event{{Type: "a", Time: at, Topic: "t", Obligations: []story.Obligation{
		{Reaction: "one", State: story.Handled, Certainty: story.Recorded, At: at, Mismatch: &story.FieldMismatch{Version: 2, Unknown: []string{"x"}}},
		{Reaction: "two", State: story.Handled, Certainty: story.Recorded, At: at, Mismatch: &story.FieldMismatch{Version: 2, Missing: []string{"y"}}},
	}}}}
	var b strings.Builder
	if err := s.Render(&b, story.Format{Width: 40}); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(b.String(), "\n")
	for i, want := range map[int]string{4: "│  ≠ events of version 2 have x, which it", 6: "   ≠ events of version 2 lack y, which it"} {
		if i >= len(lines) || !strings.HasPrefix(want, strings.TrimSuffix(lines[i], "…")) || !strings.HasSuffix(lines[i], "…") {
			t.Errorf("line %d of:\n%s", i, b.String())
		}
	}
}
