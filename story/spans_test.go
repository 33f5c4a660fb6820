package story

import (
	"testing"

	"pgregory.net/rapid"
)

// spans against a set of single offsets.
func TestSpansAreASet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s spans
		set := make(map[int64]bool)
		offset := rapid.Int64Range(0, 60)
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				lo, hi := offset.Draw(t, "lo"), offset.Draw(t, "hi")
				s.add(lo, hi)
				for o := lo; o < hi; o++ {
					set[o] = true
				}
			},
			"cut": func(t *rapid.T) {
				from := offset.Draw(t, "from")
				gone := s.cut(from)
				for o := int64(0); o < 60; o++ {
					if was := set[o] && o >= from; was != gone.contains(o) {
						t.Fatalf("cut(%d): %d is among what went: %v", from, o, !was)
					}
					if o >= from {
						delete(set, o)
					}
				}
			},
			"gaps": func(t *rapid.T) {
				lo, hi := offset.Draw(t, "lo"), offset.Draw(t, "hi")
				missing := make(map[int64]bool)
				for a, b := range s.gaps(lo, hi) {
					if a >= b {
						t.Fatalf("empty gap [%d,%d)", a, b)
					}
					for o := a; o < b; o++ {
						missing[o] = true
					}
				}
				for o := int64(0); o < 60; o++ {
					if want := o >= lo && o < hi && !set[o]; missing[o] != want {
						t.Fatalf("gaps(%d, %d) of %v: %d missing: %v", lo, hi, s, o, missing[o])
					}
				}
			},
			"": func(t *rapid.T) {
				for o := int64(0); o < 60; o++ {
					if s.contains(o) != set[o] {
						t.Fatalf("%v: contains(%d) is %v", s, o, !set[o])
					}
				}
				for i, r := range s {
					if r.Lo >= r.Hi || i > 0 && s[i-1].Hi >= r.Lo {
						t.Fatalf("%v: ranges are empty, overlap or touch", s)
					}
				}
			},
		})
	})
}
