package faults

import (
	"runtime/metrics"
	"testing"
	"time"
)

// maxFuzzTime is far above what any decoding of a fuzzer's input takes, and far below what anybody would call a hang: fuzz
// workers share their cores with each other.
const maxFuzzTime = 2 * time.Second

// Bound runs do, the decoding of inputBytes bytes that anybody may have written, and fails the test if it takes seconds
// or allocates more than baseBytes and perByte bytes for each byte of input. Other goroutines' allocations count too.
func Bound(t testing.TB, inputBytes int, baseBytes, perByte uint64, do func()) {
	t.Helper()
	began, before := time.Now(), allocatedBytes()
	do()
	if took := time.Since(began); took > maxFuzzTime {
		t.Errorf("%d bytes took %v to decode", inputBytes, took)
	}
	if grown, most := allocatedBytes()-before, baseBytes+perByte*uint64(inputBytes); grown > most {
		t.Errorf("decoding %d bytes allocated %d, more than %d", inputBytes, grown, most)
	}
}

// allocatedBytes is what this process has allocated so far, to about a page per size class.
func allocatedBytes() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}
