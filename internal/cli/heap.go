package cli

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// heap is that of a process which is nothing but a broker. Go collects garbage when as much has come as lives, or after
// two minutes, and keeps what a collection has freed for as much to come again. A broker makes little garbage, since buffers
// are used again: it would hold for minutes what its busiest moment took.
type heap struct {
	allocatedBytes uint64 // since the process began, as of the last time that it was worth looking
	collections    uint64 // as of the last look
	due            int    // so many collections are still to come
}

const (
	heapCheck   = 10 * time.Second
	litterBytes = 1 << 20 // are worth looking

	// heapRounds is how often memory is looked for after something went on: what is read ahead goes a while after its last
	// reader, and pools let go with the second collection.
	heapRounds = 3
)

// keepTidy looks after the heap until ctx ends.
func (h *heap) keepTidy(ctx context.Context) {
	check := time.NewTicker(heapCheck)
	defer check.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-check.C:
			h.tidy()
		}
	}
}

// tidy gives memory that nothing lives in back to the system, if anything went on lately and it is not collected often
// enough as it is: since the last time there was no collection.
func (h *heap) tidy() {
	allocatedBytes, collections := heapCounters()
	if allocatedBytes-h.allocatedBytes >= litterBytes {
		h.allocatedBytes, h.due = allocatedBytes, heapRounds
	}
	if collections == h.collections && h.due > 0 {
		h.due--
		debug.FreeOSMemory()
		_, collections = heapCounters()
	}
	h.collections = collections
}

func heapCounters() (allocatedBytes, collections uint64) {
	s := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}, {Name: "/gc/cycles/total:gc-cycles"}}
	metrics.Read(s)
	return s[0].Value.Uint64(), s[1].Value.Uint64()
}
