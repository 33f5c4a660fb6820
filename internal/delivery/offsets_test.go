package delivery

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// Offsets against a plain set: whatever is added in whatever order, both know the same offsets, and the ranges stay
// sorted, apart and not empty.
func TestOffsetsAgreeWithAPlainSet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s Offsets
		model := map[int64]bool{}
		base := int64(0)
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			if rapid.IntRange(0, 9).Draw(t, "pass") == 0 {
				from := base + rapid.Int64Range(0, 20).Draw(t, "from")
				want := from
				for model[want] {
					want++
				}
				if got := s.PassFrom(from); got != want {
					t.Fatalf("PassFrom(%d) = %d, want %d", from, got, want)
				}
				for o := range model {
					if o < want {
						delete(model, o)
					}
				}
				// What lies below is gone or irrelevant: a real caller never asks again.
				for _, r := range s.Ranges() {
					if r.Lo < want {
						t.Fatalf("range [%d,%d) below %d was kept", r.Lo, r.Hi, want)
					}
				}
				base = want
				continue
			}
			lo := base + rapid.Int64Range(0, 60).Draw(t, "lo")
			hi := lo + rapid.Int64Range(0, 8).Draw(t, "length")
			s.Add(lo, hi)
			for o := lo; o < hi; o++ {
				model[o] = true
			}
		}
		last := int64(-1)
		count := 0
		for _, r := range s.Ranges() {
			if r.Lo <= last || r.Lo >= r.Hi {
				t.Fatalf("ranges %v: touching, empty or out of order", s.Ranges())
			}
			last = r.Hi
			for o := r.Lo; o < r.Hi; o++ {
				if !model[o] {
					t.Fatalf("ranges %v hold %d, which was never added", s.Ranges(), o)
				}
				count++
			}
		}
		if count != len(model) {
			t.Fatalf("ranges hold %d offsets, want %d", count, len(model))
		}
		for o := base; o < base+80; o++ {
			if s.Has(o) != model[o] {
				t.Fatalf("Has(%d) = %v", o, s.Has(o))
			}
		}
	})
}

// A partition in full: records arrive in order, some offsets hold none, some were done before a restart; they finish in
// any order. The position is always the lowest unfinished offset, and the marks tell each done offset exactly once.
func TestTrackerStandsAtTheLowestUnfinishedOffset(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		start := rapid.Int64Range(0, 50).Draw(t, "start")
		var ahead Offsets
		done := map[int64]bool{}
		for range rapid.IntRange(0, 4).Draw(t, "runs ahead") {
			lo := start + rapid.Int64Range(0, 30).Draw(t, "ahead")
			ahead.Add(lo, lo+2)
			done[lo], done[lo+1] = true, true
		}
		tr := NewTracker(start, ahead.Clone())
		told := map[int64]bool{}
		var open []int64
		next := start
		for range rapid.IntRange(1, 120).Draw(t, "steps") {
			switch rapid.IntRange(0, 4).Draw(t, "step") {
			case 0, 1: // a record arrives, perhaps behind a hole
				offset := next + int64(rapid.SampledFrom([]int{0, 0, 0, 1, 3}).Draw(t, "hole"))
				want := ArrivedNew
				if done[offset] {
					want = ArrivedDone
				}
				for o := next; o < offset; o++ {
					done[o] = true
				}
				if got := tr.Arrive(offset); got != want {
					t.Fatalf("Arrive(%d) = %v, want %v", offset, got, want)
				}
				if want == ArrivedNew {
					open = append(open, offset)
				}
				next = offset + 1
			case 2: // it is fetched twice
				if next > start {
					if got := tr.Arrive(next - 1); got != ArrivedAgain {
						t.Fatalf("Arrive(%d) a second time = %v", next-1, got)
					}
				}
			case 3: // one of them finishes
				if len(open) > 0 {
					i := rapid.IntRange(0, len(open)-1).Draw(t, "which")
					tr.Finish(open[i])
					done[open[i]] = true
					open = slices.Delete(open, i, i+1)
				}
			case 4: // marks are written
				for _, r := range tr.Take() {
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
			if tr.Position() != want {
				t.Fatalf("position %d, want %d (done %v)", tr.Position(), want, done)
			}
			if tr.Open() != len(open) {
				t.Fatalf("%d open, want %d", tr.Open(), len(open))
			}
			for o := want; o < next+40; o++ {
				if tr.Ahead().Has(o) != done[o] {
					t.Fatalf("ahead has %d: %v", o, tr.Ahead().Has(o))
				}
			}
		}
	})
}
