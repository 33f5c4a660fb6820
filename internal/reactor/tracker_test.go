package reactor

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"tidings.dev/internal/offsets"
)

// TestTrackerStandsAtTheLowestUnfinishedOffset checks a tracker under random operations: records arrive in order, some
// offsets have no record, some were done before a restart, and events finish in any order. The position must always be
// the lowest offset that is not done, and the marks must contain each done offset exactly once.
func TestTrackerStandsAtTheLowestUnfinishedOffset(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		start := rapid.Int64Range(0, 50).Draw(t, "start")
		var ahead offsets.Set
		done := map[int64]bool{}
		for range rapid.IntRange(0, 4).Draw(t, "runs ahead") {
			lo := start + rapid.Int64Range(0, 30).Draw(t, "ahead")
			ahead.Add(lo, lo+2)
			done[lo], done[lo+1] = true, true
		}
		tr := newTracker(start, ahead.Clone())
		told := map[int64]bool{}
		var open []int64
		next := start
		for range rapid.IntRange(1, 120).Draw(t, "steps") {
			switch rapid.IntRange(0, 4).Draw(t, "step") {
			case 0, 1: // a record arrives, perhaps after offsets without records
				offset := next + int64(rapid.SampledFrom([]int{0, 0, 0, 1, 3}).Draw(t, "hole"))
				want := arrivedNew
				if done[offset] {
					want = arrivedDone
				}
				for o := next; o < offset; o++ {
					done[o] = true
				}
				if got := tr.arrive(offset); got != want {
					t.Fatalf("Arrive(%d) = %v, want %v", offset, got, want)
				}
				if want == arrivedNew {
					open = append(open, offset)
				}
				next = offset + 1
			case 2: // the last record is fetched a second time
				if next > start {
					if got := tr.arrive(next - 1); got != arrivedAgain {
						t.Fatalf("Arrive(%d) a second time = %v", next-1, got)
					}
				}
			case 3: // an event finishes
				if len(open) > 0 {
					i := rapid.IntRange(0, len(open)-1).Draw(t, "which")
					tr.finish(open[i])
					done[open[i]] = true
					open = slices.Delete(open, i, i+1)
				}
			case 4: // marks are written
				for _, r := range tr.take() {
					for o := r.Lo; o < r.Hi; o++ {
						if told[o] {
							t.Fatalf("offset %d is told twice", o)
						}
						told[o] = true
						if !done[o] {
							t.Fatalf("offset %d is told as done, and is not", o)
						}
					}
				}
			}
			want := start
			for done[want] {
				want++
			}
			if tr.position != want {
				t.Fatalf("position %d, want %d (done %v)", tr.position, want, done)
			}
			if tr.open != len(open) {
				t.Fatalf("%d open, want %d", tr.open, len(open))
			}
			for o := want; o < next+40; o++ {
				if tr.ahead.Contains(o) != done[o] {
					t.Fatalf("ahead has %d: %v", o, tr.ahead.Contains(o))
				}
			}
		}
	})
}
