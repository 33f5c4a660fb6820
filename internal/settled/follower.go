package settled

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"tidings.dev/internal/logclient"
	"tidings.dev/internal/obligation"
)

const (
	// A question that was not answered is asked again after askAgain, and then after twice as long each time, up to
	// askSeldom.
	askAgain  = time.Second
	askSeldom = 8 * time.Second
	// lookAfter is how long a wait goes on before it checks whether an indexer runs.
	lookAfter = 100 * time.Millisecond
)

// Follower reads tidings.story for all receipts of an app that wait. It begins with the first receipt, at the end of
// the topic, and follows the topic until Close, which costs one long poll at a time. If the fact for a receipt may
// have been written before, or was dropped since, Follower asks the elected indexer by a record on tidings.questions.
// Its methods are safe for concurrent use.
type Follower struct {
	log      *slog.Logger
	lc       *logclient.Client
	indexers indexers

	// starting is held by start, so that there is one start at a time. It protects no field. It is locked before mu.
	starting sync.Mutex

	// mu protects the fields below. Invariant: cl is not nil exactly while the goroutine of run works and Close has
	// not been called; after Close it is nil for ever.
	mu     sync.Mutex
	board  *Board        // set together with cl
	from   int64         // the offset of tidings.story at which the reading began
	cl     *kgo.Client   // nil before the first wait
	done   chan struct{} // closed when run has returned; set together with cl
	closed bool
	losses int // what lc.Losses returned when the board last forgot what was lost
}

// New returns a follower that reads nothing yet. indexed reports whether an indexer was started together with the log;
// if so, waits give an indexer more time to appear. The caller closes the follower before lc.
func New(lc *logclient.Client, indexed bool, log *slog.Logger) *Follower {
	return &Follower{log: log, lc: lc, indexers: indexers{lc: lc, seen: indexed}}
}

// Await blocks until tidings.story has a fact which says that the story of e has settled, e included. Errors match
// ErrNoIndexer if no indexer runs, logclient.ErrClosed once the client's Life has ended, or logclient.ErrUnreachable
// if the log cannot be reached for the first wait, or are ctx's.
func (f *Follower) Await(ctx context.Context, e Event) error {
	w, err := f.add(ctx, e)
	if err != nil {
		return fmt.Errorf("waiting for %s to settle: %w", e.Correlation, err)
	}
	defer f.remove(w)
	questions := question{pause: askAgain}
	tick := time.NewTimer(lookAfter)
	defer tick.Stop()
	questions.ask(f, w)
	for {
		loss, settled := f.lc.Loss(), w.ended()
		if f.lc.LostSince(e.Losses, e.Topic, e.Partition, e.Offset) {
			return fmt.Errorf("waiting for %s to settle: %w: %s/%d@%d", e.Correlation, ErrEventLost, e.Topic, e.Partition, e.Offset)
		}
		if settled {
			return nil
		}
		select {
		case <-loss:
		case <-w.Settled():
		case <-f.lc.Life().Done():
			return logclient.ErrClosed
		case <-ctx.Done():
			if f.indexers.absent() {
				return fmt.Errorf("waiting for %s to settle: %w: %w", e.Correlation, ctx.Err(), ErrNoIndexer)
			}
			return ctx.Err()
		case <-tick.C:
			if err := f.indexers.check(ctx); err != nil {
				return fmt.Errorf("waiting for %s to settle: %w", e.Correlation, err)
			}
			questions.ask(f, w)
			tick.Reset(lookAgain)
		}
	}
}

// ErrEventLost is matched by the error of Await if the log has lost the event. Package tidings exports it.
var ErrEventLost = errors.New("tidings: the log has lost the event")

// question says when a wait may ask the indexer next.
type question struct {
	next  time.Time
	pause time.Duration
}

// ask asks the indexer if w needs an answer and the time for it has come.
func (q *question) ask(f *Follower, w *Wait) {
	f.mu.Lock()
	asks, from := f.board.Asks(w), f.from
	f.mu.Unlock()
	if !asks || time.Now().Before(q.next) {
		return
	}
	q.next, q.pause = time.Now().Add(q.pause), min(2*q.pause, askSeldom)
	asked := &obligation.Question{Correlation: w.event.Correlation, StoryEnd: from, At: time.Now().UTC()}
	f.lc.Offer(&kgo.Record{Topic: asked.RecordTopic(), Key: []byte(asked.Key()), Value: obligation.Encode(asked)})
}

// add adds a wait for e. With the first wait, the reading begins.
func (f *Follower) add(ctx context.Context, e Event) (*Wait, error) {
	if f.lc.Life().Err() != nil {
		return nil, logclient.ErrClosed
	}
	if err := f.start(ctx); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil, logclient.ErrClosed
	}
	f.forgetLost()
	return f.board.Add(e), nil
}

// forgetLost drops the facts that were read if the log has lost something since, as it may have lost them, or what they rest on. f.mu
// must be held.
func (f *Follower) forgetLost() {
	if losses := f.lc.Losses(); losses != f.losses {
		f.losses = losses
		f.board.Forget(time.Now())
	}
}

// start makes the kgo client that reads from the ends of the topics on, unless there is one or the follower is closed.
func (f *Follower) start(ctx context.Context) error {
	f.starting.Lock()
	defer f.starting.Unlock()
	f.mu.Lock()
	begun := f.cl != nil || f.closed
	f.mu.Unlock()
	if begun {
		return nil
	}
	for _, t := range []string{obligation.StoryTopic, obligation.QuestionsTopic} {
		if _, err := f.lc.Topic(ctx, t); err != nil {
			return err
		}
	}
	ends, err := f.lc.Ends(ctx, obligation.StoryTopic, obligation.QuestionsTopic)
	if err != nil {
		return err
	}
	board := NewBoard(time.Now())
	offsets := make(map[string]map[int32]kgo.Offset, len(ends))
	for topic, end := range ends {
		offsets[topic] = map[int32]kgo.Offset{0: kgo.NewOffset().At(end[0])}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil
	}
	cl, err := kgo.NewClient(f.lc.Kgo(kgo.ConsumePartitions(offsets), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.DisableClientMetrics())...)
	if err != nil {
		return err
	}
	f.cl, f.done, f.board, f.from = cl, make(chan struct{}), board, ends[obligation.StoryTopic][0]
	go f.run(cl, f.done)
	return nil
}

// run takes in facts and answers until cl is closed. Then it closes done.
func (f *Follower) run(cl *kgo.Client, done chan struct{}) {
	defer close(done)
	for {
		fetches := cl.PollFetches(context.Background())
		if fetches.IsClientClosed() {
			return
		}
		if errs := fetches.Errors(); len(errs) > 0 {
			f.onErrors(cl, errs)
		}
		now := time.Now()
		f.mu.Lock()
		f.forgetLost()
		fetches.EachRecord(func(r *kgo.Record) {
			fact, err := obligation.Decode(r.Value)
			if err != nil {
				return
			}
			switch fact := fact.(type) {
			case *obligation.Settled:
				f.board.Take(fact, now)
			case *obligation.Reopened:
				f.board.TakeReopened(fact, now)
			case *obligation.Answer:
				f.board.TakeAnswer(fact, f.from)
			}
		})
		f.mu.Unlock()
	}
}

// retryAfter is the pause after a poll that has failed.
const retryAfter = 200 * time.Millisecond

// onErrors logs the errors of a poll and pauses, because the brokers may refuse each fetch at once. If a topic was
// deleted, it makes the topic again and reads it from its start.
func (f *Follower) onErrors(cl *kgo.Client, errs []kgo.FetchError) {
	gone := make(map[string]bool)
	for _, e := range errs {
		f.log.Warn("cannot follow the stories", "error", e.Err)
		if errors.Is(e.Err, kerr.UnknownTopicID) || errors.Is(e.Err, kerr.UnknownTopicOrPartition) {
			gone[e.Topic] = true
		}
	}
	life := f.lc.Life()
	select {
	case <-time.After(retryAfter):
	case <-life.Done():
		return
	}
	for topic := range gone {
		f.lc.Forget(topic)
		if _, err := f.lc.Topic(life, topic); err != nil {
			continue // the next poll fails, too
		}
		cl.PurgeTopicsFromConsuming(topic)
		cl.AddConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().AtStart()}})
		if topic == obligation.StoryTopic {
			f.mu.Lock()
			f.from = 0
			f.mu.Unlock()
		}
	}
}

// remove removes a wait from the board.
func (f *Follower) remove(w *Wait) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.board.Remove(w)
}

// Close ends the reading and waits until it has ended. It does not end waits: they end with the Life of the client.
// Close may be called again.
func (f *Follower) Close() {
	f.mu.Lock()
	cl, done := f.cl, f.done
	f.cl, f.closed = nil, true
	f.mu.Unlock()
	if cl != nil {
		cl.Close()
		<-done
	}
}
