package serve

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"testing"
)

// Case: memory that is not in use goes back to the system a while after the last allocation: not while the runtime collects
// often by itself, and then no more.
func TestHeapIsTrimmed(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // none but ours
	const garbageBytes = 64 << 20
	resident := func() uint64 {
		s := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/heap/free:bytes"}}
		metrics.Read(s)
		return s[0].Value.Uint64() + s[1].Value.Uint64()
	}
	h := new(heap)
	for range 2 * heapCollections {
		h.trim()
	}
	before := resident()
	runtime.KeepAlive(make([]byte, garbageBytes))
	runtime.GC()
	if h.trim(); resident() < before+garbageBytes/2 {
		t.Errorf("%d bytes more than before, though there was a collection just now", int64(resident()-before))
	}
	var pool sync.Pool // keeps what it has over one collection
	pool.Put(&[garbageBytes]byte{})
	for range heapCollections {
		h.trim()
	}
	if resident() > before+garbageBytes/4 {
		t.Errorf("%d bytes more than before, and nothing went on since", int64(resident()-before))
	}
	runtime.KeepAlive(&pool)
	_, collections := heapCounters()
	for range heapCollections {
		h.trim()
	}
	if _, later := heapCounters(); later != collections {
		t.Errorf("%d collections though nothing went on", later-collections)
	}
}

// Case: a broker that lives in little memory is kept from growing by garbage beyond 320 MiB, and one that lives in much may
// have half as much again.
func TestHeapIsLimited(t *testing.T) {
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(-1))
	h := &heap{limited: true}
	limit := func() int64 {
		h.trim()
		return debug.SetMemoryLimit(-1)
	}
	if got := limit(); got != minHeapLimitBytes {
		t.Errorf("the limit is %d", got)
	}
	const liveBytes = 256 << 20
	live := make([]byte, liveBytes)
	runtime.GC()
	if got := limit(); got < liveBytes/2*3 || got > liveBytes*2 {
		t.Errorf("the limit is %d when %d bytes live", got, liveBytes)
	}
	runtime.KeepAlive(live)
}
