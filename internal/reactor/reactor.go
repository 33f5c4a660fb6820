package reactor

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"tidings.dev/internal/cloudevent"
	"tidings.dev/internal/logclient"
	"tidings.dev/internal/obligation"
)

// Spec specifies one reaction: what it reads, how it handles events, and its limits. It must not be changed once it
// was passed to New.
type Spec struct {
	// Name is the name of the reaction and of its consumer group.
	Name string
	// App is the name of the app that the reaction belongs to.
	App string
	// Version is the version of the program. An instance of a lower version does not change which types the reaction
	// is subscribed to.
	Version obligation.Version
	// Instance is the static member name of this instance in the group (KIP-345); empty for a dynamic member.
	Instance string
	// Handlers has at most one handler of each type. Events of other types are not handled.
	Handlers []Handler
	// Topics has the topics that are read, including any without a handler. The value is the number of partitions with
	// which a missing topic is made; 0 means the broker's default.
	Topics map[string]int32
	// Start is where the reaction begins to read if it is new.
	Start Start
	// Concurrency is the number of handlers that may run at the same time; at least 1.
	Concurrency int
	// Buffer is the number of bytes that events which have arrived and are not done may take in memory; more than 0.
	Buffer int64
	// Window is the number of events of each partition that are remembered so that copies of them can be dropped; 0 to
	// MaxWindow.
	Window int
	// DropState is called, with the reactor's lock held, when no partition of a number is owned any more. It must drop
	// the states that were folded from events of partitions with that number. It may be nil if no handler has a Fold.
	DropState func(partition int32)
	// DrainTimeout is how long the reactor waits for running handlers when Run ends, and, at most for revokeTimeout,
	// when their partition goes to another instance. After that it cancels their contexts.
	DrainTimeout time.Duration
	// EmitTimeout is how long the log may take to acknowledge an event that a handler has emitted; then the event
	// being handled has failed. 0 means no limit.
	EmitTimeout time.Duration
	// MetadataMaxAge is the time after which new partitions of the topics are found at the latest.
	MetadataMaxAge time.Duration
	// Log receives failures and unusual conditions. Payloads are never logged.
	Log *slog.Logger
}

// Handler says how a reaction handles events of one type on one topic. Events of the type on another topic are not
// handled.
type Handler struct {
	Topic, Type string
	// Fold, if not nil, is called once for each event in each incarnation of its partition, in the order of the log
	// within a subject, with the reactor's lock held. If Handle is called for the event, Fold is called before. Fold
	// must not panic. If it ends its goroutine (runtime.Goexit) and Handle is to be called, it is called once more, and
	// must return then. The event is only valid during the call. The result is passed to Handle with each attempt to
	// handle the event.
	Fold func(*cloudevent.Event) any
	// Handle is called for each event, and again after each failure, on a worker's goroutine. It must not panic; if it
	// ends its goroutine (runtime.Goexit), the attempt has failed. ctx has the values of Run's context but does not
	// end with it: it ends when the partition is lost, or when draining or giving up the partition takes too long.
	// folded is the result of Fold for the event; nil without Fold.
	Handle func(ctx context.Context, e *cloudevent.Event, folded any) Outcome
	// Timeout is how long one call of Handle may take. After that its ctx ends, and another handler may run in its
	// place. The event stays open until Handle returns, and later events of its subject wait; the result of Handle
	// counts as if it had been in time. 0 means no timeout.
	Timeout time.Duration
	// Slow is how long a call of Handle runs before Stats and the log name it; 0 means never.
	Slow time.Duration
	// Retry returns how long to wait before the next attempt of an event of which failed attempts have failed. err is
	// the last failure: the error that Handle returned, or that of appending an emission.
	Retry func(err error, failed int) time.Duration
}

// Outcome is the result of one call of a handler. The zero value means that the event was handled and nothing was
// emitted. At most one of Emit, Skip and Err may be set.
type Outcome struct {
	// Emit has the records to append. The event counts as handled when all of them are durable, and has failed if one
	// of them cannot be appended.
	Emit []*kgo.Record
	// Appended has durable records that the handler has appended by itself, and that belong to the story of its event.
	Appended []*kgo.Record
	// Skip, if not nil, is the reason why the event counts as done without being handled.
	Skip *string
	// Err, if not nil, is why the event was not handled. The event is tried again, without limit; later events of its
	// subject wait.
	Err error
}

// Start says where a new reaction begins to read.
type Start struct {
	Kind StartKind
	At   time.Time // the time of FromTime; otherwise not used
}

// StartKind is the kind of a Start.
type StartKind int

const (
	FromEnd       StartKind = iota // with the records appended after the reaction has joined its group
	FromBeginning                  // with the oldest record that the log keeps
	FromTime                       // with the first record whose timestamp is Start.At or later
)

// Equal reports whether s and o are the same start.
func (s Start) Equal(o Start) bool { return s.Kind == o.Kind && s.At.Equal(o.At) }

// Stats has counts of what a reactor has done since it was made, and its present state.
type Stats struct {
	Handled, Retried, Skipped, Duplicates, Unhandled, Emitted int64

	NotUnderstood int64 // among Unhandled, records that claim to be CloudEvents and cannot be read as such

	Waiting  int   // events that have arrived and wait for their handler, or are being handled
	Dropped  int   // among Waiting, events whose payloads were dropped and will be read again
	Buffered int64 // bytes that waiting events take in memory
	Retrying int   // among Waiting, events that wait for another attempt
	Running  int   // handlers that run, including those of lost partitions and those past their timeout

	Slow []Slow // handlers that have been running for longer than their Slow, the longest first

	// StandsBy reports whether the instance takes in no records because the reaction is subscribed to types for which
	// it has no handler.
	StandsBy bool
}

// Reactor runs one reaction in this process: it performs the effects of a scheduler. Its methods are safe for
// concurrent use.
//
// mu protects the fields below it. It is held while effects are performed, so that they happen in the order in which
// the scheduler decided them. Nothing that waits for the log, for a handler or for kgo's group is done while mu is
// held. Invariants: owned has exactly the incarnations that the scheduler has partitions of; timers has exactly the
// items that wait for their next attempt, and those whose timer has fired and waits for mu; polling is a closed
// channel unless a pausePolling is in force.
type Reactor struct {
	spec       Spec
	handlers   map[string]*Handler        // by type
	stateful   bool                       // a handler has a Fold
	warned     sync.Map                   // names of the topics of which a record was not understood and logged
	client     *logclient.Client          // for questions about the log, and for facts that stay true if it loses something
	group      *kgo.Client                // the member of the reaction's group; set by join
	joined     chan struct{}              // closed when group is set: kgo makes callbacks before it has returned the client
	base       context.Context            // parent of the handlers' contexts; set by join
	ready      chan struct{}              // closed by becomeReady
	fatal      chan error                 // capacity 1; the reason why the session must end
	stood      chan struct{}              // capacity 1; receives a value when the instance stands down
	replaced   atomic.Bool                // another instance has taken the static member name
	resume     resumePoints               // used by kgo's callbacks only, which come one at a time
	subscribed *subscriptionLog           // used by Run before it joins and while it stands by, and by commit rounds
	derived    derivations                // used by kgo's callbacks only
	control    *controlLog                // the commands for the reaction
	topics     map[string]logclient.Topic // the reaction's topics by name, as they were when the session began
	watching   sync.WaitGroup             // goroutines that find out why a partition cannot be read

	epoch        time.Time // when the reactor was made
	acknowledged acknowledged

	// bound is the client of the session, for what it emits and marks and for its group: it ends when the log has lost something. It is
	// the reactor's client until begin sets it.
	bound atomic.Pointer[logclient.Client]

	fetched   fetchHook
	committer committer
	dirty     chan struct{} // capacity 1; receives a value when a commit round is wanted
	refetches chan struct{} // capacity 1; receives a value when a refetch is wanted
	// moves is held while a seek replaces an incarnation, and by kgo's callbacks when they begin to take partitions away,
	// so that kgo does not give a partition out again in between. It protects no field. It is locked before mu.
	moves sync.Mutex
	// rounds is held during a commit round, so that there is one at a time. It protects no field. It is locked before
	// mu.
	rounds sync.Mutex

	mu         sync.Mutex
	scheduler  *scheduler
	owned      map[incarnation]*ownership
	last       incarnation // the newest incarnation
	membership membership
	marksKnown int64     // an offset of tidings.reactions: of the partitions that are owned, the marks below it are known
	progressed time.Time // when the last round with progress began
	timers     retryTimers
	working    map[*worker]bool // those that have a goroutine
	idle       []*worker        // those that have none, to be used again; at most Concurrency
	supervised bool             // supervise will be called
	present    context.Context  // context of the session; ends when it takes in no more records
	watched    map[string]bool  // topics that watchTopic is finding out about
	polling    chan struct{}
	drained    time.Time // when draining is over; zero while the reactor does not drain
}

// maxTurn is the number of handlers that one worker runs, at most, before it reports what it has done.
const maxTurn = 32

// New returns a reactor for one reaction. It does nothing before Run is called. The caller closes the client after Run
// has returned.
func New(client *logclient.Client, spec Spec) *Reactor {
	r := &Reactor{
		spec:       spec,
		handlers:   make(map[string]*Handler),
		client:     client,
		derived:    derivations{reaction: spec.Name, client: client, from: make(map[derivedPartition]int64)},
		ready:      make(chan struct{}),
		fatal:      make(chan error, 1),
		stood:      make(chan struct{}, 1),
		subscribed: newSubscriptionLog(client, spec.Name),
		control:    newControlLog(client, spec.Name),
		dirty:      make(chan struct{}, 1),
		refetches:  make(chan struct{}, 1),
		owned:      make(map[incarnation]*ownership),
		topics:     make(map[string]logclient.Topic),
		watched:    make(map[string]bool),
		timers:     retryTimers{of: make(map[*item]*time.Timer)},
		polling:    make(chan struct{}),
		working:    make(map[*worker]bool),
		epoch:      time.Now(),
	}
	r.subscribed.topics = r.topics
	r.bound.Store(client)
	close(r.polling)
	for _, h := range spec.Handlers {
		r.handlers[h.Type] = &h
		r.stateful = r.stateful || h.Fold != nil
	}
	r.scheduler = newScheduler(config{
		stateful: r.stateful, concurrency: spec.Concurrency, turn: maxTurn, window: spec.Window, budget: spec.Buffer, limits: defaultLimits,
	})
	return r
}

// Ready returns a channel that is closed once every event that is appended from then on will be seen by the reaction,
// and its states are rebuilt.
func (r *Reactor) Ready() <-chan struct{} { return r.ready }

// Run joins the reaction's group and runs its handlers until ctx is done. It then drains: no handler is begun any
// more, running handlers finish, their emissions are appended, marks and positions are written, and the instance
// leaves the group. After that it returns nil. It returns an error if the reaction cannot begin or cannot go on: a
// [*Lost], a [*Beyond], or the error with which the log refused a request. When the client's Life ends, it returns
// without waiting for handlers. It must be called once.
func (r *Reactor) Run(ctx context.Context) error {
	watching, stopWatching := context.WithCancel(r.client.Life())
	var watcher sync.WaitGroup
	watcher.Go(func() { r.watch(watching) })
	defer watcher.Wait()
	defer stopWatching()

	subs, err := r.begin(ctx)
	for err == nil && ctx.Err() == nil {
		var stood bool
		stood, err = r.session(ctx, subs)
		switch _, again := errors.AsType[*changed](err); {
		case again:
			r.forget()
		case err != nil || !stood:
			return err
		default:
			if r.awaitTypes(ctx); ctx.Err() == nil {
				r.spec.Log.Info("the reaction goes on: this program handles all types that it is subscribed to")
			}
		}
		if err = nil; ctx.Err() == nil {
			r.step(rejoin{})
			subs, err = r.begin(ctx)
		}
	}
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// begin prepares a session. What the session writes of what it has done, and of what the log has acknowledged to it, goes through
// r.bound: if the log loses some of that, none of it is true any more.
func (r *Reactor) begin(ctx context.Context) (subscriptions, error) {
	bound, err := r.client.Bound()
	if err != nil {
		return subscriptions{}, err
	}
	r.bound.Store(bound)
	return r.subscribe(ctx)
}

// logLost reports whether the log has lost something during the session. Then it has another past than the session knows, and the
// session writes nothing more.
func (r *Reactor) logLost() bool {
	return r.bound.Load().Life().Err() != nil && r.client.Life().Err() == nil
}

// watchLog ends the session if the log loses something, until ctx is done.
func (r *Reactor) watchLog(ctx context.Context) {
	select {
	case <-r.bound.Load().Life().Done():
	case <-ctx.Done():
		return
	}
	if r.logLost() {
		r.spec.Log.Warn("the log has gone back; the reaction joins again, and handles again what the log does not say was handled")
		r.restart(&changed{obligation.ReactionsTopic})
	}
}

// forget drops what was read of the log about the reaction, so that the next session reads it again.
func (r *Reactor) forget() {
	r.subscribed.forget()
	r.control.forget()
	clear(r.derived.from)
}

// session is one membership of the group: it joins, runs handlers until ctx is done, the instance stands down or the
// reaction cannot go on, and leaves the group. stood reports whether the instance has stood down. The error is that of
// joining, or says why the reaction cannot go on. If it is a *remade, the caller must begin another session.
func (r *Reactor) session(ctx context.Context, subs subscriptions) (stood bool, err error) {
	present, endPresent := context.WithCancel(ctx)
	defer endPresent()
	r.mu.Lock()
	r.present = present
	r.mu.Unlock()
	if err := r.join(ctx, subs); err != nil {
		if ctx.Err() != nil {
			return false, nil
		}
		return false, err
	}
	rounds, cancelRounds := context.WithCancel(r.client.Life())
	stopRounds := make(chan struct{})
	var committing sync.WaitGroup
	committing.Go(func() { r.commitRounds(rounds, stopRounds) })
	refetching, stopRefetching := context.WithCancel(r.client.Life())
	var refetcher sync.WaitGroup
	refetcher.Go(func() { r.refetchRounds(refetching) })
	retention := time.NewTicker(retentionEvery)
	defer retention.Stop()
	refetcher.Go(func() { r.watchRetention(refetching, retention.C) })

	following, stopFollowing := context.WithCancel(r.client.Life())
	var follower sync.WaitGroup
	follower.Go(func() { r.followControl(following) })
	follower.Go(func() { r.watchLog(following) })

	stood, err = r.poll(ctx)
	endPresent()

	stopFollowing()
	follower.Wait()

	stopRefetching()
	refetcher.Wait()

	// Offsets that become done from here on are committed when the partitions are given up.
	close(stopRounds)
	impatient := time.AfterFunc(lastRoundTimeout, cancelRounds)
	committing.Wait()
	r.watching.Wait()
	impatient.Stop()
	cancelRounds()
	r.leave()
	r.group.Close()
	return stood, err
}

// Stats returns the present counts. It may be called at any time, also before and after Run.
func (r *Reactor) Stats() Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.scheduler.counts
	s := Stats{
		Handled: c.handled, Retried: c.retried, Skipped: c.skipped, Duplicates: c.duplicates, Unhandled: c.unhandled, Emitted: c.emitted, NotUnderstood: c.notUnderstood,
		Waiting: r.scheduler.waiting(), Buffered: r.scheduler.bytes, Dropped: r.scheduler.inBacklogs,
		Retrying: r.scheduler.retrying, StandsBy: r.scheduler.stoodDown,
		Running: len(r.working),
	}
	for _, i := range r.slowest(time.Now()) {
		s.Slow = append(s.Slow, i.name())
	}
	return s
}

// fail makes the session end with err. If it is called several times, the first error counts. It does not block.
func (r *Reactor) fail(err error) {
	select {
	case r.fatal <- err:
		r.spec.Log.LogAttrs(context.Background(), slog.LevelError, "the reaction stops", slog.Any("error", err))
	default:
	}
}

func (r *Reactor) topicNames() []string { return slices.Sorted(maps.Keys(r.spec.Topics)) }

// handlerOf returns the handler of an event, or nil if the reaction does not handle it.
func (r *Reactor) handlerOf(e *cloudevent.Event) *Handler {
	if h := r.handlers[e.Type]; h != nil && h.Topic == e.Topic {
		return h
	}
	return nil
}
