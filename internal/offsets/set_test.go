package offsets_test

import (
	"encoding/json"
	"testing"

	"pgregory.net/rapid"

	"tidings.dev/internal/offsets"
)

// A Set and a map of single offsets go through the same changes in any sequence: both know the same offsets, whatever is
// asked, and the ranges keep their invariant.
func TestSetAgreesWithAMap(t *testing.T) {
	const end = 60
	rapid.Check(t, func(t *rapid.T) {
		var s offsets.Set
		model := map[int64]bool{}
		offset := rapid.Int64Range(0, end)
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				lo, hi := offset.Draw(t, "lo"), offset.Draw(t, "hi")
				s.Add(lo, hi)
				for o := lo; o < hi; o++ {
					model[o] = true
				}
			},
			"advance past": func(t *rapid.T) {
				from := offset.Draw(t, "from")
				want := from
				for model[want] {
					want++
				}
				// Ranges that begin at or below from go as a whole, so what is left is above want.
				if got := s.AdvancePast(from); got != want {
					t.Fatalf("AdvancePast(%d) = %d, want %d", from, got, want)
				}
				for o := range model {
					if o < want {
						delete(model, o)
					}
				}
			},
			"cut": func(t *rapid.T) {
				from := offset.Draw(t, "from")
				removed := s.CutFrom(from)
				for o := int64(0); o < end; o++ {
					if was := model[o] && o >= from; was != removed.Contains(o) {
						t.Fatalf("CutFrom(%d) removed %d: %v", from, o, !was)
					}
					if o >= from {
						delete(model, o)
					}
				}
				check(t, removed, end)
			},
			"gaps": func(t *rapid.T) {
				lo, hi := offset.Draw(t, "lo"), offset.Draw(t, "hi")
				missing := map[int64]bool{}
				for a, b := range s.Gaps(lo, hi) {
					if a >= b {
						t.Fatalf("empty gap [%d,%d)", a, b)
					}
					for o := a; o < b; o++ {
						missing[o] = true
					}
				}
				for o := int64(0); o < end; o++ {
					if want := o >= lo && o < hi && !model[o]; missing[o] != want {
						t.Fatalf("Gaps(%d, %d) of %v has %d: %v", lo, hi, s.Ranges(), o, missing[o])
					}
				}
			},
			"clone": func(t *rapid.T) {
				c := s.Clone()
				c.Add(0, end+1)
			},
			"rebuild": func(*rapid.T) { s = offsets.SetOf(s.Ranges()...) },
			"": func(t *rapid.T) {
				for o := int64(0); o < end; o++ {
					if s.Contains(o) != model[o] {
						t.Fatalf("%v: Contains(%d) is %v", s.Ranges(), o, !model[o])
					}
				}
				if s.Empty() != (len(model) == 0) {
					t.Fatalf("%v: Empty is %v", s.Ranges(), s.Empty())
				}
				check(t, s, end)
			},
		})
	})
}

// check fails when the ranges of s are empty, touch, or are out of order.
func check(t *rapid.T, s offsets.Set, end int64) {
	for i, r := range s.Ranges() {
		if r.Lo >= r.Hi || r.Hi > end || i > 0 && s.Ranges()[i-1].Hi >= r.Lo {
			t.Fatalf("%v: a range is empty, touches its neighbour, or was never added", s.Ranges())
		}
	}
	if s.Len() != len(s.Ranges()) {
		t.Fatalf("%d ranges, Len %d", len(s.Ranges()), s.Len())
	}
}

func TestARangeIsAPairInJSON(t *testing.T) {
	b, err := json.Marshal([]offsets.Range{{Lo: 4, Hi: 6}})
	if err != nil || string(b) != "[[4,6]]" {
		t.Fatalf("%s, %v", b, err)
	}
	var back []offsets.Range
	if err := json.Unmarshal(b, &back); err != nil || len(back) != 1 || back[0] != (offsets.Range{Lo: 4, Hi: 6}) {
		t.Errorf("%v, %v", back, err)
	}
	if err := json.Unmarshal([]byte(`["4",6]`), &back[0]); err == nil {
		t.Error("a range of text was read")
	}
}
