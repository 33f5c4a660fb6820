package delivery

import (
	"slices"
	"sort"

	"tidings.dev/internal/obligation"
)

// Offsets is a set of offsets, kept as sorted ranges [Lo, Hi) that neither touch nor are empty. The zero value is the
// empty set.
type Offsets struct{ ranges []obligation.Range }

// Add adds [lo, hi). An empty range adds nothing.
func (s *Offsets) Add(lo, hi int64) {
	if lo >= hi {
		return
	}
	r := s.ranges
	// Offsets mostly come in order: the last range grows.
	if n := len(r); n == 0 || r[n-1].Hi < lo {
		s.ranges = append(r, obligation.Range{Lo: lo, Hi: hi})
		return
	}
	i := sort.Search(len(r), func(i int) bool { return r[i].Hi >= lo }) // the first that touches or follows
	j := i
	for j < len(r) && r[j].Lo <= hi {
		lo, hi = min(lo, r[j].Lo), max(hi, r[j].Hi)
		j++
	}
	s.ranges = slices.Replace(r, i, j, obligation.Range{Lo: lo, Hi: hi})
}

// Has tells whether the offset is in the set.
func (s *Offsets) Has(offset int64) bool {
	i := sort.Search(len(s.ranges), func(i int) bool { return s.ranges[i].Hi > offset })
	return i < len(s.ranges) && s.ranges[i].Lo <= offset
}

// PassFrom gives the first offset at or after from that is not in the set, and drops everything below it.
func (s *Offsets) PassFrom(from int64) int64 {
	n := 0
	for n < len(s.ranges) && s.ranges[n].Lo <= from {
		from = max(from, s.ranges[n].Hi)
		n++
	}
	s.ranges = slices.Delete(s.ranges, 0, n)
	return from
}

// Empty tells whether nothing is in the set.
func (s *Offsets) Empty() bool { return len(s.ranges) == 0 }

// Len is the number of ranges.
func (s *Offsets) Len() int { return len(s.ranges) }

// Ranges are the ranges in order. The slice is the set's: it is valid until the next change.
func (s *Offsets) Ranges() []obligation.Range { return s.ranges }

// Clone is a set of its own with the same offsets.
func (s *Offsets) Clone() Offsets { return Offsets{slices.Clone(s.ranges)} }
