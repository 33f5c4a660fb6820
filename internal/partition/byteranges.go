package partition

import (
	"slices"
	"sort"
	"sync"
)

// byteRanges is a set of byte positions in one file, stored as ranges. The zero value is the empty set. It is safe for
// concurrent use: mu guards list, which has at most maxByteRanges elements.
type byteRanges struct {
	mu   sync.Mutex
	list []byteRange // in ascending order; the ranges neither overlap nor touch
}

// byteRange is the range of bytes [from, end).
type byteRange struct{ from, end int64 }

// maxByteRanges is the largest number of ranges in a byteRanges. Reads that follow each other without a hole form one
// range.
const maxByteRanges = 64

// add adds the bytes [from, end) to the set. If the set then has more than maxByteRanges ranges, add drops the
// shortest. The set may therefore lack bytes that were added, but it never contains bytes that were not.
func (s *byteRanges) add(from, end int64) {
	if from >= end {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	lo := sort.Search(len(s.list), func(i int) bool { return s.list[i].end >= from })
	hi := lo
	for ; hi < len(s.list) && s.list[hi].from <= end; hi++ {
		from, end = min(from, s.list[hi].from), max(end, s.list[hi].end)
	}
	s.list = slices.Replace(s.list, lo, hi, byteRange{from, end})
	if len(s.list) > maxByteRanges {
		shortest := 0
		for i, x := range s.list {
			if x.end-x.from < s.list[shortest].end-s.list[shortest].from {
				shortest = i
			}
		}
		s.list = slices.Delete(s.list, shortest, shortest+1)
	}
}

// endOf returns the end of the range that contains position, or position itself if no range does.
func (s *byteRanges) endOf(position int64) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := sort.Search(len(s.list), func(i int) bool { return s.list[i].end > position })
	if i == len(s.list) || s.list[i].from > position {
		return position
	}
	return s.list[i].end
}
