package story

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"tidings.dev"
	"tidings.dev/internal/logclient"
	"tidings.dev/internal/obligation"
	"tidings.dev/internal/quietlog"
)

// Group is the consumer group under which an indexer with Options.Emit commits its positions, so that operators can
// see how far it has read. The group has no members: the indexers that emit are members of another group,
// tidings.indexers.
const Group = "tidings.story"

// Options configure an [Indexer]. With the zero value the indexer reads the log and writes nothing to it.
type Options struct {
	// Emit makes the indexer decide which stories have settled and which have to be reopened, and append these
	// verdicts to the topic tidings.story. Each log needs such an indexer, because [tidings.Receipt.Settled] waits
	// for its verdicts. `tidings serve`, `tidings demo`, embedded.File and embedded.Memory run one. If several run on
	// one log, the consumer group tidings.indexers elects one of them. Another takes over as soon as the elected
	// indexer is closed, or within about seven seconds after it has died.
	Emit bool
	// Discover is how often the indexer looks for new topics; 0 means every 700 ms. It looks for a topic that a
	// subscription names at once. A story settles only after the topics of all its events were found, whatever the
	// value. A new topic is read with the next fetch: within 300 ms on a broker of Tidings. On Apache Kafka, while nothing is
	// appended to any topic, that is up to a second later, and up to five seconds if the log had more than 2,000 partitions
	// when the indexer was opened.
	Discover time.Duration
	// Logger is where the indexer logs; nil means [slog.Default]. Warnings of one cause are written at most once a
	// second.
	Logger *slog.Logger
}

// fetchMaxWait is how long a broker may hold back an answer to a fetch when there are no new records. The Kafka
// client has one fetch per broker under way and adds a new topic only to the next one, so a new topic may wait
// this long at a broker that does not end fetches (logclient.Client.EndFetches). It is a variable for tests.
var fetchMaxWait = time.Second

const (
	discoverInterval = 700 * time.Millisecond // Options.Discover by default

	maxPollRecords = 5000 // records that one transaction of the index takes at most

	fetchBytes        = 8 << 20 // of one fetch, at most
	fetchEachBytes    = 4 << 20 // of one fetch, what all partitions share
	minPartitionBytes = 32 << 10
	maxPartitionBytes = 1 << 20

	// A fetch costs a client and a broker about the same for each partition, also when there are no new records. With more
	// partitions than partitionsPerSecond it may wait longer, so that an indexer which has nothing to do takes little of the
	// processor; longestFetchWait at most.
	partitionsPerSecond = 2000
	longestFetchWait    = 5 * time.Second
	// restingPartitions is the number of partitions from which on the indexer rests between two polls, for restPerPartition.
	restingPartitions = 500
	restPerPartition  = 10 * time.Microsecond
	longestRest       = 200 * time.Millisecond
)

// fetchWaitOf returns how long a broker may hold back an answer to a fetch, if the log has the given number of partitions.
func fetchWaitOf(partitions int) time.Duration {
	return max(fetchMaxWait, min(time.Duration(partitions)*time.Second/partitionsPerSecond, longestFetchWait))
}

// fetchRestOf returns how long an indexer rests after a poll, if it follows the given number of partitions. Each fetch costs client and broker
// about a microsecond for each of them, however few records there are: without a rest, every event would cost a fetch.
func fetchRestOf(partitions int) time.Duration {
	if partitions < restingPartitions {
		return 0
	}
	return min(time.Duration(partitions)*restPerPartition, longestRest)
}

// Indexer reads a log into an [Index]. [Open] returns one, [Indexer.Run] does the work, and [Indexer.Close] releases
// it. The zero value cannot be used. All methods may be called from any goroutine.
type Indexer struct {
	ix       *Index
	link     *tidings.Link
	lc       *logclient.Client
	follower follower
	opts     Options
	log      *slog.Logger
	started  atomic.Bool // Run was called

	election *election // nil without Options.Emit
	// The following belong to the goroutine of Run.
	term     *term // the term of the election in which it judges; nil: it does not judge
	compared int64 // follower.comparisons when the publisher has begun anew
	held     *heldFacts
}

// Open connects to the log and opens the index file at path, as [OpenIndex] does. The indexer owns both until Close.
// If the index was built from another cluster, Open empties it, and Run builds it again. With Options.Emit, Open
// creates the topics tidings.* that are missing.
//
// Open blocks until the log answers, ctx is done, or ten seconds have passed. Its errors match
// [tidings.ErrUnreachable] or [ErrInUse], or come from the log or the operating system. After an error nothing is
// left open.
func Open(ctx context.Context, conn tidings.Connection, path string, o Options) (*Indexer, error) {
	switch {
	case conn == nil:
		return nil, errors.New("story: Open without a connection: pass tidings.Kafka(…) or one of package embedded")
	case path == "":
		return nil, errors.New("story: Open without a path for the index file")
	}
	x := &Indexer{opts: o, log: o.Logger, held: newHeldFacts()}
	if x.log == nil {
		x.log = slog.Default()
	}
	x.log = slog.New(quietlog.New(x.log.Handler()))
	if x.opts.Discover <= 0 {
		x.opts.Discover = discoverInterval
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

// connect creates the client, whose fetches wait for records for at most wait.
func (x *Indexer) connect(wait time.Duration) (err error) {
	x.lc, err = logclient.New(logclient.Config{
		Addresses: x.link.Addresses, Dial: x.link.Dial, ClientID: Group, Logger: x.log,
		Options: []kgo.Opt{
			kgo.FetchIsolationLevel(kgo.ReadCommitted()),
			kgo.KeepControlRecords(), // the position in a partition must move past them, too
			kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
			kgo.FetchMaxBytes(fetchBytes),
			kgo.FetchMaxWait(wait),
			kgo.ProducerBatchCompression(kgo.SnappyCompression()), // settled facts are similar to each other and compress well
			kgo.DisableClientMetrics(),
			kgo.WithHooks(&x.follower),
		},
	})
	if err == nil && x.opts.Emit {
		for _, t := range obligation.Topics() {
			x.lc.Declare(t.Name, t.Partitions, t.Configs)
		}
	}
	return err
}

// open creates the client and opens the index. After an error the caller must call Close.
func (x *Indexer) open(ctx context.Context, path string) error {
	err := x.connect(fetchMaxWait)
	if err != nil {
		return err
	}
	if err := x.lc.Reach(ctx); err != nil {
		return fmt.Errorf("story: %w", err)
	}
	if x.opts.Emit {
		if err := x.createTopics(ctx); err != nil {
			return err
		}
	}
	listing, err := x.lc.Topics(ctx, followed)
	if err != nil {
		return fmt.Errorf("story: %w", err)
	}
	if wait := fetchWaitOf(listing.Partitions()); wait != fetchMaxWait {
		x.lc.Close()
		if err := x.connect(wait); err != nil {
			return err
		}
	}
	if x.ix, err = OpenIndex(path, x.log); err != nil {
		return err
	}
	if err := x.ix.bindCluster(listing.Cluster); err != nil {
		return err
	}
	x.follower.ix, x.follower.lc, x.follower.topics = x.ix, x.lc, make(map[string]logclient.Topic)
	x.follower.lister = x.lc.Lister(followed)
	if _, err = x.follower.discover(ctx); x.follower.report() != nil {
		if err = x.rebuild(); err == nil {
			_, err = x.follower.discover(ctx)
		}
	}
	if err != nil {
		return err
	}
	if x.opts.Emit {
		x.election, err = newElection(x.lc, x.link, x.log)
	}
	return err
}

// rebuild empties the index, because it was found to hold records that the log does not have. The caller must have
// stopped polling, and must not apply records that were polled before.
func (x *Indexer) rebuild() error {
	x.log.Warn("the story's index is built again from the log, which has gone back: it was restored, repaired, or lost records", "path", x.ix.path, "why", x.follower.report())
	return x.follower.rebuild()
}

// createTopics creates the topics tidings.* that are missing.
func (x *Indexer) createTopics(ctx context.Context) error {
	for _, t := range obligation.Topics() {
		if _, err := x.lc.Topic(ctx, t.Name); err != nil {
			return fmt.Errorf("story: %w", err)
		}
	}
	return nil
}

// Index returns the index, to be asked without contacting the log. The indexer keeps ownership: the caller must not
// close the Index.
func (x *Indexer) Index() *Index { return x.ix }

// Close disconnects from the log and closes the index. It must not be called before Run has returned. A second Close
// does nothing.
func (x *Indexer) Close() error {
	var err error
	if x.election != nil {
		x.election.close()
		x.election = nil
	}
	if x.lc != nil {
		x.lc.Close()
	}
	if x.ix != nil {
		err = x.ix.Close()
	}
	if x.link.Close != nil {
		err = errors.Join(err, x.link.Close())
		x.link.Close = nil
	}
	return err
}

// Run reads the log into the index until ctx is done; it then returns nil. With Options.Emit it also appends verdicts
// to tidings.story while the indexer is elected. While the log does not answer, Run keeps trying. It returns an error
// only if the index file fails, if it is called after Close ([ErrClosed]), or if it was called before.
func (x *Indexer) Run(ctx context.Context) error {
	if err := x.ix.err(); err != nil {
		return err
	}
	if x.started.Swap(true) {
		return errors.New("story: Run was called before: an indexer runs once")
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	fetched, stopPolling := x.poll(ctx)
	defer func() { stopPolling() }()
	discover := time.NewTicker(x.opts.Discover)
	defer discover.Stop()
	publisher, committer := newSettlePublisher(x), newPositionCommitter(x)
	defer publisher.stop()
	answers := &answerer{ix: x.ix, log: x.log, append: func(r *kgo.Record, done func(error)) error { return x.append(ctx, r, done) }}
	questions, elected := x.elect(ctx)
	var forgetting sync.WaitGroup
	defer forgetting.Wait()
	defer cancel()
	forgetting.Go(func() { x.forgetAgain(ctx) })
	for {
		if x.follower.report() != nil {
			stopPolling()
			if err := x.rebuild(); err != nil {
				return err
			}
			publisher.abandon()
			x.held.take(len(x.held.facts))
			x.held.follow(x.lc.Client())
			if err := x.discover(ctx); err != nil {
				return err
			}
			fetched, stopPolling = x.poll(ctx)
		}
		if x.opts.Emit {
			x.judge(ctx, publisher, answers)
			committer.commit(ctx)
		}
		select {
		case <-ctx.Done():
			return nil
		case f, ok := <-fetched:
			if !ok {
				return nil
			}
			if err := x.apply(ctx, f); err != nil {
				return err
			}
			committer.moved = true
		case <-x.held.timer.C:
			if err := x.applyHeld(); err != nil {
				return err
			}
		case a := <-publisher.answers:
			publisher.onAnswer(a)
		case <-publisher.timer.C:
		case <-publisher.appends.news:
			publisher.retryFailed()
		case asked := <-questions:
			answers.ask(asked)
		case <-elected:
		case <-discover.C:
			if err := x.discover(ctx); err != nil {
				return err
			}
		}
	}
}

// elect starts a goroutine that reads questions until ctx is done. It returns the channel of the questions, and a
// channel that receives a value after a term has begun or ended. Without Options.Emit it starts
// nothing and returns nil channels.
func (x *Indexer) elect(ctx context.Context) (<-chan []*obligation.Question, <-chan struct{}) {
	if x.election == nil {
		return nil, nil
	}
	go x.election.run(ctx)
	return x.election.questions, x.election.changed
}

// judge runs the next step of the publisher and the answerer if the indexer is elected. If the term has changed since
// the last call, the round under way is abandoned: the indexer that was elected before may have appended verdicts
// since the round began.
func (x *Indexer) judge(ctx context.Context, publisher *settlePublisher, answers *answerer) {
	if t := x.election.current(); t != x.term {
		x.term = t
		publisher.abandon()
		if t == nil {
			answers.forget()
		}
	}
	if n := x.follower.comparisons.Load(); n != x.compared {
		if err := publisher.begunAnew(ctx, x.follower.storyEnd); err != nil {
			x.log.Debug("story: reading the end of "+obligation.StoryTopic, "err", err)
		} else {
			x.compared = n
		}
	}
	if x.term != nil {
		publisher.step(ctx)
		answers.step()
	}
}

// append appends a record to the log under the current term. It fails once the term is over. done is called when the
// append has succeeded or failed, unless append returns an error.
func (x *Indexer) append(_ context.Context, r *kgo.Record, done func(error)) error {
	return x.election.append(x.term, r, done)
}

// poll starts a goroutine that fetches records until ctx is done, stop is called, or the client is closed; the
// goroutine then closes the returned channel. It fetches the next poll while the receiver still works on the last
// one. stop waits until the goroutine has ended, and drops the poll that nobody has received.
func (x *Indexer) poll(ctx context.Context) (_ <-chan kgo.Fetches, stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	fetched := make(chan kgo.Fetches)
	go func() {
		defer close(fetched)
		for {
			f := x.lc.Client().PollRecords(ctx, maxPollRecords)
			if f.IsClientClosed() {
				return
			}
			select {
			case fetched <- f:
			case <-ctx.Done():
				return
			}
			if rest := time.Duration(x.follower.rest.Load()); rest > 0 && f.NumRecords() < maxPollRecords {
				select {
				case <-time.After(rest):
				case <-ctx.Done():
					return
				}
			}
		}
	}()
	return fetched, func() {
		cancel()
		for range fetched {
		}
	}
}

// discover looks for new topics, for at most requestTimeout. It returns an error only if the index has failed. If the
// topics cannot be read from the log, it returns nil, and the next call tries again.
func (x *Indexer) discover(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if _, err := x.follower.discover(ctx); err != nil && ctx.Err() == nil {
		x.log.Debug("story: looking for topics", "err", err)
	}
	return x.ix.err()
}

// apply adds the records of a poll to the index. It returns an error only if the index has failed. It adds nothing if
// the index turns out not to fit the log; Run then rebuilds the index.
func (x *Indexer) apply(ctx context.Context, f kgo.Fetches) error {
	f.EachError(func(topic string, p int32, err error) {
		if _, ok := errors.AsType[*kgo.ErrDataLoss](err); ok {
			x.follower.suspect.Store(true)
		}
		if ctx.Err() == nil && !errors.Is(err, kerr.UnknownTopicOrPartition) && !errors.Is(err, kerr.UnknownTopicID) {
			x.log.Warn("story: reading", "topic", topic, "partition", p, "err", err)
		}
	})
	records := x.ix.recordsOf(f)
	if len(records) == 0 {
		return nil
	}
	if wrong := x.ix.differs(records); wrong != nil {
		x.follower.found(wrong)
	} else if x.follower.suspect.Load() {
		if err := x.discover(ctx); err != nil {
			return err
		}
	}
	if x.follower.report() != nil {
		return nil // Run will rebuild the index
	}
	for err := x.follower.passRemovedBefore(ctx, f); err != nil; err = x.follower.passRemovedBefore(ctx, f) {
		if err := x.ix.err(); err != nil {
			return err
		}
		x.log.Warn("story: reading the ends of the topics, after records were removed", "err", err)
		select {
		case <-time.After(roundRetry):
		case <-ctx.Done():
			return nil
		}
	}
	if x.follower.report() != nil {
		return nil
	}
	records = x.held.pass(x.ix, records)
	defer x.held.follow(x.lc.Client())
	subscribed := slices.ContainsFunc(records, func(r *kgo.Record) bool { return r.Topic == obligation.SubscriptionsTopic })
	var ends logclient.Offsets
	if subscribed {
		ends = x.follower.bounds(ctx)
	}
	lost, err := x.follower.lostEnds(ctx, records)
	for err != nil { // otherwise marks about records that are lost would count for those in their place
		x.log.Warn("story: reading where leader epochs end", "err", err)
		select {
		case <-time.After(roundRetry):
			lost, err = x.follower.lostEnds(ctx, records)
		case <-ctx.Done():
			return nil
		}
	}
	if err := x.ix.applyWithin(records, ends, lost); err != nil {
		return err
	}
	if subscribed {
		return x.discover(ctx) // the subscription may name a topic that is new
	}
	return nil
}

// applyHeld applies all facts that are held back: nothing was read for a while, so that what they cover may never be.
func (x *Indexer) applyHeld() error {
	records := x.held.take(len(x.held.facts))
	x.held.follow(x.lc.Client())
	if len(records) == 0 || x.follower.report() != nil {
		return nil
	}
	return x.ix.Apply(records)
}
