package tidings

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"tidings.dev/internal/obligation"
)

// settledFollower reads tidings.story for all receipts of an app that wait. It begins with the first of them and then
// follows the topic, which costs one long poll. A receipt whose event is older than what was read so far makes it read
// from further back; the facts tell exactly which events they cover, so reading one twice does no harm.
type settledFollower struct {
	app *App

	mu      sync.Mutex
	cl      *kgo.Client
	done    chan struct{}
	since   time.Time                      // from when on the facts were read
	recent  map[string]*obligation.Settled // the last fact of each correlation, since then
	order   []settledAt                    // of recent, oldest first
	waiting map[string][]*settledWait      // by correlation
}

type settledAt struct {
	correlation string
	fact        *obligation.Settled
	at          time.Time
}

type settledWait struct {
	receipt Receipt
	settled chan struct{}
}

const (
	// maxRecentSettled bounds the facts that are kept for receipts which come late.
	maxRecentSettled = 1 << 14
	// maxClockSkew is how far the clocks of emitters, indexer and broker may differ.
	maxClockSkew = time.Minute
)

func (a *App) awaitSettled(ctx context.Context, r Receipt) error {
	w := &settledWait{receipt: r, settled: make(chan struct{})}
	if err := a.settled.add(ctx, w); err != nil {
		return fmt.Errorf("waiting for %s to settle: %w", r.Correlation, err)
	}
	defer a.settled.remove(w)
	select {
	case <-w.settled:
		return nil
	case <-a.closed:
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

// add begins to look for what w waits for.
func (f *settledFollower) add(ctx context.Context, w *settledWait) error {
	if _, err := f.app.topics.need(ctx, obligation.StoryTopic); err != nil {
		return err
	}
	from := w.receipt.emitted.Add(-maxClockSkew)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.waiting == nil {
		f.waiting = make(map[string][]*settledWait)
		f.recent = make(map[string]*obligation.Settled)
	}
	if fact := f.recent[w.receipt.Correlation]; fact != nil && w.covered(fact) {
		close(w.settled)
		return nil
	}
	f.waiting[w.receipt.Correlation] = append(f.waiting[w.receipt.Correlation], w)
	if f.cl != nil && !from.Before(f.since) {
		return nil
	}
	return f.follow(from)
}

// follow reads from the given time on. Called with f.mu held.
func (f *settledFollower) follow(from time.Time) error {
	offset := kgo.NewOffset().AfterMilli(from.UnixMilli())
	if f.cl == nil {
		cl, err := kgo.NewClient(f.app.clientOptions(
			kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{obligation.StoryTopic: {0: offset}}),
			kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		)...)
		if err != nil {
			return err
		}
		f.cl, f.done = cl, make(chan struct{})
		go f.run(cl, f.done)
	} else {
		f.cl.RemoveConsumePartitions(map[string][]int32{obligation.StoryTopic: {0}})
		f.cl.AddConsumePartitions(map[string]map[int32]kgo.Offset{obligation.StoryTopic: {0: offset}})
	}
	f.since = from
	return nil
}

func (f *settledFollower) run(cl *kgo.Client, done chan struct{}) {
	defer close(done)
	for {
		fetches := cl.PollFetches(context.Background())
		if fetches.IsClientClosed() {
			return
		}
		for _, e := range fetches.Errors() {
			f.app.log.Warn("cannot follow the stories", "error", e.Err)
		}
		f.mu.Lock()
		fetches.EachRecord(f.take)
		f.mu.Unlock()
	}
}

// take takes in a fact. Called with f.mu held.
func (f *settledFollower) take(r *kgo.Record) {
	decoded, err := obligation.Decode(r.Value)
	fact, ok := decoded.(*obligation.Settled)
	if err != nil || !ok {
		return
	}
	f.recent[fact.Correlation] = fact
	f.order = append(f.order, settledAt{fact.Correlation, fact, r.Timestamp})
	for len(f.order) > maxRecentSettled {
		old := f.order[0]
		f.order = f.order[1:]
		if f.recent[old.correlation] == old.fact {
			delete(f.recent, old.correlation)
		}
		if old.at.After(f.since) {
			f.since = old.at
		}
	}
	var left []*settledWait
	for _, w := range f.waiting[fact.Correlation] {
		if w.covered(fact) {
			close(w.settled)
		} else {
			left = append(left, w)
		}
	}
	if len(left) == 0 {
		delete(f.waiting, fact.Correlation)
	} else {
		f.waiting[fact.Correlation] = left
	}
}

func (w *settledWait) covered(fact *obligation.Settled) bool {
	return fact.Covers(w.receipt.Topic, w.receipt.Partition, w.receipt.Offset)
}

func (f *settledFollower) remove(w *settledWait) {
	f.mu.Lock()
	defer f.mu.Unlock()
	key := w.receipt.Correlation
	for i, have := range f.waiting[key] {
		if have == w {
			f.waiting[key] = append(f.waiting[key][:i:i], f.waiting[key][i+1:]...)
			break
		}
	}
	if len(f.waiting[key]) == 0 {
		delete(f.waiting, key)
	}
}

func (f *settledFollower) close() {
	f.mu.Lock()
	cl, done := f.cl, f.done
	f.cl = nil
	f.mu.Unlock()
	if cl != nil {
		cl.Close()
		<-done
	}
}
