package framework

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/maphash"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"

	"tidings.dev/internal/bench"
)

// Bare measures consumer groups of one kgo client each, which do what the reactions do: they consume, and with Decode
// decode the same JSON, with State keep the same state, with EmitTo produce a record of the same size for each and
// wait for the acknowledgements of a poll, and commit. Events are handled in the loop that polls, or, if handlers do
// some work, by Concurrency goroutines, those of one subject by the same. p may be nil.
func (b Backlog) Bare(ctx context.Context, e bench.Endpoint, p *bench.Progress) (bench.Measured, error) {
	return b.measure(ctx, e, p, func(ctx context.Context, e bench.Endpoint, h *handled) error {
		ctx, fail := context.WithCancelCause(ctx)
		defer fail(nil)
		var groups sync.WaitGroup
		for range b.Reactions {
			groups.Go(func() {
				if err := b.runGroup(ctx, e, h); err != nil {
					fail(err)
				}
			})
		}
		groups.Wait()
		return context.Cause(ctx)
	})
}

// runGroup handles the backlog as the only member of a group, commits and leaves the group.
func (b Backlog) runGroup(ctx context.Context, e bench.Endpoint, h *handled) error {
	client, err := e.Client(ctx, bareOptions(b.Topic)...)
	if err != nil {
		return err
	}
	defer client.Close()
	g := &bareGroup{Backlog: b, client: client, states: map[string]*tally{}}
	for left := b.Events; left > 0; {
		fetches := client.PollFetches(ctx)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := fetchError(fetches); err != nil {
			return err
		}
		n := int64(fetches.NumRecords())
		if n > 0 {
			h.begin()
		}
		if err := g.handleAll(ctx, fetches); err != nil {
			return err
		}
		h.add(n)
		left -= n
	}
	return client.CommitUncommittedOffsets(ctx)
}

// fetchError returns the first error of a poll, with its topic and partition, or nil if there is none.
func fetchError(fetches kgo.Fetches) error {
	for _, f := range fetches.Errors() {
		return fmt.Errorf("read %s/%d: %w", f.Topic, f.Partition, f.Err)
	}
	return nil
}

// bareOptions returns the options of the only member of a new group, which reads a topic from its beginning and produces
// as the framework does: at once, and without compression.
func bareOptions(topic string) []kgo.Opt {
	return []kgo.Opt{
		kgo.ConsumerGroup(groupName()), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.ProducerLinger(0), kgo.ProducerBatchCompression(kgo.NoCompression()),
	}
}

// bareGroup is a bare program while it handles a backlog.
type bareGroup struct {
	Backlog
	client *kgo.Client

	mu     sync.Mutex        // protects states, which several goroutines use if there is work
	states map[string]*tally // by subject
}

// handleAll handles the records of a poll, and waits until what it has produced is acknowledged.
func (g *bareGroup) handleAll(ctx context.Context, fetches kgo.Fetches) (err error) {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	if g.Work == 0 {
		for iter := fetches.RecordIter(); !iter.Done(); {
			if err := g.handle(ctx, iter.Next(), fail); err != nil {
				return err
			}
		}
	} else {
		g.handleConcurrently(ctx, fetches, fail)
	}
	if g.EmitTo != "" {
		if err := g.client.Flush(ctx); err != nil {
			fail(err)
		}
	}
	return context.Cause(ctx)
}

// seed distributes subjects among goroutines.
var seed = maphash.MakeSeed()

// handleConcurrently handles records by Concurrency goroutines, and returns when all are handled.
func (g *bareGroup) handleConcurrently(ctx context.Context, fetches kgo.Fetches, fail context.CancelCauseFunc) {
	var shares [Concurrency][]*kgo.Record
	for iter := fetches.RecordIter(); !iter.Done(); {
		r := iter.Next()
		i := maphash.Bytes(seed, r.Key) % Concurrency
		shares[i] = append(shares[i], r)
	}
	var running sync.WaitGroup
	for _, share := range shares {
		running.Go(func() {
			for _, r := range share {
				if err := g.handle(ctx, r, fail); err != nil {
					fail(err)
					return
				}
			}
		})
	}
	running.Wait()
}

// handle handles one record. A record that it produces calls fail if it is refused.
func (g *bareGroup) handle(ctx context.Context, r *kgo.Record, fail context.CancelCauseFunc) error {
	var o order
	if g.Decode {
		if err := json.Unmarshal(r.Value, &o); err != nil {
			return err
		}
	}
	if g.State {
		g.keep(r.Key, o)
	}
	g.work()
	if g.EmitTo == "" {
		return nil
	}
	value, err := json.Marshal(note(string(r.Key)))
	if err != nil {
		return err
	}
	g.client.Produce(ctx, &kgo.Record{Topic: g.EmitTo, Key: r.Key, Value: value}, func(_ *kgo.Record, err error) {
		if err != nil {
			fail(err)
		}
	})
	return nil
}

// keep adds an order to the state of its subject.
func (g *bareGroup) keep(subject []byte, o order) {
	g.mu.Lock()
	defer g.mu.Unlock()
	t := g.states[string(subject)]
	if t == nil {
		t = &tally{}
		g.states[string(subject)] = t
	}
	t.add(o)
}
