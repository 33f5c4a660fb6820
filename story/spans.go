package story

import (
	"iter"
	"sort"

	"tidings.dev/internal/obligation"
)

// spans is a set of offsets: sorted ranges that neither overlap nor touch. The zero value is the empty set. A reaction
// that keeps up has one range per partition; each event that is overtaken by its successors adds one for a while.
type spans []obligation.Range

// at gives the index of the first range that ends above offset.
func (s spans) at(offset int64) int {
	// Most questions are about the end of the log.
	if n := len(s); n == 0 || offset >= s[n-1].Hi {
		return n
	}
	return sort.Search(len(s), func(i int) bool { return s[i].Hi > offset })
}

func (s spans) contains(offset int64) bool {
	i := s.at(offset)
	return i < len(s) && s[i].Lo <= offset
}

// gaps gives the ranges of [lo, hi) that are not in the set, in order. The set must not change meanwhile.
func (s spans) gaps(lo, hi int64) iter.Seq2[int64, int64] {
	return func(yield func(int64, int64) bool) {
		for i := s.at(lo); lo < hi; i++ {
			if i == len(s) || s[i].Lo >= hi {
				yield(lo, hi)
				return
			}
			if s[i].Lo > lo && !yield(lo, s[i].Lo) {
				return
			}
			lo = s[i].Hi
		}
	}
}

// add puts [lo, hi) into the set.
func (s *spans) add(lo, hi int64) {
	if lo >= hi {
		return
	}
	old := *s
	// [i, j) are the ranges that overlap or touch [lo, hi).
	i := sort.Search(len(old), func(i int) bool { return old[i].Hi >= lo })
	j := i
	for ; j < len(old) && old[j].Lo <= hi; j++ {
		lo, hi = min(lo, old[j].Lo), max(hi, old[j].Hi)
	}
	if i == j {
		old = append(old, obligation.Range{})
		copy(old[i+1:], old[i:])
	} else {
		old = append(old[:i+1], old[j:]...)
	}
	old[i] = obligation.Range{Lo: lo, Hi: hi}
	*s = old
}

// cut takes everything at or above from out of the set and gives the ranges that went.
func (s *spans) cut(from int64) spans {
	i := s.at(from)
	gone := append(spans(nil), (*s)[i:]...)
	if len(gone) == 0 {
		return nil
	}
	*s = (*s)[:i]
	if gone[0].Lo < from {
		*s = append(*s, obligation.Range{Lo: gone[0].Lo, Hi: from})
		gone[0].Lo = from
	}
	return gone
}
