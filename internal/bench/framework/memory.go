package framework

import (
	"sync"
	"time"

	"tidings.dev/internal/bench"
)

// memoryInterval is the interval at which the resident memory is looked at.
const memoryInterval = 20 * time.Millisecond

// memoryWatch follows the resident memory of this process.
type memoryWatch struct {
	before, peak int64
	over         chan struct{}
	running      sync.WaitGroup
}

// watchMemory begins to follow the resident memory of this process. The caller must call stop.
func watchMemory() *memoryWatch {
	w := &memoryWatch{before: bench.SelfUsage().RSSBytes, over: make(chan struct{})}
	w.peak = w.before
	w.running.Go(func() {
		tick := time.NewTicker(memoryInterval)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				w.peak = max(w.peak, bench.SelfUsage().RSSBytes)
			case <-w.over:
				return
			}
		}
	})
	return w
}

// stop ends it and returns the most bytes that were resident above those at the beginning. It returns 0 if the system
// does not report them.
func (w *memoryWatch) stop() int64 {
	close(w.over)
	w.running.Wait()
	return w.peak - w.before
}
