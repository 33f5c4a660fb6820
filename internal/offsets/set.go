package offsets

import (
	"iter"
	"slices"
	"sort"
)

// Set is a set of offsets, stored as ranges. It is not safe for concurrent use. A Set that may still change must be
// copied with Clone only. The zero value is the empty set.
//
// Invariant: the ranges are sorted and not empty, and there is a hole between neighbours: ranges[i].Hi <
// ranges[i+1].Lo. The number of ranges is therefore as small as possible. A reaction that keeps up has one, and one
// more for each event that later events have overtaken.
type Set struct{ ranges []Range }

// SetOf returns the set of all offsets in ranges. The ranges may overlap and may be in any order.
func SetOf(ranges ...Range) Set {
	var s Set
	for _, r := range ranges {
		s.Add(r.Lo, r.Hi)
	}
	return s
}

// Add adds the offsets in [lo, hi). It does nothing if lo >= hi.
func (s *Set) Add(lo, hi int64) {
	if lo >= hi {
		return
	}
	r := s.ranges
	// Offsets are mostly added in order, after the last range.
	if n := len(r); n == 0 || r[n-1].Hi < lo {
		s.ranges = append(r, Range{Lo: lo, Hi: hi})
		return
	}
	// [i, j) are the ranges that overlap or touch [lo, hi).
	i := sort.Search(len(r), func(i int) bool { return r[i].Hi >= lo })
	j := i
	for ; j < len(r) && r[j].Lo <= hi; j++ {
		lo, hi = min(lo, r[j].Lo), max(hi, r[j].Hi)
	}
	s.ranges = slices.Replace(r, i, j, Range{Lo: lo, Hi: hi})
}

// above returns the index of the first range that ends above offset, or the number of ranges if there is none.
func (s *Set) above(offset int64) int {
	// Most calls ask for the newest offsets, so these are checked first.
	if n := len(s.ranges); n == 0 || offset >= s.ranges[n-1].Hi {
		return n
	}
	return sort.Search(len(s.ranges), func(i int) bool { return s.ranges[i].Hi > offset })
}

// Contains reports whether offset is in the set.
func (s *Set) Contains(offset int64) bool {
	i := s.above(offset)
	return i < len(s.ranges) && s.ranges[i].Lo <= offset
}

// Gaps yields the ranges of offsets in [lo, hi) that are not in the set, in order. The set must not change during the
// iteration.
func (s *Set) Gaps(lo, hi int64) iter.Seq2[int64, int64] {
	return func(yield func(int64, int64) bool) {
		for i := s.above(lo); lo < hi; i++ {
			if i == len(s.ranges) || s.ranges[i].Lo >= hi {
				yield(lo, hi)
				return
			}
			if s.ranges[i].Lo > lo && !yield(lo, s.ranges[i].Lo) {
				return
			}
			lo = s.ranges[i].Hi
		}
	}
}

// AdvancePast returns the first offset at or above from that is not in the set, and removes the ranges that begin at or
// below from. With it a position advances over the offsets that are done.
func (s *Set) AdvancePast(from int64) int64 {
	n := 0
	for n < len(s.ranges) && s.ranges[n].Lo <= from {
		from = max(from, s.ranges[n].Hi)
		n++
	}
	s.ranges = slices.Delete(s.ranges, 0, n)
	return from
}

// CutFrom removes all offsets at or above from, and returns the set of the removed offsets.
func (s *Set) CutFrom(from int64) Set {
	i := s.above(from)
	removed := slices.Clone(s.ranges[i:])
	if len(removed) == 0 {
		return Set{}
	}
	s.ranges = s.ranges[:i]
	if removed[0].Lo < from {
		s.ranges = append(s.ranges, Range{Lo: removed[0].Lo, Hi: from})
		removed[0].Lo = from
	}
	return Set{removed}
}

// Empty reports whether the set has no offsets.
func (s *Set) Empty() bool { return len(s.ranges) == 0 }

// Len returns the number of ranges of the set.
func (s *Set) Len() int { return len(s.ranges) }

// Ranges returns the ranges of the set in order. The slice belongs to the set and is valid until the set changes.
func (s *Set) Ranges() []Range { return s.ranges }

// Clone returns a copy of the set that shares no memory with it.
func (s *Set) Clone() Set { return Set{slices.Clone(s.ranges)} }
