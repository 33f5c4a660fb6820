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
