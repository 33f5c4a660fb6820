package story

import "context"

// Wait blocks until until returns true for the Stats of the index, or ctx is done.
func (ix *Index) Wait(ctx context.Context, until func(Stats) bool) error { return ix.wait(ctx, until) }

// Pause makes the indexer read a topic no further; Resume ends that.
func (x *Indexer) Pause(topic string)  { x.lc.Client().PauseFetchTopics(topic) }
func (x *Indexer) Resume(topic string) { x.lc.Client().ResumeFetchTopics(topic) }
