package faults

import (
	"runtime/metrics"
	"testing"
	"time"
)

// maxFuzzTime is far above what any decoding of a fuzzer's input takes, and far below what anybody would call a hang: fuzz
// workers share their cores with each other.
const maxFuzzTime = 2 * time.Second

// maxBoundRuns is how often what is too dear may be tried again: the runtime counts what other goroutines allocate, too, and
// counts it late.
const maxBoundRuns = 5

// Bound runs do, the decoding of inputBytes bytes that anybody may have written, and fails the test if it takes seconds
// or allocates more than baseBytes and perByte bytes for each byte of input: each time that it is run, up to five times, so
// that do must be able to run again.
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

// allocatedBytes is what this process has allocated so far, to about a page per size class.
func allocatedBytes() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}
