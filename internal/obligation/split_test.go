package obligation

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"

	"tidings.dev/internal/offsets"
)

// Whatever a round has to say, each record is within the limit, and together they say just that.
func TestMarksAreSplit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
		offset := rapid.Int64Range(0, 1<<62)
		text := rapid.StringOfN(rapid.RuneFrom([]rune{'a', '"', '\x00', '<', 'é', '\u2028'}), 0, 400, MaxText)
		n := func() int { return rapid.IntRange(0, 60).Draw(t, "entries") }
		whole := &Marks{Reaction: "payment", Topic: "orders", Partition: 3, Epoch: 2, Position: offset.Draw(t, "position"), Started: at, Finished: at}
		for range n() {
			o := offset.Draw(t, "offset")
			whole.Done = append(whole.Done, offsets.Range{Lo: o, Hi: o + 1})
			whole.Unhandled = append(whole.Unhandled, offsets.Range{Lo: o, Hi: o + 1})
			whole.Copies = append(whole.Copies, Copy{o + 1, o})
		}
		for range n() {
			whole.Skipped = append(whole.Skipped, Skipped{offset.Draw(t, "offset"), text.Draw(t, "reason")})
			whole.Retried = append(whole.Retried, Retried{offset.Draw(t, "offset"), 1 << 30, text.Draw(t, "error")})
			whole.Times = append(whole.Times, Timing{offset.Draw(t, "offset"), time.Hour, at})
		}
		var emitted offsets.Set
		switch rapid.IntRange(0, 2).Draw(t, "emitted") {
		case 1:
			whole.Emitted = []offsets.Range{}
		case 2:
			for _, r := range whole.Done {
				if rapid.Bool().Draw(t, "emits") {
					emitted.Add(r.Lo, r.Hi)
				}
			}
			whole.Emitted = append([]offsets.Range{}, emitted.Ranges()...)
			for i := range n() {
				whole.Through = append(whole.Through, Position{text.Draw(t, "topic"), int32(i), offset.Draw(t, "end"), TopicID{1}, offset.Draw(t, "span")})
			}
		}
		limit := rapid.IntRange(8<<10, 20<<10).Draw(t, "limit")
		parts := whole.Split(limit)
		together := *whole
		together.Done, together.Unhandled, together.Copies, together.Skipped, together.Retried, together.Times = nil, nil, nil, nil, nil, nil
		together.Emitted, together.Through = nil, nil
		for i, p := range parts {
			if size := len(Encode(p)); size > limit {
				t.Fatalf("part %d has %d bytes, limit %d", i, size, limit)
			}
			if last := i == len(parts)-1; last && p.Position != whole.Position || !last && p.Position != 0 {
				t.Fatalf("part %d of %d has position %d, want %d in the last alone", i, len(parts), p.Position, whole.Position)
			}
			if p.Key() != whole.Key() || p.Epoch != whole.Epoch || !p.Started.Equal(at) || !p.Finished.Equal(at) {
				t.Fatalf("part %d is of %+v", i, p)
			}
			// Each part says by itself what it has led to.
			known := offsets.SetOf(p.Emitted...)
			for _, r := range p.Done {
				if p.Emitted != nil && emitted.Contains(r.Lo) && (!known.Contains(r.Lo) || !slices.Equal(p.Through, whole.Through)) {
					t.Fatalf("part %d has %d done, whose emissions it lacks", i, r.Lo)
				}
			}
			if p.Emitted != nil && whole.Emitted == nil || p.Emitted == nil && whole.Emitted != nil && len(whole.Through) == 0 {
				t.Fatalf("part %d has emitted %v, the whole %v", i, p.Emitted, whole.Emitted)
			}
			together.Done = append(together.Done, p.Done...)
			together.Unhandled = append(together.Unhandled, p.Unhandled...)
			together.Copies = append(together.Copies, p.Copies...)
			together.Skipped = append(together.Skipped, p.Skipped...)
			together.Retried = append(together.Retried, p.Retried...)
			together.Times = append(together.Times, p.Times...)
		}
		whole.Emitted, whole.Through = nil, nil
		if !reflect.DeepEqual(&together, whole) {
			t.Fatalf("\n got %+v\nwant %+v", &together, whole)
		}
	})
}

func TestTextsAreCut(t *testing.T) {
	if s := strings.Repeat("x", MaxText); CutText(s) != s {
		t.Error("a text of the largest size was cut")
	}
	s := CutText(strings.Repeat("é", 1<<19))
	if len(s) > MaxText || len(s) < MaxText-8 || !utf8.ValidString(s) || !strings.HasSuffix(s, "… (cut: 1048576 bytes)") {
		t.Errorf("%d bytes: %s", len(s), s)
	}
}
