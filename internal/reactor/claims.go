package reactor

import "sync/atomic"

// claims counts the tasks of a turn that a worker has claimed, and those that it may claim. The worker claims them without a lock; whoever
// holds the lock of its Reactor may take away those that it has not claimed.
type claims struct {
	// v has the number of calls of next in its lower half, and the number of tasks that may be claimed in its upper half.
	v atomic.Uint64
}

// reset begins a turn of n tasks.
func (c *claims) reset(n int) { c.v.Store(uint64(n) << 32) }

// next claims a task and returns its index, or -1 if there is none.
func (c *claims) next() int {
	v := c.v.Add(1)
	if i := int(uint32(v)) - 1; i < int(v>>32) {
		return i
	}
	return -1
}

// cut makes only those tasks the worker's that it has claimed, and the first one, and returns their number.
func (c *claims) cut() int {
	for {
		v := c.v.Load()
		claimed, limit := uint32(v), v>>32
		n := min(max(uint64(claimed), 1), limit)
		if c.v.CompareAndSwap(v, n<<32|uint64(claimed)) {
			return int(n)
		}
	}
}

// claimed returns the number of tasks that were claimed.
func (c *claims) claimed() int { v := c.v.Load(); return int(min(uint64(uint32(v)), v>>32)) }

// limit returns the number of tasks that are claimed or may be claimed.
func (c *claims) limit() int { return int(c.v.Load() >> 32) }
