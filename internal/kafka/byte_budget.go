package kafka

import (
	"context"
	"sync/atomic"

	"golang.org/x/sync/semaphore"
)

// byteBudget bounds the bytes of one connection's request frames that are being read or handled. Goroutines that wait for
// bytes get them in the order in which they called acquire. A byteBudget is safe for concurrent use.
//
// Invariant: 0 <= used <= maxBytes.
type byteBudget struct {
	maxBytes int64 // size of the budget
	sem      *semaphore.Weighted
	used     atomic.Int64 // bytes acquired and not released
}

func newByteBudget(maxBytes int64) *byteBudget {
	return &byteBudget{maxBytes: maxBytes, sem: semaphore.NewWeighted(maxBytes)}
}

// acquire takes bytes from the budget. It blocks until they are free. If ctx is done first, acquire takes nothing and
// returns ctx's error. If bytes exceeds the whole budget, acquire takes the whole budget.
func (b *byteBudget) acquire(ctx context.Context, bytes int) error {
	n := min(int64(bytes), b.maxBytes)
	if err := b.sem.Acquire(ctx, n); err != nil {
		return err
	}
	b.used.Add(n)
	return nil
}

// release returns to the budget the bytes that an acquire of the same number has taken.
func (b *byteBudget) release(bytes int) {
	n := min(int64(bytes), b.maxBytes)
	b.used.Add(-n)
	b.sem.Release(n)
}

// inUse returns the number of bytes acquired and not released.
func (b *byteBudget) inUse() int64 { return b.used.Load() }

// responseMeter counts the bytes of responses that are ready and not yet written to their connections, over all
// connections of a server. It never blocks a response, because a Fetch has already read its records when their size is
// known; instead its method limit makes later Fetch responses smaller. A responseMeter is safe for concurrent use.
type responseMeter struct {
	maxBytes int64
	used     atomic.Int64
}

func (m *responseMeter) add(bytes int)    { m.used.Add(int64(bytes)) }
func (m *responseMeter) remove(bytes int) { m.used.Add(-int64(bytes)) }

// limit returns the maximum size in bytes of the next Fetch response: the smaller of wantBytes and a quarter of the
// bytes that are still free, so that a few slow clients leave room for the others. With a limit of 0, a Fetch still
// returns one batch.
func (m *responseMeter) limit(wantBytes int) int {
	left := max(m.maxBytes-m.used.Load(), 0)
	return int(min(int64(wantBytes), left/4))
}
