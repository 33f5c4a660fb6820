package story

import (
	"context"
	"log/slog"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// commitEvery is the minimum time between two commits of the indexer's positions.
const commitEvery = time.Second

// positionCommitter commits the positions of the index under [Group], so that operators can see how far it has read.
// The indexer itself uses the positions in the index file. A positionCommitter belongs to the goroutine of
// Indexer.Run.
type positionCommitter struct {
	ix     *Index
	client *kgo.Client
	log    *slog.Logger

	moved bool          // the index has read something since the last commit
	last  time.Time     // when the last commit began
	idle  chan struct{} // has capacity 1; holds a value while no commit is under way
}

func newPositionCommitter(x *Indexer) *positionCommitter {
	c := &positionCommitter{ix: x.ix, client: x.lc.Client(), log: x.log, idle: make(chan struct{}, 1)}
	c.idle <- struct{}{}
	return c
}

// commit starts a commit in a goroutine if the index has read something, commitEvery has passed, and no commit is
// under way. It does not wait for the result. An error is logged at level debug, and the next commit makes up for it.
func (c *positionCommitter) commit(ctx context.Context) {
	if !c.moved || time.Since(c.last) < commitEvery {
		return
	}
	select {
	case <-c.idle:
	default:
		return
	}
	c.moved, c.last = false, time.Now()
	offsets := c.ix.committable()
	go func() {
		ctx, cancel := context.WithTimeout(ctx, requestTimeout)
		defer cancel()
		if err := kadm.NewClient(c.client).CommitAllOffsets(ctx, Group, offsets); err != nil {
			c.log.Debug("story: committing positions", "err", err)
		}
		c.idle <- struct{}{}
	}()
}

// committable returns the position of the index in every partition, except those of deleted topics.
func (ix *Index) committable() (offsets kadm.Offsets) {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	for p, next := range ix.positions {
		if t := ix.topicOf[p.topic]; !t.gone {
			offsets.AddOffset(t.name, p.partition, next, -1)
		}
	}
	return offsets
}
