package serve

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	heapCheckInterval = 10 * time.Second
	// minAllocatedBytes is how many bytes must be allocated before heap.trim collects garbage again.
	minAllocatedBytes = 1 << 20
	// heapCollections is the number of collections after an allocation of minAllocatedBytes. One is not enough: extents
	// are freed some time after their last reader, and buffers in a sync.Pool only by the second collection.
	heapCollections = 3
	// The heap may have minHeapLimitBytes, or 1.5 times what lived at the last check if that is more, before garbage is
	// collected sooner than by Go's own setting, by which it may have twice of what lives.
	minHeapLimitBytes = 320 << 20
)

// TrimHeap returns unused memory to the operating system every ten seconds until ctx is done. It is meant for a
// process that only runs a broker. By itself, Go collects garbage when the heap has doubled or after two minutes, and
// keeps freed memory for a while. A broker reuses its buffers and makes little garbage, so it would hold the memory
// of its busiest moment for minutes.
//
// TrimHeap also keeps a heap of up to 213 MiB, as a broker has it whose peers use all the memory that they are given,
// from growing beyond 320 MiB by garbage. If the environment has GOMEMLIMIT, that counts instead.
func TrimHeap(ctx context.Context) {
	var h heap
	if os.Getenv("GOMEMLIMIT") == "" {
		defer debug.SetMemoryLimit(debug.SetMemoryLimit(minHeapLimitBytes))
		h.limited = true
	}
	check := time.NewTicker(heapCheckInterval)
	defer check.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-check.C:
			h.trim()
		}
	}
}

// heap remembers the counters of the runtime between calls of trim.
type heap struct {
	allocatedBytes uint64 // total when at least minAllocatedBytes had been allocated since the value before
	collections    uint64 // total at the last call
	due            int    // number of collections that are still to be made
	limited        bool   // trim sets the runtime's memory limit
}

// trim collects garbage and returns memory to the operating system if a collection is due and the runtime has made
// none since the last call. If the runtime collects by itself, trim need not.
func (h *heap) trim() {
	if h.limited {
		debug.SetMemoryLimit(max(minHeapLimitBytes, int64(liveBytes()/2*3)))
	}
	allocatedBytes, collections := heapCounters()
	if allocatedBytes-h.allocatedBytes >= minAllocatedBytes {
		h.allocatedBytes, h.due = allocatedBytes, heapCollections
	}
	if collections == h.collections && h.due > 0 {
		h.due--
		debug.FreeOSMemory()
		_, collections = heapCounters()
	}
	h.collections = collections
}

// heapCounters returns the bytes that were allocated and the collections that were made since the process began.
func heapCounters() (allocatedBytes, collections uint64) {
	s := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}, {Name: "/gc/cycles/total:gc-cycles"}}
	metrics.Read(s)
	return s[0].Value.Uint64(), s[1].Value.Uint64()
}

// liveBytes returns what lived in the heap at the last collection.
func liveBytes() uint64 {
	s := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}
