package story

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"tidings.dev"
	"tidings.dev/internal/obligation"
)

// Group is the consumer group under which an indexer that emits commits how far it is, for people to see. It has no
// members.
const Group = "tidings.story"

// Options of an Indexer. The zero value follows and tells nobody.
type Options struct {
	// Emit has the indexer tell the log which stories have settled, as facts on tidings.story. One indexer of a log
	// is to do that; two do no harm beyond saying everything twice, under the same ids.
	Emit bool
	// Discover is how often new topics are looked for; 0 means once a second. Topics that subscriptions name are
	// looked for at once, and no story settles before a topic with events of it was found.
	Discover time.Duration
	// Logger is slog.Default() when nil.
	Logger *slog.Logger
}

const (
	pollRecords    = 5000                  // in one transaction of the index
	freezeEvery    = 10 * time.Millisecond // least time between two questions for all watermarks
	retryEvery     = 100 * time.Millisecond
	commitEvery    = time.Second
	stuckAfter     = time.Second
	requestTimeout = 10 * time.Second

	// A topic that is new joins the fetch of its broker when that comes back: kgo has one at a time. So long polls are
	// short, while what is being fetched is answered at once, as ever.
	fetchWait = time.Second
)

// Indexer keeps an Index up to date from a log. Open makes one, Run works, Close ends it.
type Indexer struct {
	ix     *Index
	link   *tidings.Link
	client *kgo.Client
	follow follower
	opts   Options
	log    *slog.Logger
}

// Open reaches the log and opens the index file at path, which it owns until Close. An index of another cluster is
// built again. With Options.Emit, the framework's topics are made if they are missing. Errors are ErrInUse, those of
// the connection, or the operating system's.
func Open(ctx context.Context, conn tidings.Connection, path string, o Options) (*Indexer, error) {
	x := &Indexer{opts: o, log: o.Logger}
	if x.log == nil {
		x.log = slog.Default()
	}
	if x.opts.Discover <= 0 {
		x.opts.Discover = time.Second
	}
	var err error
	if x.link, err = conn.Connect(ctx); err != nil {
		return nil, err
	}
	if err := x.open(ctx, path); err != nil {
		return nil, errors.Join(err, x.Close())
	}
	return x, nil
}

func (x *Indexer) open(ctx context.Context, path string) error {
	var err error
	x.client, err = kgo.NewClient(append(x.link.Options(),
		kgo.ClientID(Group),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords(), // positions pass them
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchMaxBytes(8<<20),
		kgo.FetchMaxPartitionBytes(1<<20),
		kgo.FetchMaxWait(fetchWait),
		kgo.MetadataMinAge(100*time.Millisecond),
		kgo.ProducerLinger(0),
		kgo.DisableClientMetrics(),
	)...)
	if err != nil {
		return err
	}
	if x.opts.Emit {
		if err := x.createTopics(ctx); err != nil {
			return err
		}
	}
	cluster, _, err := listTopics(ctx, x.client)
	if err != nil {
		return fmt.Errorf("story: %w", err)
	}
	if x.ix, err = OpenIndex(path, x.log); err != nil {
		return err
	}
	if err := x.ix.bind(cluster); err != nil {
		return err
	}
	x.follow = follower{ix: x.ix, client: x.client, topics: make(map[string]topicInfo)}
	_, err = x.follow.follow(ctx)
	return err
}

// createTopics makes the topics of obligations, unless they are there.
func (x *Indexer) createTopics(ctx context.Context) error {
	_, topics, err := listTopics(ctx, x.client)
	if err != nil {
		return fmt.Errorf("story: %w", err)
	}
	there := make(map[string]bool)
	for _, t := range topics {
		there[t.name] = true
	}
	adm := kadm.NewClient(x.client)
	for _, spec := range obligation.Topics() {
		if there[spec.Name] {
			continue
		}
		configs := make(map[string]*string)
		for k, v := range spec.Configs {
			configs[k] = &v
		}
		if _, err := adm.CreateTopic(ctx, spec.Partitions, -1, configs, spec.Name); err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
			return fmt.Errorf("story: create topic %s: %w", spec.Name, err)
		}
	}
	return nil
}

// Index gives the index. It stays the indexer's.
func (x *Indexer) Index() *Index { return x.ix }

// Close leaves the log and closes the index. Run must have returned.
func (x *Indexer) Close() error {
	var err error
	if x.client != nil {
		x.client.Close()
	}
	if x.ix != nil {
		err = x.ix.Close()
	}
	if x.link.Close != nil {
		err = errors.Join(err, x.link.Close())
	}
	return err
}

// Run follows the log until ctx is done, which is no error. It returns earlier only when the index file fails.
func (x *Indexer) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	fetched := make(chan kgo.Fetches)
	go func() {
		defer close(fetched)
		for {
			f := x.client.PollRecords(ctx, pollRecords)
			if f.IsClientClosed() {
				return
			}
			select {
			case fetched <- f:
			case <-ctx.Done():
				return
			}
		}
	}()
	discover := time.NewTicker(x.opts.Discover)
	defer discover.Stop()
	t := newTeller(x)
	defer t.stop()
	t.step(ctx)
	for {
		select {
		case <-ctx.Done():
			return nil
		case f, ok := <-fetched:
			if !ok {
				return nil
			}
			if err := x.take(ctx, f); err != nil {
				return err
			}
			t.dirty = true
		case w := <-t.asked:
			t.answered(w)
		case <-t.again.C:
		case <-t.failed.news:
			x.ix.untold(t.failed.take())
		case <-discover.C:
			if err := x.discover(ctx); err != nil {
				return err
			}
		}
		t.step(ctx)
		t.commit(ctx)
	}
}

// discover looks for new topics. Only a failing index is an error.
func (x *Indexer) discover(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if _, err := x.follow.follow(ctx); err != nil && ctx.Err() == nil {
		x.log.Debug("story: looking for topics", "err", err)
	}
	x.ix.mu.RLock()
	defer x.ix.mu.RUnlock()
	return x.ix.failed
}

// take adds to the index what a poll has brought.
func (x *Indexer) take(ctx context.Context, f kgo.Fetches) error {
	f.EachError(func(topic string, p int32, err error) {
		if ctx.Err() == nil && !errors.Is(err, kerr.UnknownTopicOrPartition) && !errors.Is(err, kerr.UnknownTopicID) {
			x.log.Warn("story: reading", "topic", topic, "partition", p, "err", err)
		}
	})
	records := f.Records()
	if len(records) == 0 {
		return nil
	}
	if err := x.ix.Apply(records); err != nil {
		return err
	}
	for _, r := range records {
		if r.Topic == obligation.SubscriptionsTopic {
			return x.discover(ctx) // it may name a topic that is new
		}
	}
	return nil
}

// CatchUp blocks until the index has everything that is in the log when it is called. Run must be running. progress, if
// not nil, is called with how many offsets are left, at first and after every step.
func (x *Indexer) CatchUp(ctx context.Context, progress func(left int64)) error {
	ends, err := x.follow.ends(ctx)
	if err != nil {
		return err
	}
	stuck := time.NewTimer(stuckAfter)
	defer stuck.Stop()
	for {
		changes := x.ix.changes()
		left := x.ix.left(ends)
		if progress != nil {
			progress(left)
		}
		if left == 0 {
			return nil
		}
		select {
		case <-changes:
			stuck.Reset(stuckAfter)
		case <-stuck.C:
			if err := x.follow.unstick(ctx); err != nil {
				return err
			}
			stuck.Reset(stuckAfter)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// WaitSettled blocks until every story of the log, as it is when it is called, has settled. Run must be running, with
// Options.Emit here or elsewhere.
func (x *Indexer) WaitSettled(ctx context.Context) error {
	if err := x.CatchUp(ctx, nil); err != nil {
		return err
	}
	for {
		changes := x.ix.changes()
		if x.ix.Stats().Open == 0 {
			return nil
		}
		select {
		case <-changes:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Story asks the brokers how far everybody is, catches up with the log, and tells the story of a word as Index.Story
// does. Run must be running.
func (x *Indexer) Story(ctx context.Context, word string, progress func(left int64)) (*Story, error) {
	live, err := x.live(ctx)
	if err != nil {
		return nil, err
	}
	if err := x.CatchUp(ctx, progress); err != nil {
		return nil, err
	}
	return x.ix.Story(word, live)
}

// live reads what the brokers know.
func (x *Indexer) live(ctx context.Context) (Live, error) {
	live := Live{Committed: make(map[string]map[string]map[int32]int64), Starts: make(map[string]map[int32]int64)}
	adm := kadm.NewClient(x.client)
	groups, err := adm.ListGroups(ctx)
	if err != nil {
		return live, err
	}
	for group, resp := range adm.FetchManyOffsets(ctx, groups.Groups()...) {
		if resp.Err != nil {
			continue // nothing is known of it then
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
	topics, err := x.follow.follow(ctx)
	if err != nil {
		return live, err
	}
	starts, err := listOffsets(ctx, x.client, askStart, topics)
	if err != nil {
		return live, err
	}
	for topic, offsets := range starts {
		live.Starts[topic] = make(map[int32]int64)
		for p, o := range offsets {
			live.Starts[topic][int32(p)] = o
		}
	}
	return live, nil
}
