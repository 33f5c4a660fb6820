package story

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
)

// CatchUp blocks until the index has every record that was in the log when CatchUp was called, or until ctx is done.
// It makes progress only while Run is running. If progress is not nil, CatchUp calls it with the number of offsets
// that are left to read: once at the start, after every change of the index, and finally with 0.
//
// CatchUp returns the error of ctx, of the log or of the index; after Close, [ErrClosed].
func (x *Indexer) CatchUp(ctx context.Context, progress func(left int64)) error {
	if err := x.ix.err(); err != nil {
		return err
	}
	compared := x.follower.comparisons.Load()
	ends, err := x.follower.ends(ctx)
	if err != nil {
		return err
	}
	stuck := time.NewTimer(stuckAfter)
	defer stuck.Stop()
	for {
		if n := x.follower.comparisons.Load(); n != compared { // the log may have gone back, and never come to the ends
			compared = n
			if ends, err = x.follower.ends(ctx); err != nil {
				return err
			}
		}
		changes := x.ix.changes()
		left := x.ix.left(ends)
		if progress != nil {
			progress(left)
		}
		if left == 0 {
			return nil
		}
		if err := x.ix.err(); err != nil {
			return err
		}
		select {
		case <-changes:
			stuck.Reset(stuckAfter)
		case <-stuck.C:
			if err := x.follower.passRemoved(ctx); err != nil {
				return err
			}
			stuck.Reset(stuckAfter)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// WaitSettled blocks until every story of the log has settled. It first waits as [Indexer.CatchUp] does, then until
// Stats.Open is 0. Run must be running, and this indexer or another one must have Options.Emit. If the log always has
// an open story, WaitSettled never returns unless ctx is done; to wait for one story, call [tidings.Receipt.Settled].
func (x *Indexer) WaitSettled(ctx context.Context) error {
	if err := x.CatchUp(ctx, nil); err != nil {
		return err
	}
	return x.ix.wait(ctx, func(s Stats) bool { return s.Open == 0 })
}

// wait blocks until a condition on the Stats of the index holds. It returns the error of ctx or of the index.
func (ix *Index) wait(ctx context.Context, until func(Stats) bool) error {
	for {
		changes := ix.changes()
		if until(ix.Stats()) {
			return nil
		}
		if err := ix.err(); err != nil {
			return err
		}
		select {
		case <-changes:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Story asks the brokers for the committed positions of all groups, catches up with the log, and returns the story of
// a key as [Index.Story] does. Run must be running. progress is called as by [Indexer.CatchUp].
//
// The error matches [ErrNotFound] if the key leads to no story. Other errors are those of ctx, the log or the index.
func (x *Indexer) Story(ctx context.Context, key string, progress func(left int64)) (*Story, error) {
	return x.Stories(ctx, key, 0, progress)
}

// Stories is like [Indexer.Story] but returns at most limit stories. 0 means 20, and a negative limit means all.
func (x *Indexer) Stories(ctx context.Context, key string, limit int, progress func(left int64)) (*Story, error) {
	if key == "" {
		return nil, errEmptyKey
	}
	// Ask the brokers before catching up: the marks that explain a committed position are then among the records that
	// are read.
	live, err := x.live(ctx)
	if err != nil {
		return nil, err
	}
	if err := x.CatchUp(ctx, progress); err != nil {
		return nil, err
	}
	if x.ix.unsought() { // they may be deleted: then it is said what was lost with them
		if _, err := x.follower.fitting(ctx); err != nil {
			return nil, err
		}
	}
	return x.ix.Stories(key, limit, live)
}

// live asks the brokers for the committed positions of all groups and the first offsets of all topics. It leaves out
// groups whose positions cannot be read.
func (x *Indexer) live(ctx context.Context) (Live, error) {
	if err := x.ix.err(); err != nil {
		return Live{}, err
	}
	live := Live{Committed: make(map[string]map[string]map[int32]int64)}
	adm := kadm.NewClient(x.lc.Client())
	groups, err := adm.ListGroups(ctx)
	if err != nil {
		return live, err
	}
	for group, resp := range adm.FetchManyOffsets(ctx, groups.Groups()...) {
		if resp.Err != nil {
			continue
		}
		topics := make(map[string]map[int32]int64)
		resp.Fetched.Each(func(o kadm.OffsetResponse) {
			if o.Err != nil || o.At < 0 {
				return
			}
			if topics[o.Topic] == nil {
				topics[o.Topic] = make(map[int32]int64)
			}
			topics[o.Topic][o.Partition] = o.At
		})
		live.Committed[group] = topics
	}
	live.Starts, err = x.follower.starts(ctx)
	return live, err
}
