package faults

import (
	"runtime/metrics"
	"testing"
	"time"
)

// maxFuzzTime is the longest time that decoding one input of a fuzz test may take. It is far above the usual time, even
// on a busy machine, so that a slower input is one for which the decoder does too much work.
const maxFuzzTime = 2 * time.Second

// maxBoundRuns is how many times Bound runs a function that exceeds its bound. The runtime's count of allocations also
// includes other goroutines, and it lags behind, so that a single run may be wrong.
const maxBoundRuns = 5

// Bound runs do, which decodes inputBytes bytes of untrusted input, and fails the test if do takes longer than
// maxFuzzTime or allocates more than baseBytes + perByte*inputBytes. It fails only if do exceeds the bound in
// maxBoundRuns runs, so do must be able to run several times.
func Bound(t testing.TB, inputBytes int, baseBytes, perByte uint64, do func()) {
	t.Helper()
	most := baseBytes + perByte*uint64(inputBytes)
	var took time.Duration
	var grown uint64
	for range maxBoundRuns {
		began, before := time.Now(), allocatedBytes()
		do()
		took, grown = time.Since(began), allocatedBytes()-before
		if took <= maxFuzzTime && grown <= most {
			return
		}
	}
	if took > maxFuzzTime {
		t.Errorf("%d bytes took %v to decode", inputBytes, took)
	}
	if grown > most {
		t.Errorf("decoding %d bytes allocated %d, more than %d", inputBytes, grown, most)
	}
}

// allocatedBytes returns how many bytes this process has allocated so far. It is exact to about a page per size class.
func allocatedBytes() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}
