package kafka

import (
	"context"
	"sync/atomic"

	"golang.org/x/sync/semaphore"
)

// budget bounds the bytes of all connections together. Waiters are served in order, so that a large frame isn't
// starved by small ones.
type budget struct {
	total int64
	sem   *semaphore.Weighted
	used  atomic.Int64
}

func newBudget(totalBytes int64) *budget {
	return &budget{total: totalBytes, sem: semaphore.NewWeighted(totalBytes)}
}

// acquire takes bytes, waiting until they are free or ctx is done. More than the whole budget counts as the whole.
func (b *budget) acquire(ctx context.Context, bytes int) error {
	n := min(int64(bytes), b.total)
	if err := b.sem.Acquire(ctx, n); err != nil {
		return err
	}
	b.used.Add(n)
	return nil
}

func (b *budget) release(bytes int) {
	n := min(int64(bytes), b.total)
	b.used.Add(-n)
	b.sem.Release(n)
}

// inUse returns the bytes taken now.
func (b *budget) inUse() int64 { return b.used.Load() }

// meter counts the bytes of answers that wait for their clients to read them. It never blocks: what a fetch returns is
// there before it can be counted, so that the next fetches are made smaller instead.
type meter struct {
	total int64
	used  atomic.Int64
}

func (m *meter) add(bytes int)  { m.used.Add(int64(bytes)) }
func (m *meter) take(bytes int) { m.used.Add(-int64(bytes)) }

// share returns how many bytes the next answer may have: what it wants, and at most a quarter of what is left, so that
// a few slow readers leave room for all others. It can be 0: then a fetch gets one batch.
func (m *meter) share(wantBytes int) int {
	left := max(m.total-m.used.Load(), 0)
	return int(min(int64(wantBytes), left/4))
}
