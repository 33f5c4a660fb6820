package story

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"tidings.dev/internal/logclient"
	"tidings.dev/internal/obligation"
)

// follower makes the Kafka client read all topics, including new ones, from the positions of the index. Its methods
// may be called from any goroutine. Those that take a context block on the brokers until it is done. Errors come from
// the client or the index.
type follower struct {
	ix     *Index
	lc     *logclient.Client // the client whose kgo client does the reading
	lister *logclient.Lister // of the topics that are followed; mu guards its use

	// mu protects topics and wrong. It is held throughout a discovery, including the requests, so that index and
	// client go through the same changes in the same order. It is locked before Index.mu.
	mu     sync.Mutex
	topics map[string]logclient.Topic // the topics that the client reads, by name
	// applied is the listing that topics were taken from; nil if the next listing must be looked through in any case.
	applied *logclient.Listing
	rest    atomic.Int64 // a time.Duration: see fetchRestOf
	wrong   error        // a *misfit that was found; discover then does nothing until rebuild is called
	// leaders has the present leader epochs of the partitions, as of the last discovery. ended has where earlier ones end, as far
	// as marks have named them, since the last comparison with all of the log.
	leaders logclient.Epochs
	ended   lostEnds

	// suspect is set when the log may have changed: when a connection was made, or when a fetch reported data loss.
	// The next discovery then compares the index with all of the log.
	suspect atomic.Bool
	// comparisons counts the times that the index was compared with all of the log, or with topics that were made anew, and fits.
	comparisons atomic.Int64
}

// OnBrokerConnect implements kgo.HookBrokerConnect. It sets suspect after each new connection.
func (f *follower) OnBrokerConnect(_ kgo.BrokerMetadata, _ time.Duration, _ net.Conn, err error) {
	if err == nil {
		f.suspect.Store(true)
	}
}

// followed reports whether the index reads a topic: a topic of applications, or one of the topics
// tidings.subscriptions, tidings.reactions and tidings.story.
func followed(topic string) bool {
	switch topic {
	case obligation.SubscriptionsTopic, obligation.ReactionsTopic, obligation.StoryTopic:
		return true
	}
	return !obligation.Internal(topic)
}

// discover lists the topics that exist now and returns them. It makes the client read topics that are new, have got
// more partitions, or were created again, and stop reading topics that were deleted. The caller may judge stories by
// the topics returned: records of a topic that is not among them are not waited for.
func (f *follower) discover(ctx context.Context) ([]logclient.Topic, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.wrong != nil {
		return nil, f.wrong
	}
	suspect := f.suspect.Swap(false)
	topics, err := f.discoverNow(ctx, suspect)
	if wrong, ok := errors.AsType[*misfit](err); ok {
		f.wrong = wrong
	} else if err != nil && suspect {
		f.suspect.Store(true)
	}
	return topics, err
}

// discoverNow implements discover. f.mu must be held. If suspect is true, it compares the index with all topics, and
// otherwise only with topics that are new or have grown. The error is a *misfit if the index does not fit the log.
func (f *follower) discoverNow(ctx context.Context, suspect bool) ([]logclient.Topic, error) {
	early := f.ix.early() // before the brokers are asked
	listing, err := f.lister.List(ctx)
	if err != nil {
		return nil, err
	}
	topics := listing.Topics
	if listing == f.applied && !suspect {
		f.ix.noteAbsent(early, topics)
		return topics, nil
	}
	f.applied = nil
	f.leaders = listing.Leaders
	if suspect {
		clear(f.ended)
	}
	var grown []logclient.Topic
	there := make(map[string]bool, len(topics))
	var gone []string // deleted, or created again under the same name
	for _, t := range topics {
		there[t.Name] = true
		old, ok := f.topics[t.Name]
		if ok && old.ID != t.ID {
			gone = append(gone, t.Name)
		}
		if !ok || old.ID != t.ID || old.Partitions < t.Partitions {
			grown = append(grown, t)
		}
	}
	for name := range f.topics {
		if !there[name] {
			gone = append(gone, name)
		}
	}
	compared := grown
	if suspect {
		compared = topics
	}
	if err := f.compare(ctx, compared); err != nil {
		return nil, err
	}
	f.ix.noteAbsent(early, topics)
	if suspect || len(gone) > 0 {
		defer f.comparisons.Add(1) // when topics that are gone are known to be
	}
	if len(grown) == 0 && len(gone) == 0 {
		f.applied = listing
		return topics, nil
	}
	starts, err := f.lc.StartsOf(ctx, grown)
	if err != nil {
		return nil, err
	}
	if len(gone) > 0 {
		f.lc.Client().PurgeTopicsFromConsuming(gone...)
		for _, name := range gone {
			delete(f.topics, name)
		}
	}
	if err := f.ix.setTopics(topics); err != nil {
		return nil, err
	}
	if err := f.advance(ctx, topics, starts); err != nil {
		return nil, err
	}
	first := len(f.topics) == 0
	add := make(map[string]map[int32]kgo.Offset)
	for _, t := range grown {
		add[t.Name] = make(map[int32]kgo.Offset)
		for p := f.topics[t.Name].Partitions; p < t.Partitions; p++ {
			add[t.Name][p] = kgo.NewOffset().At(max(f.ix.readFrom(t.Name, p), starts[t.Name][p]))
		}
		f.topics[t.Name] = t
	}
	f.shareFetches()
	f.lc.Client().AddConsumePartitions(add)
	if !first {
		f.lc.EndFetches()
	}
	f.applied = listing
	return topics, nil
}

// shareFetches sets how much of a partition a fetch has at most, so that there is room for all: what belongs to one story is in
// several topics, and costs the index least if it comes together.
func (f *follower) shareFetches() {
	partitions := 0
	for _, t := range f.topics {
		partitions += int(t.Partitions)
	}
	each := min(max(fetchEachBytes/max(partitions, 1), minPartitionBytes), maxPartitionBytes)
	f.lc.Client().UpdateFetchMaxBytes(fetchBytes, int32(each))
	f.rest.Store(int64(fetchRestOf(partitions)))
}

// fitting is like discover, but waits while the index has to be rebuilt.
func (f *follower) fitting(ctx context.Context) ([]logclient.Topic, error) {
	for {
		topics, err := f.discover(ctx)
		if _, ok := errors.AsType[*misfit](err); !ok {
			return topics, err
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// ends returns the high watermarks of all topics that exist now. Records of an open transaction are below the high
// watermark, so a verdict waits until the transaction ends. The watermarks are those of a log that the index fits, and
// of these very topics: if a connection was made while ends asked for them, or a topic was created anew, it asks again.
func (f *follower) ends(ctx context.Context) (targets, error) {
	topics, err := f.fitting(ctx)
	for err == nil {
		var ends logclient.Offsets
		if ends, err = f.lc.EndsOf(ctx, topics); err != nil {
			break
		}
		asked, changed := topics, f.suspect.Load() // fitting clears suspect
		if topics, err = f.fitting(ctx); err == nil && !changed && !f.suspect.Load() && haveIDsOf(topics, asked) {
			return targetsIn(asked, ends), nil
		}
	}
	return nil, err
}

// haveIDsOf reports whether no topic of asked was created anew: each has the id that it has in now, or is not there any more.
func haveIDsOf(now, asked []logclient.Topic) bool {
	ids := make(map[string][16]byte, len(now))
	for _, t := range now {
		ids[t.Name] = t.ID
	}
	return !slices.ContainsFunc(asked, func(t logclient.Topic) bool {
		id, there := ids[t.Name]
		return there && id != t.ID
	})
}

// marksEnds returns the last stable offsets of tidings.subscriptions and tidings.reactions: all that anybody can read of them now is
// below these. As with ends, they are of a log that the index fits.
func (f *follower) marksEnds(ctx context.Context) (targets, error) {
	for compared := false; ; compared = true {
		if f.suspect.Load() {
			if _, err := f.fitting(ctx); err != nil {
				return nil, err
			}
		}
		topics := f.topicsOfMarks()
		ends, err := f.lc.StableEndsOf(ctx, topics)
		switch {
		case err != nil:
			return nil, err
		case f.suspect.Load():
			continue
		case f.ix.within(ends):
			return targetsIn(topics, ends), nil
		case compared:
			return nil, errors.New("the topics of obligations end below what was read of them")
		}
		f.suspect.Store(true) // they were made again
	}
}

// bounds returns the high watermarks of the topics that the client reads, to check offsets that somebody else has
// written. It asks for at most requestTimeout. If the ends cannot be read, it logs that and returns nil.
func (f *follower) bounds(ctx context.Context) logclient.Offsets {
	f.mu.Lock()
	topics := slices.Collect(maps.Values(f.topics))
	f.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	ends, err := f.lc.EndsOf(ctx, topics)
	if err != nil {
		f.ix.log.Debug("story: the ends of the topics, for the offsets of subscriptions", "err", err)
		return nil
	}
	return ends
}

// topicsOfMarks returns the topics that say who owes what and what is done, as far as there are any.
func (f *follower) topicsOfMarks() (topics []logclient.Topic) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, name := range []string{obligation.SubscriptionsTopic, obligation.ReactionsTopic} {
		if t, ok := f.topics[name]; ok {
			topics = append(topics, t)
		}
	}
	return topics
}

// storyEnd asks for the end of tidings.story, which is 0 if there is no such topic.
func (f *follower) storyEnd(ctx context.Context) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	f.mu.Lock()
	t, ok := f.topics[obligation.StoryTopic]
	f.mu.Unlock()
	if !ok {
		return 0, nil
	}
	ends, err := f.lc.EndsOf(ctx, []logclient.Topic{t})
	return ends[obligation.StoryTopic][0], err
}

// report returns the *misfit that was found, or nil if none was found.
func (f *follower) report() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.wrong
}

// found records that the index does not fit the log. A *misfit that was recorded before is kept.
func (f *follower) found(wrong error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.wrong = cmp.Or(f.wrong, wrong)
}

// rebuild empties the index and makes the next discovery start all topics again. No goroutine may be polling the
// client, and records that were polled before must not be applied afterwards.
func (f *follower) rebuild() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lc.Client().PurgeTopicsFromConsuming(slices.Collect(maps.Keys(f.topics))...)
	clear(f.topics)
	f.wrong, f.applied = nil, nil
	return f.ix.empty()
}

// starts returns the first offset that was not removed, for all topics that exist now.
func (f *follower) starts(ctx context.Context) (logclient.Offsets, error) {
	topics, err := f.fitting(ctx)
	if err != nil {
		return nil, err
	}
	return f.lc.StartsOf(ctx, topics)
}

// passRemoved advances the positions of the index past records that were removed. It does nothing if the index has to be rebuilt: it does not
// wait for that, since Run, which does it, calls passRemoved.
func (f *follower) passRemoved(ctx context.Context) error {
	topics, err := f.discover(ctx)
	if err != nil {
		return notMisfit(err)
	}
	starts, err := f.lc.StartsOf(ctx, topics)
	if err != nil {
		return err
	}
	return f.advance(ctx, topics, starts)
}

// notMisfit returns err, or nil if it is a *misfit.
func notMisfit(err error) error {
	if _, ok := errors.AsType[*misfit](err); ok {
		return nil
	}
	return err
}

// passRemovedBefore advances the positions of the index to the first records of a poll, where those before them were removed: the client goes on
// at the start of the log by itself. It must be called before the records are applied. Like passRemoved it does nothing if the index has to be
// rebuilt.
func (f *follower) passRemovedBefore(ctx context.Context, polled kgo.Fetches) error {
	starts := f.ix.removedBefore(polled)
	if !f.ix.hasMissed(starts) {
		return nil
	}
	topics, err := f.discover(ctx)
	if err != nil {
		return notMisfit(err)
	}
	return f.advance(ctx, topics, starts)
}

// advance advances the positions of the index to starts, the first offsets of some of topics, which must be all that exist now.
func (f *follower) advance(ctx context.Context, topics []logclient.Topic, starts logclient.Offsets) error {
	if !f.ix.hasMissed(starts) {
		return nil
	}
	ends, err := f.lc.EndsOf(ctx, topics)
	if err != nil {
		return err
	}
	return f.ix.advance(starts, ends)
}
