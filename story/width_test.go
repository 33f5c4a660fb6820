package story

import (
	"strings"
	"testing"

	"tidings.dev/internal/display"
)

// TestNamesOfAnyScriptFitTheTerminal checks that names in any script are aligned in columns, that no line is wider than
// the terminal, and that a subject can be copied from the output.
func TestNamesOfAnyScriptFitTheTerminal(t *testing.T) {
	const subject = "家族/👩\u200d👩\u200d👧"
	ix, l := openTest(t), newTestLog()
	for _, r := range []string{"在庫", "email", "배송", "🚚"} {
		l.subscribe(r, "orders")
	}
	l.event("orders", "o1", "o1", "", "", strings.Repeat("注文", 30), subject, epoch)
	l.event("orders", "o2", "o1", "", "", "placed", subject, epoch)
	apply(t, ix, l)
	s := ask(t, ix, subject, Live{})
	if got := render(t, s, Format{}); !strings.Contains(got, subject) || !strings.HasPrefix(s.Sentence, subject+": ") || !strings.Contains(got, `
├─ … email  waiting (2 behind)
├─ … 在庫   waiting (2 behind)
├─ … 배송   waiting (2 behind)
└─ … 🚚     waiting (2 behind)
`) {
		t.Errorf("got\n%s", got)
	}
	for _, width := range []int{1, 20, 31, 80} {
		for _, line := range strings.Split(render(t, s, Format{Width: width}), "\n") {
			if n := display.Width(line); n > width {
				t.Errorf("%d columns of %d: %s", n, width, line)
			}
		}
	}
}
