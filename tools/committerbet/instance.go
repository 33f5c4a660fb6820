//go:build linux

package main

import (
	"context"
	crypto "crypto/rand"
	"encoding/hex"
	"math/rand/v2"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Timeouts of instances. They are half of those of the framework, so that a trial covers twice as many expirations.
// Their proportions are the same: a stopped instance outlives its session before its transaction.
const (
	sessionTimeout     = 5 * time.Second
	heartbeatEvery     = 500 * time.Millisecond
	rebalanceTimeout   = 8 * time.Second
	revokeTimeout      = 3 * time.Second // how long a revocation waits for running handlers
	transactionTimeout = 6 * time.Second
	commitEvery        = 10 * time.Millisecond
	handlersAtOnce     = 16
	maxQueued          = 2000 // items; while there are more, the instance does not poll
)

// settings are the parameters of an instance. The referee passes them as JSON in an argument.
type settings struct {
	Address    string
	Trial      string
	Mode       string // modeAtLeastOnce, modeTransactions or modeBare
	TxnVersion int16  // highest transaction.version to use
	// Overlap makes the transactional committer send the positions while the records are in flight.
	Overlap bool
	// AbortLost makes the transactional committer abort a round if one of its partitions is lost after its position was accepted.
	AbortLost bool
	// Takeover makes the instance end a transaction that the previous owner of a partition has left open, instead of waiting
	// for its timeout.
	Takeover    bool
	Seed        uint64
	Busy        bool // handlers take time, some of them longer than a revocation waits
	CommitEvery time.Duration
	// Blind breaks the committer on purpose: it sends positions without member and generation, and ignores that
	// partitions were lost.
	Blind bool
	// LargeBatches lets batches grow up to kgo's default limit, so that the log refuses whole batches.
	LargeBatches bool
}

// Modes of an instance.
const (
	modeAtLeastOnce  = "A"
	modeTransactions = "B"
	modeBare         = "bare"
)

// instance is one member of the reaction's group. mu protects the fields declared below it. rounds is held during a
// round and is locked before mu.
type instance struct {
	settings
	names     names
	client    *kgo.Client
	committer committer
	joined    chan struct{} // closed when client and committer are set
	handlers  chan struct{} // has an element for each running handler
	rounds    sync.Mutex
	dirty     chan struct{} // has capacity 1; holds a value when there is something for a round to commit

	mu         sync.Mutex
	member     string
	generation int32
	last       incarnation
	owned      map[int32]*partition
	finished   []*invocation // not yet in a round, in the order in which they finished
	fetched    map[int32]kmsg.OffsetFetchResponseGroupTopicPartition
	queued     int
	draining   bool
	random     *rand.Rand
	assignedAt map[int32]time.Time // of partitions whose incarnation has not begun
}

// partition is one incarnation of a source partition.
type partition struct {
	number      int32
	incarnation incarnation
	tracker     *tracker
	next        int64 // offset of the next record to arrive
	lanes       map[string]*lane
	running     int
	revoking    bool
	recommit    bool // its position is not committed, though its marks are durable
	lost        bool
}

// runInstance runs a member of the group until it receives SIGTERM.
func runInstance(s settings) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	f := &faults{}
	go obey(f)
	if s.Mode == modeBare {
		return runBare(ctx, s)
	}
	i := &instance{settings: s, names: namesOf(s.Trial), joined: make(chan struct{}), handlers: make(chan struct{}, handlersAtOnce),
		dirty: make(chan struct{}, 1), owned: make(map[int32]*partition),
		assignedAt: make(map[int32]time.Time), random: newRandom(s.Seed)}
	if err := i.open(ctx, f); err != nil {
		if ctx.Err() != nil {
			return nil // received SIGTERM before it could join
		}
		return err
	}
	go func() { // ends this process if the referee has ended
		for os.Getppid() != 1 {
			time.Sleep(time.Second)
		}
		os.Exit(1)
	}()
	life, end := context.WithCancel(context.Background())
	defer end()
	go i.poll(ctx)
	go i.roundsUntil(life)
	<-ctx.Done()
	i.leave(life)
	return nil
}

func newRandom(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 1)) }

// open creates the clients and the committer.
func (i *instance) open(ctx context.Context, f *faults) error {
	common := []kgo.Opt{kgo.WithHooks(slowRequests{}), kgo.SeedBrokers(i.Address), kgo.Dialer(f.dial), kgo.ProducerLinger(0),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.RecordDeliveryTimeout(15 * time.Second),
		kgo.ProducerBatchCompression(kgo.NoCompression()),
		kgo.RetryTimeout(2 * time.Second), kgo.RetryBackoffFn(backoff), kgo.ConcurrentTransactionsBackoff(backoff(1)), kgo.MetadataMinAge(100 * time.Millisecond)}
	if !i.LargeBatches {
		common = append(common, batchLimit(i.names))
	}
	group, err := kgo.NewClient(kgo.SeedBrokers(i.Address),
		kgo.ConsumerGroup(i.names.group), kgo.ConsumeTopics(i.names.source),
		kgo.Balancers(kgo.CooperativeStickyBalancer()), kgo.DisableAutoCommit(),
		kgo.SessionTimeout(sessionTimeout), kgo.HeartbeatInterval(heartbeatEvery), kgo.RebalanceTimeout(rebalanceTimeout),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.FetchMaxWait(500*time.Millisecond),
		kgo.RetryTimeout(5*time.Second),
		kgo.OnOffsetsFetched(i.onOffsetsFetched), kgo.AdjustFetchOffsetsFn(i.onOffsets),
		kgo.OnPartitionsAssigned(i.onAssigned), kgo.OnPartitionsRevoked(i.onRevoked), kgo.OnPartitionsLost(i.onLost))
	if err != nil {
		return err
	}
	id := make([]byte, 8)
	crypto.Read(id)
	start := "tidings.committerbet." + reaction + "." + hex.EncodeToString(id)
	if i.Mode == modeTransactions {
		p, err := protocolOf(ctx, group, i.TxnVersion)
		for err != nil && sleep(ctx, 200*time.Millisecond) { // the broker may be down
			p, err = protocolOf(ctx, group, i.TxnVersion)
		}
		if err != nil {
			return err
		}
		i.committer = &transactional{names: i.names, id: start, protocol: p, group: group, options: common, overlap: i.Overlap, abortLost: i.AbortLost, blind: i.Blind}
	} else {
		producer, err := kgo.NewClient(common...)
		if err != nil {
			return err
		}
		i.committer = &atLeastOnce{names: i.names, start: start, producer: producer, group: group}
	}
	i.client = group
	close(i.joined)
	return nil
}

// batchLimit limits batches to the maximum of their topic. kgo then refuses a larger record by itself, and other
// records of the round are not affected.
func batchLimit(n names) kgo.Opt {
	return kgo.ProducerBatchMaxBytesFn(func(topic string) int32 {
		if topic == n.derived {
			return derivedMaxBytes
		}
		return 1_000_012
	})
}

// backoff returns how long to wait before a retry. It begins with a few milliseconds, because the broker is busy with
// the previous transaction only that long.
func backoff(tries int) time.Duration {
	return min(2*time.Millisecond<<min(tries, 8), 100*time.Millisecond)
}

// leave drains the partitions and leaves the group.
func (i *instance) leave(ctx context.Context) {
	i.mu.Lock()
	i.draining = true
	var all []*partition
	for _, p := range i.owned {
		all = append(all, p)
	}
	i.mu.Unlock()
	i.giveUp(ctx, all)
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	_ = i.client.LeaveGroupContext(ctx) // if this fails, the session times out
	i.committer.close()
	i.client.Close()
}
