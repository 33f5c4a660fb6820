package bench

import (
	"math"
	"math/bits"
	"time"
)

// The bucket of a value v, in nanoseconds, is given by its highest set bit (the row) and the subBits bits below it (the
// column). Each row is twice as wide as the one before, and its columns are of equal width: log-linear. Row 0 holds the
// values below 2^subBits, one in each column.
//
//	v = 0 … 0 1 c c c c c c c x x x x
//	          │ └─column────┘ └─lost─┘
//	          └ row = its position - subBits + 1
//
// A bucket is at most 1/128 of its value wide, an error below 0.8 %, from 1 ns to 292 years. The counters take 58 KiB.
const (
	subBits = 7
	columns = 1 << subBits
	rows    = 64 - subBits
)

// Histogram counts durations. The zero value is an empty histogram. A Histogram must not be used by several
// goroutines at the same time: each goroutine records into a histogram of its own, and the histograms are then
// merged.
type Histogram struct {
	counts [rows * columns]uint64
	n      uint64
	sum    float64 // sum of all durations, in nanoseconds
	max    int64   // longest duration, in nanoseconds
}

// Record adds a duration. A negative duration counts as 0.
func (h *Histogram) Record(d time.Duration) {
	v := max(int64(d), 0)
	h.counts[bucketOf(v)]++
	h.n++
	h.sum += float64(v)
	h.max = max(h.max, v)
}

// Merge adds the durations of other. If other is nil, it does nothing.
func (h *Histogram) Merge(other *Histogram) {
	if other == nil {
		return
	}
	for i, n := range other.counts {
		h.counts[i] += n
	}
	h.n += other.n
	h.sum += other.sum
	h.max = max(h.max, other.max)
}

// Count returns the number of durations.
func (h *Histogram) Count() int64 { return int64(h.n) }

// Max returns the exact longest duration, or 0 if there is none.
func (h *Histogram) Max() time.Duration { return time.Duration(h.max) }

// Mean returns the exact average duration, or 0 if there is none.
func (h *Histogram) Mean() time.Duration {
	if h.n == 0 {
		return 0
	}
	return time.Duration(h.sum / float64(h.n))
}

// Quantile returns the duration that the share q of the durations did not exceed. q must be in (0, 1]. The result is
// the upper end of a bucket: at most 0.8 % above the exact value, and never below it. An empty histogram returns 0.
func (h *Histogram) Quantile(q float64) time.Duration {
	if h.n == 0 {
		return 0
	}
	rank := max(uint64(math.Ceil(q*float64(h.n))), 1)
	var seen uint64
	for i, n := range h.counts {
		if seen += n; seen >= rank {
			return time.Duration(min(upperEnd(i), h.max))
		}
	}
	return time.Duration(h.max)
}

// bucketOf returns the index of the bucket of v, a number of nanoseconds that must not be negative.
func bucketOf(v int64) int {
	if v < columns {
		return int(v)
	}
	row := bits.Len64(uint64(v)) - subBits
	return row*columns + int(v>>(row-1)) - columns
}

// upperEnd returns the largest value, in nanoseconds, of a bucket.
func upperEnd(bucket int) int64 {
	row, column := bucket/columns, int64(bucket%columns)
	if row == 0 {
		return column
	}
	return (column+columns+1)<<(row-1) - 1
}
