package partition

import (
	"slices"
	"sort"
	"sync"
)

// spans is a set of bytes of one file. The zero value is empty. Safe for concurrent use.
type spans struct {
	mu   sync.Mutex
	list []span // in order, with room between one and the next
}

// span is [from, end).
type span struct{ from, end int64 }

// maxSpans is how many pieces a set is kept in. Readers in order make one, however many they are.
const maxSpans = 64

// add adds [from, end). A set that would fall into too many pieces forgets the shortest.
func (s *spans) add(from, end int64) {
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
	s.list = slices.Replace(s.list, lo, hi, span{from, end})
	if len(s.list) > maxSpans {
		shortest := 0
		for i, x := range s.list {
			if x.end-x.from < s.list[shortest].end-s.list[shortest].from {
				shortest = i
			}
		}
		s.list = slices.Delete(s.list, shortest, shortest+1)
	}
}

// endOf is up to where all bytes from a position on are in the set: the position itself if that one isn't.
func (s *spans) endOf(position int64) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := sort.Search(len(s.list), func(i int) bool { return s.list[i].end > position })
	if i == len(s.list) || s.list[i].from > position {
		return position
	}
	return s.list[i].end
}
