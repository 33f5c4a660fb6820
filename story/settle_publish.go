package story

import (
	"context"
	"log/slog"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"tidings.dev/internal/obligation"
)

const (
	freezeEvery    = 10 * time.Millisecond  // least time between two rounds: under load one round serves many stories
	unreadFor      = 200 * time.Millisecond // time after which what a story waits for may never be read
	roundRetry     = 100 * time.Millisecond // pause after the offsets could not be read
	stuckAfter     = time.Second            // time without progress after which retention may have removed what is waited for
	judgeShare     = 10                     // judging candidates in doubt again takes at most one of so many parts of the time
	requestTimeout = 10 * time.Second       // limit of each request to the brokers other than fetching and producing
)

// settlePublisher takes the judge through the steps of its rule (see judge), and appends the verdicts to tidings.story. It has two
// kinds of rounds, which go on side by side:
//
//   - A round of the marks is short: its offsets are those of the topics of obligations. It begins when a story is due. When it has ended,
//     the stories that were due when it began are judged, and those about which there is doubt are judged again after each
//     step that the index has taken.
//   - A round of the log waits until the index has passed the high watermarks of everything. It begins when there are stories
//     that only this makes certain, and when one has waited for longer than unreadFor until what it has led to was read: that may never
//     come, if a topic was deleted. When it has ended, the stories are judged that were candidates when it began.
//
// One trip through the states of a round:
//
//	         it is needed, and freezeEvery has passed             offsets are read
//	idle ──────────────────────────────────────────────▶ reading ─────────────────────▶ catching up
//	  ▲             step 1, ask for offsets (2)             │                                │
//	  ├──────────── they could not be read: roundRetry ─────┘                                │
//	  └──── index is past all offsets (3): verdicts (4), append a fact for each ─────────────┘
//
// If an append fails, the story becomes due again (retryVerdict) and a later round judges it anew. If the story then
// gets a fact with the same episode, the publisher appends the identical fact, because the failed append may have
// reached the log after all. If an append succeeds, the story stays in judge.publishing until its fact is read from
// tidings.story, or until that topic turns out not to have it any more, as the log has gone back: then it is due again, too.
//
// All but appends belongs to the goroutine of Indexer.Run, which calls step after everything that happens: records that
// were applied, and news on answers, timer and appends.news, which it selects on.
type settlePublisher struct {
	ix          *Index
	log         *slog.Logger
	passRemoved func(context.Context) error                           // moves the index past what retention removed
	produce     func(context.Context, *kgo.Record, func(error)) error // as logclient.Client.Produce

	marks, all judgeRound

	timer   *time.Timer      // runs while a round is to begin later
	answers chan roundAnswer // of capacity 2: each round has at most one request under way

	passed      uint64    // the last round of the marks that has ended; 0 before the first
	doubtful    doubts    // as of the last verdicts
	oldestSince time.Time // when doubtful.oldest got its value
	judgeNext   time.Time // when candidates in doubt may be judged again
	wake        time.Time // when step is to be called, also if nothing happens; zero: it need not be

	appends appends
}

// judgeRound is a judging round of one kind, and the pause after it.
type judgeRound struct {
	ends func(context.Context) (targets, error) // asks for the offsets of step 2

	state publishState
	id    uint64    // the judge's, of the round under way
	next  time.Time // when the next one may begin

	// While catching up.
	waitFor   targets   // the offsets of step 2
	left      int64     // offsets below them that the index had not read when it was last looked at
	leftSince time.Time // when left last changed
}

// publishState is where a round is.
type publishState uint8

const (
	publishIdle       publishState = iota
	publishReading                 // a goroutine is asking for the offsets
	publishCatchingUp              // the index is reading up to them
)

// roundAnswer is the result of a request for the offsets of a round: ends, or err.
type roundAnswer struct {
	round *judgeRound
	id    uint64
	ends  targets
	err   error
}

// newSettlePublisher returns a publisher for one call of x.Run. The caller must call stop in the end.
func newSettlePublisher(x *Indexer) *settlePublisher {
	s := &settlePublisher{ix: x.ix, log: x.log, passRemoved: x.follower.passRemoved, produce: x.append}
	s.marks.ends, s.all.ends = x.follower.marksEnds, x.follower.ends
	s.init()
	return s
}

// init makes the channels and the timer.
func (s *settlePublisher) init() {
	s.timer, s.answers = time.NewTimer(time.Hour), make(chan roundAnswer, 2)
	s.timer.Stop()
	s.appends.news = make(chan struct{}, 1)
}

// stop stops the timer. A request for offsets that is under way ends with the context of the step that began it.
func (s *settlePublisher) stop() { s.timer.Stop() }

// step performs the transitions that are possible now. It may block on the index, and on the brokers for up to
// requestTimeout if the index makes no progress. It does not wait for appends.
func (s *settlePublisher) step(ctx context.Context) {
	s.wake = time.Time{}
	s.retryMissing()
	ended := s.catchUp(ctx, &s.marks)
	if ended {
		s.passed = s.marks.id
	}
	if s.catchUp(ctx, &s.all) {
		s.publish(ctx, s.ix.allRead(s.all.id, time.Now().UTC()))
		ended = true // the doubts have changed
	}
	if ended || s.doubtful.unread > 0 && s.due(s.judgeNext) {
		s.judge(ctx)
	}
	if s.ix.hasPending() {
		s.begin(ctx, &s.marks, s.ix.freeze)
	}
	if s.doubtful.untraced > 0 || s.doubtful.unread > 0 && s.due(s.oldestSince.Add(unreadFor)) {
		s.begin(ctx, &s.all, s.ix.beginAll)
	}
	if !s.wake.IsZero() {
		s.timer.Reset(time.Until(s.wake))
	}
}

// due reports whether a time has come. If it has not, step is called again then.
func (s *settlePublisher) due(at time.Time) bool {
	if time.Until(at) <= 0 {
		return true
	}
	if s.wake.IsZero() || at.Before(s.wake) {
		s.wake = at
	}
	return false
}

// judge publishes the verdicts about the candidates of the rounds of the marks that have ended.
func (s *settlePublisher) judge(ctx context.Context) {
	now := time.Now()
	found, doubtful := s.ix.verdicts(s.passed, now.UTC())
	if doubtful.oldest != s.doubtful.oldest {
		s.oldestSince = now
	}
	s.doubtful, s.judgeNext = doubtful, time.Now().Add(judgeShare*time.Since(now))
	s.publish(ctx, found)
}

// begin begins a round, unless one of its kind is under way or it is too early: steps 1 and 2 of the rule. step1 is the first one.
func (s *settlePublisher) begin(ctx context.Context, r *judgeRound, step1 func() uint64) {
	if r.state != publishIdle || !s.due(r.next) {
		return
	}
	r.id, r.next, r.state = step1(), time.Now().Add(freezeEvery), publishReading
	id := r.id
	go func() {
		ctx, cancel := context.WithTimeout(ctx, requestTimeout)
		defer cancel()
		ends, err := r.ends(ctx)
		select {
		case s.answers <- roundAnswer{r, id, ends, err}:
		case <-ctx.Done():
		}
	}()
}

// abandon ends the rounds without verdicts: the indexer is elected anew, or not any more. What was frozen is judged by later
// rounds.
func (s *settlePublisher) abandon() {
	for _, r := range []*judgeRound{&s.marks, &s.all} {
		r.state, r.waitFor, r.id = publishIdle, nil, 0
	}
	s.passed, s.doubtful = 0, doubts{}
	s.ix.thaw()
}

// onAnswer is called with what was received from answers, the result of step 2. The caller calls step after it.
func (s *settlePublisher) onAnswer(a roundAnswer) {
	r := a.round
	if a.id != r.id {
		return // that round was abandoned
	}
	if a.err != nil {
		s.log.Debug("story: reading the ends of the log", "err", a.err)
		r.next = time.Now().Add(roundRetry)
		r.state = publishIdle
		return
	}
	r.waitFor, r.leftSince, r.left, r.state = a.ends, time.Now(), 0, publishCatchingUp
}

// catchUp ends a round, and returns true, if it is catching up and the index is past its offsets: step 3 of the rule.
func (s *settlePublisher) catchUp(ctx context.Context, r *judgeRound) bool {
	if r.state != publishCatchingUp {
		return false
	}
	if left := s.ix.left(r.waitFor); left > 0 {
		if left != r.left {
			r.left, r.leftSince = left, time.Now()
		} else if time.Since(r.leftSince) > stuckAfter {
			r.leftSince = time.Now()
			if err := s.passRemoved(ctx); err != nil {
				s.log.Debug("story: reading the starts of the log", "err", err)
			}
		}
		return false
	}
	r.state, r.waitFor = publishIdle, nil
	return true
}

// publish appends verdicts: step 4 of the rule.
func (s *settlePublisher) publish(ctx context.Context, found []verdict) {
	for _, v := range found {
		r := v.record()
		err := s.produce(ctx, r, func(err error) {
			if err != nil {
				s.appends.fail(v)
			} else {
				s.appends.succeed(v, r.Offset)
			}
		})
		if err != nil {
			s.appends.fail(v)
		}
	}
}

// retryFailed makes the stories due again whose verdicts could not be appended. Run calls it after it has received
// from s.appends.news.
func (s *settlePublisher) retryFailed() { s.ix.retryVerdicts(s.appends.takeFailed()) }

// retryMissing makes the stories due again whose facts were appended, but are not in tidings.story any more: the index has read past
// them and has not met them.
func (s *settlePublisher) retryMissing() {
	s.ix.retryVerdicts(s.ix.stillPublishing(s.appends.takeBelow(s.ix.position(obligation.StoryTopic, 0))))
}

// begunAnew is called after the index was compared with the log over a new connection, and fits. The log may have gone back all the
// same, to where the index had read it. So the rounds are abandoned: offsets that they wait for may never be reached. Stories
// become due again whose facts were appended beyond the end of tidings.story. end asks the brokers for that; if it fails, so
// does begunAnew, and must be called again.
func (s *settlePublisher) begunAnew(ctx context.Context, end func(context.Context) (int64, error)) error {
	if have := s.appends.have(); have > 0 { // those that are appended from now on may be beyond the end that is read
		at, err := end(ctx)
		if err != nil {
			return err
		}
		s.ix.retryVerdicts(s.ix.stillPublishing(s.appends.takeBeyond(at, have)))
	}
	s.abandon()
	return nil
}

// appends collects what has become of the appends of verdicts. The Kafka client's goroutines add to it. mu protects failed and
// succeeded.
type appends struct {
	news      chan struct{} // has capacity 1; holds a value whenever failed is not empty
	mu        sync.Mutex
	failed    []verdict
	succeeded []appended // those whose facts may not have been read yet
}

// appended is a verdict that was appended at an offset of tidings.story.
type appended struct {
	verdict
	offset int64
}

// fail adds a verdict that could not be appended. It may be called from any goroutine and does not block.
func (a *appends) fail(v verdict) {
	a.mu.Lock()
	a.failed = append(a.failed, v)
	a.mu.Unlock()
	select {
	case a.news <- struct{}{}:
	default:
	}
}

// succeed adds a verdict that was appended at an offset. It may be called from any goroutine and does not block.
func (a *appends) succeed(v verdict, offset int64) {
	a.mu.Lock()
	a.succeeded = append(a.succeeded, appended{v, offset})
	a.mu.Unlock()
}

// takeFailed removes and returns the verdicts that could not be appended.
func (a *appends) takeFailed() []verdict {
	a.mu.Lock()
	defer a.mu.Unlock()
	verdicts := a.failed
	a.failed = nil
	return verdicts
}

// takeBelow removes and returns the verdicts that were appended below a position.
func (a *appends) takeBelow(position int64) []verdict {
	return a.take(func(v appended) bool { return v.offset < position }, math.MaxInt)
}

// have returns the number of verdicts that were appended and not taken.
func (a *appends) have() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.succeeded)
}

// takeBeyond removes and returns the verdicts that were appended at an end or later, of the first ones.
func (a *appends) takeBeyond(end int64, first int) []verdict {
	return a.take(func(v appended) bool { return v.offset >= end }, first)
}

// take removes and returns the verdicts of which a condition is true, of the first ones that were appended.
func (a *appends) take(which func(appended) bool, first int) (verdicts []verdict) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.succeeded = slices.DeleteFunc(a.succeeded, func(v appended) bool {
		if first--; first < 0 || !which(v) {
			return false
		}
		verdicts = append(verdicts, v.verdict)
		return true
	})
	return verdicts
}
