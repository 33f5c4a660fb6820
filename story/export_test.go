package story

import (
	"context"
	"errors"
	"time"
)

// Wait blocks until until returns true for the Stats of the index, or ctx is done.
func (ix *Index) Wait(ctx context.Context, until func(Stats) bool) error { return ix.wait(ctx, until) }

// Pause makes the indexer read a topic no further; Resume ends that.
func (x *Indexer) Pause(topic string)  { x.lc.Client().PauseFetchTopics(topic) }
func (x *Indexer) Resume(topic string) { x.lc.Client().ResumeFetchTopics(topic) }

// FindMisfit makes the indexer build its index again, as if a record was fetched that differs from the one it has read.
func (x *Indexer) FindMisfit() { x.follower.found(errors.New("a test says so")) }

// SetFollowPause sets the time after which Follow opens an indexer again, and returns a function that sets it back.
func SetFollowPause(d time.Duration) (restore func()) {
	first, last := followPause, followMaxPause
	followPause, followMaxPause = d, d
	return func() { followPause, followMaxPause = first, last }
}

// SetFetchMaxWait sets how long a broker may hold back an answer to a fetch, and returns a function that sets it back.
func SetFetchMaxWait(d time.Duration) (restore func()) {
	before := fetchMaxWait
	fetchMaxWait = d
	return func() { fetchMaxWait = before }
}
