package story

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"tidings.dev"
	"tidings.dev/internal/logclient"
	"tidings.dev/internal/obligation"
)

const (
	// sessionTimeout is the time without a heartbeat after which the group removes a member. It is the shortest that
	// brokers allow by default.
	sessionTimeout    = 6 * time.Second
	heartbeatInterval = time.Second
	// handOver is how long an indexer that is no longer elected waits for the appends that it has begun.
	handOver = 2 * time.Second
	// questionsSince is the maximum age of the questions that the first elected indexer answers, as its group has no
	// committed position.
	questionsSince = 10 * time.Second
)

// election is the membership of an indexer in the consumer group obligation.IndexersGroup. The topic
// obligation.QuestionsTopic has one partition. The member to which this partition is assigned is elected, and reads
// the questions. If a member dies, another is elected when its session has ended; if it leaves, at once.
//
// Two members must not append at the same time. OnPartitionsRevoked therefore ends the term, and waits for the
// appends that were begun under it, before the partition is given away. A member that has heard nothing from its
// group for a session timeout stops appending by itself (current).
type election struct {
	log       *slog.Logger
	lc        *logclient.Client
	cl        *kgo.Client
	instance  string // static member name (KIP-345) in the group; empty if there is none
	questions chan []*obligation.Question
	changed   chan struct{} // has capacity 1; holds a value after a term has begun or ended, until it is received

	mu   sync.Mutex // protects the fields below
	term *term      // nil if not elected
	beat time.Time  // the latest time at which the group is known to have heard from this member
}

// term is a period in which the indexer is elected. Only the goroutine of Indexer.Run begins appends under it.
type term struct {
	ctx      context.Context // done when the term has ended
	end      context.CancelFunc
	appended sync.WaitGroup // the appends under way
}

// staticIndexers has the static member names that are in use by indexers of this process.
var staticIndexers sync.Map

// newElection joins the group. The topics of package obligation must exist. The caller must call close.
func newElection(lc *logclient.Client, link *tidings.Link, log *slog.Logger) (*election, error) {
	e := &election{
		log: log, lc: lc, beat: time.Now(),
		questions: make(chan []*obligation.Question), changed: make(chan struct{}, 1),
	}
	opts := []kgo.Opt{
		kgo.ConsumerGroup(obligation.IndexersGroup), kgo.ConsumeTopics(obligation.QuestionsTopic),
		kgo.SessionTimeout(sessionTimeout), kgo.HeartbeatInterval(heartbeatInterval), kgo.RebalanceTimeout(sessionTimeout),
		kgo.ConsumeResetOffset(kgo.NewOffset().AfterMilli(time.Now().Add(-questionsSince).UnixMilli())),
		kgo.OnPartitionsAssigned(e.onAssigned), kgo.OnPartitionsRevoked(e.onRevoked), kgo.OnPartitionsLost(e.onRevoked),
		kgo.WithHooks(e), kgo.DisableClientMetrics(),
	}
	// An embedded broker remembers its members across a restart. If the indexer joins with its old name, it need not
	// wait until its previous session has ended.
	if link.Instance != "" {
		name := link.Instance + ".indexer"
		if _, taken := staticIndexers.LoadOrStore(name, true); !taken {
			e.instance = name
			opts = append(opts, kgo.InstanceID(name))
		}
	}
	var err error
	if e.cl, err = kgo.NewClient(lc.Kgo(opts...)...); err != nil {
		e.giveNameBack()
		return nil, err
	}
	return e, nil
}

// giveNameBack makes the static member name available to other indexers of this process.
func (e *election) giveNameBack() {
	if e.instance != "" {
		staticIndexers.Delete(e.instance)
	}
}

// close leaves the group, so that another member is elected at once, and closes the client.
func (e *election) close() {
	ctx, cancel := context.WithTimeout(context.Background(), handOver)
	defer cancel()
	err := e.cl.LeaveGroupContext(ctx)
	if e.instance != "" && err == nil {
		_, err = kadm.NewClient(e.cl).LeaveGroup(ctx, kadm.LeaveGroup(obligation.IndexersGroup).InstanceIDs(e.instance).Reason("closed"))
	}
	if err != nil {
		e.log.Debug("story: leaving the group of indexers", "err", err)
	}
	e.endTerm()
	e.cl.Close()
	e.giveNameBack()
}

// OnBrokerE2E implements kgo.HookBrokerE2E. It records when the group last answered. The group also answers a member
// that it no longer knows; kgo then calls OnPartitionsLost at once.
func (e *election) OnBrokerE2E(_ kgo.BrokerMetadata, key int16, e2e kgo.BrokerE2E) {
	switch kmsg.Key(key) {
	case kmsg.Heartbeat, kmsg.JoinGroup, kmsg.SyncGroup:
		if e2e.Err() == nil {
			e.mu.Lock()
			defer e.mu.Unlock()
			if asked := time.Now().Add(-e2e.DurationE2E()); asked.After(e.beat) {
				e.beat = asked
			}
		}
	}
}

// onAssigned begins a term if the partition of the questions is assigned to this member.
func (e *election) onAssigned(_ context.Context, _ *kgo.Client, assigned map[string][]int32) {
	if len(assigned[obligation.QuestionsTopic]) == 0 {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	e.mu.Lock()
	if e.term == nil {
		e.term, e.beat = &term{ctx: ctx, end: cancel}, time.Now()
	} else {
		cancel()
	}
	e.mu.Unlock()
	e.tell()
}

// onRevoked ends the term if the partition of the questions is taken from this member, or was lost.
func (e *election) onRevoked(_ context.Context, _ *kgo.Client, revoked map[string][]int32) {
	if len(revoked[obligation.QuestionsTopic]) > 0 {
		e.endTerm()
	}
}

// endTerm ends the term, if there is one, and waits for the appends that were begun under it, for at most handOver.
func (e *election) endTerm() {
	e.mu.Lock()
	t := e.term
	e.term = nil
	if t != nil {
		t.end()
	}
	e.mu.Unlock()
	if t == nil {
		return
	}
	e.tell()
	done := make(chan struct{})
	go func() {
		t.appended.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(handOver):
	}
}

// tell wakes the goroutine of Indexer.Run after a change of the term.
func (e *election) tell() {
	select {
	case e.changed <- struct{}{}:
	default:
	}
}

// current returns the term, or nil if the indexer is not elected, or may have been replaced because it has not heard
// from its group for sessionTimeout.
func (e *election) current() *term {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.term == nil || time.Since(e.beat) > sessionTimeout {
		return nil
	}
	return e.term
}

// append appends a record under term t, like logclient.Client.Produce. It returns errTermOver once the term has
// ended.
func (e *election) append(t *term, r *kgo.Record, done func(error)) error {
	e.mu.Lock()
	if e.term != t || t == nil {
		e.mu.Unlock()
		return errTermOver
	}
	t.appended.Add(1)
	e.mu.Unlock()
	err := e.lc.Produce(t.ctx, r, func(err error) {
		defer t.appended.Done()
		done(err)
	})
	if err != nil {
		t.appended.Done()
	}
	return err
}

var errTermOver = errors.New("story: another indexer is elected")

// run reads questions and sends them to e.questions, until ctx is done.
func (e *election) run(ctx context.Context) {
	for {
		fetches := e.cl.PollFetches(ctx)
		if ctx.Err() != nil || fetches.IsClientClosed() {
			return
		}
		if err := fetches.Err(); err != nil {
			e.onError(ctx, err)
		}
		var questions []*obligation.Question
		fetches.EachRecord(func(r *kgo.Record) {
			if f, err := obligation.Decode(r.Value); err == nil {
				if q, ok := f.(*obligation.Question); ok {
					questions = append(questions, q)
				}
			}
		})
		if len(questions) == 0 {
			continue
		}
		select {
		case e.questions <- questions:
		case <-ctx.Done():
			return
		}
	}
}

// onError logs why questions could not be read, and waits for roundRetry. If the topic was deleted, onError creates
// it again.
func (e *election) onError(ctx context.Context, err error) {
	e.log.Warn("story: reading questions", "err", err)
	select {
	case <-time.After(roundRetry):
	case <-ctx.Done():
		return
	}
	if !errors.Is(err, kerr.UnknownTopicID) && !errors.Is(err, kerr.UnknownTopicOrPartition) {
		return
	}
	e.lc.Forget(obligation.QuestionsTopic)
	if _, err := e.lc.Topic(ctx, obligation.QuestionsTopic); err != nil {
		e.log.Debug("story: making the topic of questions", "err", fmt.Errorf("%s: %w", obligation.QuestionsTopic, err))
		return
	}
	e.cl.PurgeTopicsFromConsuming(obligation.QuestionsTopic)
	e.cl.AddConsumeTopics(obligation.QuestionsTopic)
}
