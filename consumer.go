package tidings

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"tidings.dev/internal/delivery"
	"tidings.dev/internal/obligation"
)

// How a reaction gets its events, in one process:
//
//	poll ──► partition.go: replay or intake ──► delivery.Lanes ──► work.go: handlers ──► emissions sent
//	                                                                                          │ durable
//	         commit.go: marks, then positions ◄── delivery.Tracker ◄──────────────────────────┘
//
// assign.go finds where a partition starts when the group gives it to us, and lets go of it in order.
const (
	sessionTimeout   = 10 * time.Second // after which a dead instance's partitions go to others
	heartbeatEvery   = time.Second      // how soon an instance hears that another has come or gone
	rebalanceTimeout = time.Minute
	revokeTimeout    = rebalanceTimeout * 5 / 6 // how long revocation waits for running handlers
	maxFetchBytes    = 8 << 20

	maxPollRecords  = 1024
	maxQueued       = 4096 // events received and not finished, in all: then polling stops …
	resumeQueued    = 2048 // … until so few are left
	maxOpen         = 2048 // the same for one partition, so that a slow subject stops only its own
	resumeOpen      = 1024
	unhandledCommit = 500 * time.Millisecond // how late a position moves that moves only over events of no concern
)

type topicPartition struct {
	topic     string
	partition int32
}

func (tp topicPartition) String() string { return fmt.Sprintf("%s/%d", tp.topic, tp.partition) }

// laneKey is what keeps order: a subject, or, for an event without one, its place.
type laneKey struct {
	subject string
	place   topicPartition
	offset  int64
}

// consumer runs one reaction in this process.
type consumer struct {
	*reaction
	cl       *kgo.Client
	opened   chan struct{} // closed when cl is set: kgo calls back before it has returned the client
	subs     map[string]*obligation.Subscription
	fresh    map[string]bool // subscriptions that this run has made
	base     context.Context // of handlers
	instance string          // static membership; empty without

	ready     chan struct{} // closed once
	readyOnce sync.Once
	dirty     chan struct{} // capacity 1: there is something to mark and commit
	room      chan struct{} // capacity 1: the queue may have room again
	fatal     chan error    // capacity 1: why the reaction cannot go on

	draining atomic.Bool                        // nothing is taken in any more
	fetched  map[topicPartition]committedOffset // between onOffsetsFetched and onOffsets, which kgo calls in turn
	roundMu  sync.Mutex                         // one commit round at a time

	mu         sync.Mutex
	parts      map[topicPartition]*partition
	lanes      *delivery.Lanes[laneKey, *item]
	workers    int
	retrying   int
	lazyTimer  *time.Timer // runs while only events of no concern wait to be committed
	lastReport time.Time   // when a retrying fact was last written
	reports    int         // how many since
}

func newConsumer(r *reaction) *consumer {
	if r.concurrency == 0 {
		r.concurrency = defaultConcurrency
	}
	if r.window < 0 {
		r.window = defaultWindow
	}
	c := &consumer{
		reaction: r,
		opened:   make(chan struct{}),
		ready:    make(chan struct{}),
		dirty:    make(chan struct{}, 1),
		room:     make(chan struct{}, 1),
		fatal:    make(chan error, 1),
		parts:    make(map[topicPartition]*partition),
		lanes:    delivery.NewLanes[laneKey, *item](),
	}
	return c
}

// run blocks until ctx is done, and then drains; or until the reaction cannot go on.
func (c *consumer) run(ctx context.Context) error {
	if err := c.prepare(ctx); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return fmt.Errorf("reaction %q: %w", c.name, err)
	}
	c.consumer.Store(c)

	rounds, cancelRounds := context.WithCancel(c.app.life)
	stopRounds := make(chan struct{})
	var committer sync.WaitGroup
	committer.Go(func() { c.commitLoop(rounds, stopRounds) })

	err := c.poll(ctx)

	// What is new from here on is committed when the partitions are given up.
	close(stopRounds)
	impatient := time.AfterFunc(lastRoundTimeout, cancelRounds)
	committer.Wait()
	impatient.Stop()
	cancelRounds()
	c.leave()
	c.cl.Close()
	if err != nil {
		return fmt.Errorf("reaction %q: %w", c.name, err)
	}
	return nil
}

func (c *consumer) prepare(ctx context.Context) (err error) {
	if c.subs, c.fresh, err = c.subscribe(ctx); err != nil {
		return err
	}
	// Handlers outlive ctx: they are drained, and cancelled only if that takes too long.
	c.base = c.app.Context(context.WithoutCancel(ctx))

	var balancer kgo.GroupBalancer = kgo.CooperativeStickyBalancer()
	if c.stateful() && len(c.topics) > 1 {
		balancer = kgo.RangeBalancer() // equal numbers of all topics go to one instance
	}
	opts := []kgo.Opt{
		kgo.ConsumerGroup(c.name),
		kgo.ConsumeTopics(c.topicNames()...),
		kgo.Balancers(balancer),
		kgo.DisableAutoCommit(),
		kgo.SessionTimeout(sessionTimeout),
		kgo.HeartbeatInterval(heartbeatEvery),
		kgo.RebalanceTimeout(rebalanceTimeout),
		kgo.MetadataMaxAge(c.app.opts.metadataMaxAge),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()), // events lost to retention are an error, never passed over
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords(), // so that the end of a replay is seen even if it is one
		kgo.FetchMaxBytes(maxFetchBytes),
		kgo.OnOffsetsFetched(c.onOffsetsFetched),
		kgo.AdjustFetchOffsetsFn(c.onOffsets),
		kgo.OnPartitionsAssigned(c.onAssigned),
		kgo.OnPartitionsRevoked(c.onRevoked),
		kgo.OnPartitionsLost(c.onLost),
	}
	if c.app.opts.instance != "" {
		c.instance = c.app.opts.instance + "." + c.name
		opts = append(opts, kgo.InstanceID(c.instance))
	}
	if c.cl, err = kgo.NewClient(c.app.clientOptions(opts...)...); err != nil {
		return err
	}
	close(c.opened)
	return nil
}

// poll takes in events until ctx is done.
func (c *consumer) poll(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var fatal error
	done := make(chan struct{})
	go func() {
		defer close(done)
		select {
		case fatal = <-c.fatal:
			stop()
		case <-ctx.Done():
		}
	}()
	for ctx.Err() == nil {
		fetches := c.cl.PollRecords(ctx, maxPollRecords)
		fetches.EachError(func(topic string, partition int32, err error) { c.onFetchError(ctx, topic, partition, err) })
		fetches.EachPartition(func(p kgo.FetchTopicPartition) {
			if len(p.Records) > 0 {
				c.take(topicPartition{p.Topic, p.Partition}, p.Records)
			}
		})
		c.awaitRoom(ctx)
	}
	<-done
	return fatal
}

// awaitRoom blocks while too much is queued.
func (c *consumer) awaitRoom(ctx context.Context) {
	limit := maxQueued
	for {
		c.mu.Lock()
		queued := c.lanes.Queued()
		c.mu.Unlock()
		if queued <= limit {
			return
		}
		limit = resumeQueued
		select {
		case <-c.room:
		case <-ctx.Done():
			return
		}
	}
}

// onFetchError sorts out what a partition, or the group, cannot be read for.
func (c *consumer) onFetchError(ctx context.Context, topic string, partition int32, err error) {
	var loss *kgo.ErrDataLoss
	var session *kgo.ErrGroupSession
	switch {
	case ctx.Err() != nil || errors.Is(err, context.Canceled) || errors.Is(err, kgo.ErrClientClosed):
	case errors.Is(err, kerr.OffsetOutOfRange):
		go c.onOutOfRange(ctx, topicPartition{topic, partition})
	case errors.As(err, &loss):
		c.fail(&BeyondError{c.name, topic, partition, loss.ConsumedTo, loss.ResetTo})
	case errors.As(err, &session):
		if permanent(session.Err) {
			c.fail(session.Err)
			return
		}
		c.log.Warn("the group session ended; joining again", "error", session.Err)
	default:
		c.log.Warn("cannot read", "topic", topic, "partition", partition, "error", err)
	}
}

// permanent tells errors that no further attempt mends.
func permanent(err error) bool {
	for _, e := range []error{kerr.GroupAuthorizationFailed, kerr.TopicAuthorizationFailed, kerr.InvalidGroupID,
		kerr.InconsistentGroupProtocol, kerr.InvalidSessionTimeout, kerr.FencedInstanceID} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// fail ends the reaction; the first reason counts.
func (c *consumer) fail(err error) {
	select {
	case c.fatal <- err:
		c.log.LogAttrs(context.Background(), slog.LevelError, "the reaction stops", slog.Any("error", err))
	default:
	}
}

// leave drains and leaves the group. It drains while still a member in good standing: in the middle of a rebalance a
// commit is refused until the rebalance is over.
func (c *consumer) leave() {
	c.draining.Store(true)
	c.mu.Lock()
	all := slices.Collect(maps.Values(c.parts))
	c.mu.Unlock()
	c.letGo(all, c.app.opts.drainTimeout)
	c.dropAll()

	ctx, cancel := context.WithTimeout(c.app.life, lastPatience)
	defer cancel()
	err := c.cl.LeaveGroupContext(ctx)
	if c.app.life.Err() != nil {
		return // aborted: nobody is told
	}
	if c.instance != "" {
		// A static member does not leave by itself, so that it may come back unnoticed; but whoever stops in order wants
		// its partitions to go on elsewhere at once.
		err = errors.Join(err, c.leaveStatic(ctx))
	}
	if err != nil {
		c.log.Warn("the group was not left in order: its partitions are taken over when the session ends", "error", err)
	}
}

// load tells how many events are queued, and how many of them wait to be tried again.
func (c *consumer) load() (waiting, retrying int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lanes.Queued(), c.retrying
}

func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
