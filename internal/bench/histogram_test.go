package bench

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// Case: every value lies in its bucket, and buckets leave no gap up to the largest duration there is.
func TestBucketsFollowEachOther(t *testing.T) {
	for bucket := 1; bucket < rows*columns; bucket++ {
		first, last := upperEnd(bucket-1)+1, upperEnd(bucket)
		if got := bucketOf(first); got != bucket {
			t.Fatalf("%d is in bucket %d, want %d", first, got, bucket)
		}
		if got := bucketOf(last); got != bucket {
			t.Fatalf("%d is in bucket %d, want %d", last, got, bucket)
		}
		if width := last - first; float64(width) > float64(first)/columns {
			t.Fatalf("bucket %d from %d is %d wide", bucket, first, width)
		}
	}
	if last := upperEnd(rows*columns - 1); last != math.MaxInt64 {
		t.Errorf("the last bucket ends at %d", last)
	}
}

// Case: quantiles against the sorted truth, of values over nine powers of ten, in one histogram and in merged ones.
func TestQuantilesAreNeverLessThanTheTruthAndUnderOnePercentOff(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	rng := rand.New(rand.NewPCG(seed, 0))
	var whole, parts Histogram
	pieces := make([]Histogram, 3)
	var truth []int64
	for i := range 20_000 {
		v := int64(math.Pow(10, 9*rng.Float64()))
		truth = append(truth, v)
		whole.Record(time.Duration(v))
		pieces[i%3].Record(time.Duration(v))
	}
	for i := range pieces {
		parts.Merge(&pieces[i])
	}
	parts.Merge(nil)
	slices.Sort(truth)
	if whole.Count() != 20_000 || int64(whole.Max()) != truth[len(truth)-1] {
		t.Errorf("count %d, max %v", whole.Count(), whole.Max())
	}
	for _, q := range []float64{0.001, 0.5, 0.9, 0.99, 0.999, 1} {
		want := truth[max(int(math.Ceil(q*float64(len(truth)))), 1)-1]
		got := int64(whole.Quantile(q))
		if got < want || float64(got) > float64(want)*1.01+1 {
			t.Errorf("seed %d: quantile %g is %d, the truth %d", seed, q, got, want)
		}
		if merged := int64(parts.Quantile(q)); merged != got {
			t.Errorf("seed %d: merged, quantile %g is %d, not %d", seed, q, merged, got)
		}
	}
}

func TestAnEmptyHistogramIsAllZero(t *testing.T) {
	var h Histogram
	if h.Quantile(0.5) != 0 || h.Mean() != 0 || h.Max() != 0 || h.Count() != 0 {
		t.Error("something comes of nothing")
	}
	h.Record(-time.Second) // a clock that went back
	if h.Quantile(1) != 0 || h.Count() != 1 {
		t.Errorf("a negative duration counts as %v", h.Quantile(1))
	}
}
