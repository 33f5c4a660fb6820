package story

import (
	"context"
	"time"
)

// Wait blocks until until returns true for the Stats of the index, or ctx is done.
func (ix *Index) Wait(ctx context.Context, until func(Stats) bool) error { return ix.wait(ctx, until) }

// Pause makes the indexer read a topic no further; Resume ends that.
func (x *Indexer) Pause(topic string)  { x.lc.Client().PauseFetchTopics(topic) }
func (x *Indexer) Resume(topic string) { x.lc.Client().ResumeFetchTopics(topic) }

// SetFollowPause sets the time after which Follow opens an indexer again, and returns a function that sets it back.
func SetFollowPause(d time.Duration) (restore func()) {
	first, last := followPause, followMaxPause
	followPause, followMaxPause = d, d
	return func() { followPause, followMaxPause = first, last }
}
