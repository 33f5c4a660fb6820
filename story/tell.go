package story

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	bolt "go.etcd.io/bbolt"
	"tidings.dev/internal/obligation"
)

// teller takes the judge through its steps and tells the log what it finds. It belongs to Run's goroutine.
//
//	idle ── freeze ──▶ asking ── watermarks ──▶ waiting ── index has passed them ──▶ tell ──▶ idle
type teller struct {
	x      *Indexer
	state  tellState
	asked  chan answer
	again  *time.Timer // the earliest time for the next question
	frozen time.Time
	wait   watermarks
	since  time.Time // when wait was last found to be passed a little more
	left   int64

	failed failures

	dirty      bool // positions have moved since the last commit
	committed  time.Time
	committing chan struct{} // holds one value while no commit is under way
}

type tellState uint8

const (
	tellIdle tellState = iota
	tellAsking
	tellWaiting
)

// answer is what the brokers say to a question for watermarks.
type answer struct {
	ends watermarks
	err  error
}

func newTeller(x *Indexer) *teller {
	t := &teller{x: x, asked: make(chan answer, 1), again: time.NewTimer(time.Hour), committing: make(chan struct{}, 1)}
	t.again.Stop()
	t.committing <- struct{}{}
	t.failed.news = make(chan struct{}, 1)
	return t
}

func (t *teller) stop() { t.again.Stop() }

// step does what can be done now, after anything has happened.
func (t *teller) step(ctx context.Context) {
	if !t.x.opts.Emit {
		return
	}
	if t.state == tellWaiting {
		t.onWaiting(ctx)
	}
	if t.state == tellIdle {
		t.onIdle(ctx)
	}
}

// onIdle freezes the candidates and asks for all watermarks, but not at a higher rate than freezeEvery: under load
// one question serves many stories.
func (t *teller) onIdle(ctx context.Context) {
	if !t.x.ix.candidates() {
		return
	}
	if wait := time.Until(t.frozen.Add(freezeEvery)); wait > 0 {
		t.again.Reset(wait)
		return
	}
	t.x.ix.freeze()
	t.frozen, t.state = time.Now(), tellAsking
	go func() {
		ctx, cancel := context.WithTimeout(ctx, requestTimeout)
		defer cancel()
		ends, err := t.x.follow.ends(ctx)
		t.asked <- answer{ends, err}
	}()
}

// answered hears the watermarks.
func (t *teller) answered(a answer) {
	if a.err != nil {
		t.x.log.Debug("story: reading watermarks", "err", a.err)
		t.frozen = time.Now().Add(retryEvery)
		t.state = tellIdle
		return
	}
	t.wait, t.since, t.left, t.state = a.ends, time.Now(), 0, tellWaiting
}

// onWaiting tells the verdicts once the index has passed the watermarks.
func (t *teller) onWaiting(ctx context.Context) {
	left := t.x.ix.left(t.wait)
	if left > 0 {
		if left != t.left {
			t.left, t.since = left, time.Now()
		} else if time.Since(t.since) > stuckAfter {
			t.since = time.Now()
			if err := t.x.follow.unstick(ctx); err != nil {
				t.x.log.Debug("story: reading the starts of the log", "err", err)
			}
		}
		return
	}
	t.state, t.wait = tellIdle, nil
	for _, v := range t.x.ix.verdicts(time.Now().UTC()) {
		t.x.client.Produce(ctx, factRecord(v.fact), func(_ *kgo.Record, err error) {
			if err != nil {
				t.failed.add(v.story)
			}
		})
	}
}

// commit commits how far the index is, once in a while. Nothing depends on it.
func (t *teller) commit(ctx context.Context) {
	if !t.x.opts.Emit || !t.dirty || time.Since(t.committed) < commitEvery {
		return
	}
	select {
	case <-t.committing:
	default:
		return
	}
	t.dirty, t.committed = false, time.Now()
	var offsets kadm.Offsets
	t.x.ix.eachPosition(func(topic string, p int32, next int64) { offsets.AddOffset(topic, p, next, -1) })
	go func() {
		ctx, cancel := context.WithTimeout(ctx, requestTimeout)
		defer cancel()
		if err := kadm.NewClient(t.x.client).CommitAllOffsets(ctx, Group, offsets); err != nil {
			t.x.log.Debug("story: committing positions", "err", err)
		}
		t.committing <- struct{}{}
	}()
}

// failures are stories whose facts could not be appended.
type failures struct {
	news chan struct{}
	mu   sync.Mutex
	list []storyNum
}

func (f *failures) add(n storyNum) {
	f.mu.Lock()
	f.list = append(f.list, n)
	f.mu.Unlock()
	select {
	case f.news <- struct{}{}:
	default:
	}
}

func (f *failures) take() []storyNum {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := f.list
	f.list = nil
	return list
}

// verdict is what is to be told of a story.
type verdict struct {
	story storyNum
	fact  obligation.Fact
}

// candidates tells whether a story waits for a verdict.
func (ix *Index) candidates() bool {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	if len(ix.judge.frozen) > 0 {
		return true
	}
	for n := range ix.judge.pending {
		if _, ok := ix.judge.telling[n]; !ok {
			return true
		}
	}
	return false
}

func (ix *Index) freeze() {
	ix.mu.Lock()
	defer ix.mu.Unlock()
	ix.judge.freeze()
}

// verdicts gives the facts that are certain now.
func (ix *Index) verdicts(now time.Time) (found []verdict) {
	ix.mu.Lock()
	defer ix.mu.Unlock()
	if ix.failed != nil {
		return nil
	}
	err := ix.db.View(func(tx *bolt.Tx) error {
		for _, n := range ix.judge.verdicts() {
			s := ix.stories[n]
			if s == nil {
				var err error
				if s, err = decodeStory(tx.Bucket(bucketStories).Get(u64Key(uint64(n)))); err != nil {
					return err
				}
			}
			if s.open > 0 {
				found = append(found, verdict{n, &obligation.Reopened{Correlation: s.correlation, Root: s.root, Episode: s.episode + 1, Events: s.events, At: now}})
				continue
			}
			f := &obligation.Settled{Correlation: s.correlation, Root: s.root, Episode: s.episode + 1, Events: s.events, At: now}
			for _, at := range s.through {
				if t := ix.topicOf[at.topic]; !t.gone {
					f.Through = append(f.Through, obligation.Position{Topic: t.name, Partition: at.partition.partition, Offset: at.offset})
				}
			}
			found = append(found, verdict{n, f})
		}
		return nil
	})
	if err != nil {
		ix.failed = fmt.Errorf("story: index %s: %w", ix.path, err)
	}
	return found
}

// untold has stories judged again whose facts could not be appended.
func (ix *Index) untold(stories []storyNum) {
	_ = ix.update(func(p *pass) { // a failure is kept in the index, and Run finds it there
		for _, n := range stories {
			ix.judge.untold(p, n)
		}
	})
}

// eachPosition gives the next offset of every partition that is followed.
func (ix *Index) eachPosition(f func(topic string, p int32, next int64)) {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	for part, next := range ix.positions {
		if t := ix.topicOf[part.topic]; !t.gone {
			f(t.name, part.partition, next)
		}
	}
}

// factRecord makes the record of a fact: a CloudEvent like any other. Its id follows from what it says, so that an
// indexer which starts again after a crash says the same thing under the same id.
func factRecord(f obligation.Fact) *kgo.Record {
	value := obligation.Encode(f)
	var at time.Time
	var told []byte
	switch f := f.(type) {
	case *obligation.Settled:
		at = f.At
		timeless := *f
		timeless.At = time.Time{}
		told = obligation.Encode(&timeless)
	case *obligation.Reopened:
		at = f.At
		timeless := *f
		timeless.At = time.Time{}
		told = obligation.Encode(&timeless)
	}
	sum := sha256.Sum256(told)
	h := func(key, value string) kgo.RecordHeader { return kgo.RecordHeader{Key: key, Value: []byte(value)} }
	return &kgo.Record{
		Topic: f.RecordTopic(), Key: []byte(f.Key()), Value: value, Timestamp: at,
		Headers: []kgo.RecordHeader{
			h(obligation.HeaderSpecVersion, "1.0"),
			h(obligation.HeaderID, hex.EncodeToString(sum[:16])),
			h(obligation.HeaderType, f.Kind()),
			h(obligation.HeaderSource, Group),
			h(obligation.HeaderSubject, f.Key()),
			h(obligation.HeaderTime, at.Format(time.RFC3339Nano)),
			h(obligation.HeaderCorrelation, f.Key()),
			h(obligation.HeaderSchemaVersion, "1"),
			h(obligation.HeaderContentType, "application/json"),
		},
	}
}
