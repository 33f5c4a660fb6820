package serve

import (
	"context"
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
)

// TrimHeap returns unused memory to the operating system every ten seconds until ctx is done. It is meant for a
// process that only runs a broker. By itself, Go collects garbage when the heap has doubled or after two minutes, and
// keeps freed memory for a while. A broker reuses its buffers and makes little garbage, so it would hold the memory
// of its busiest moment for minutes.
func TrimHeap(ctx context.Context) {
	var h heap
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
}

// trim collects garbage and returns memory to the operating system if a collection is due and the runtime has made
// none since the last call. If the runtime collects by itself, trim need not.
func (h *heap) trim() {
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
