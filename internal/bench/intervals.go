package bench

import (
	"math"
	"sync"
)

// intervals are the measured intervals of a run, in the order of time. They do not overlap. Only the last one may be
// open.
type intervals struct {
	mu  sync.Mutex // protects the field all
	all []interval
}

// interval is the time [from, to), in nanoseconds of monotonicNow. to is math.MaxInt64 while the interval is open.
type interval struct{ from, to int64 }

// open begins an interval now. The last interval must be closed.
func (s *intervals) open() {
	s.mu.Lock()
	s.all = append(s.all, interval{from: monotonicNow(), to: math.MaxInt64})
	s.mu.Unlock()
}

// close ends the open interval now.
func (s *intervals) close() {
	s.mu.Lock()
	s.all[len(s.all)-1].to = monotonicNow()
	s.mu.Unlock()
}

// find returns the index of the interval that contains the time at, or -1 if there is none. at must not be in the
// future.
func (s *intervals) find(at int64) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := len(s.all) - 1; i >= 0 && at < s.all[i].to; i-- {
		if at >= s.all[i].from {
			return i
		}
	}
	return -1
}

// histograms has one histogram for each interval. The zero value is empty and can be used.
type histograms []*Histogram

// of returns the histogram of an interval, and creates it if necessary.
func (h *histograms) of(interval int) *Histogram {
	for len(*h) <= interval {
		*h = append(*h, &Histogram{})
	}
	return (*h)[interval]
}
