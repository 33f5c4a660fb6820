package demo

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"

	"tidings.dev/examples/shop/facts"
	"tidings.dev/internal/cloudevent"
	"tidings.dev/internal/logclient"
	"tidings.dev/internal/obligation"
)

// bookTopics are the topics that books reads.
var bookTopics = []string{facts.Topic, obligation.SubscriptionsTopic, obligation.ReactionsTopic, obligation.StoryTopic}

// books counts what is in the shop's log, starting with its first record, so that the counts continue when the demo
// is restarted. An event counts once, however many records it has. The methods are safe for concurrent use.
type books struct {
	log    *logclient.Client
	starts logclient.Offsets // first offsets of bookTopics when the books were opened

	mu      sync.Mutex                 // protects the fields below
	read    map[string]map[int32]int64 // the next offset to read, by topic and partition
	changed chan struct{}              // closed and replaced by a new channel after each record

	seen          map[cloudevent.Identity]bool // identities of the events that were read
	byType        map[string]int64             // number of events by type; an event counts once
	capturedPence int64
	refundedPence int64

	types         map[int32][]string  // event types by offset, for each partition of the shop's topic
	subscriptions map[string][]string // types that each reaction to the shop's topic subscribes to; empty: all types
	marks         map[string]*marks   // by the name of the reaction
	settled       map[string]bool     // by correlation: whether the newest verdict is story.settled
}

// openBooks returns empty books; follow fills them. If the topics were just created, openBooks waits until they can
// be read.
func openBooks(ctx context.Context, log *logclient.Client) (*books, error) {
	starts, err := log.Starts(ctx, bookTopics...)
	if err != nil {
		return nil, err
	}
	b := &books{
		log: log, starts: starts, read: map[string]map[int32]int64{}, changed: make(chan struct{}),
		seen: map[cloudevent.Identity]bool{}, byType: map[string]int64{}, types: map[int32][]string{},
		subscriptions: map[string][]string{}, marks: map[string]*marks{}, settled: map[string]bool{},
	}
	for topic, partitions := range starts {
		b.read[topic] = maps.Clone(partitions)
	}
	return b, nil
}

// follow reads the log into the books until ctx is done. It must be called once.
func (b *books) follow(ctx context.Context) error {
	for r, err := range b.log.Read(ctx, b.starts, nil) {
		if err != nil {
			return err
		}
		b.add(r)
	}
	return nil
}

// catchUp blocks until follow has read every record that is in the log at the time of the call.
func (b *books) catchUp(ctx context.Context) error {
	ends, err := b.log.Ends(ctx, bookTopics...)
	if err != nil {
		return err
	}
	return b.await(ctx, func() bool {
		for topic, partitions := range ends {
			for p, end := range partitions {
				if b.read[topic][p] < end {
					return false
				}
			}
		}
		return true
	})
}

// awaitSettled blocks until the story with a correlation has settled.
func (b *books) awaitSettled(ctx context.Context, correlation string) error {
	return b.await(ctx, func() bool { return b.settled[correlation] })
}

// awaitReactions blocks until the named reactions have done all events that the books have read. The reactions must
// have begun at the start of the log.
func (b *books) awaitReactions(ctx context.Context, names []string) error {
	return b.await(ctx, func() bool {
		for _, name := range names {
			types, subscribed := b.subscriptions[name]
			if !subscribed || !b.caughtUp(b.marksOf(name), types) {
				return false
			}
		}
		return true
	})
}

// caughtUp reports whether a reaction that subscribes to the given types has done all events that were read. It
// stores its progress in m, so that the next call is fast. b.mu must be held.
func (b *books) caughtUp(m *marks, types []string) bool {
	for p, known := range b.types {
		offset := m.doneBefore[p]
		for offset < int64(len(known)) && (m.isDone(p, offset) || !b.wants(types, p, offset)) {
			offset++
		}
		m.doneBefore[p] = offset
		if offset < int64(len(known)) {
			return false
		}
	}
	return true
}

// wants reports whether a reaction that subscribes to the given types gets the event at an offset. b.mu must be held.
func (b *books) wants(types []string, partition int32, offset int64) bool {
	known := b.types[partition]
	return offset < int64(len(known)) && (len(types) == 0 || slices.Contains(types, known[offset]))
}

// await blocks until is returns true or ctx is done. In the latter case it returns the cause of ctx. It calls is
// first at once and then after each record, with b.mu held.
func (b *books) await(ctx context.Context, is func() bool) error {
	for {
		b.mu.Lock()
		ok, changed := is(), b.changed
		b.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (b *books) add(r *kgo.Record) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.read[r.Topic][r.Partition] = r.Offset + 1
	if r.Topic == facts.Topic {
		b.addEvent(r)
	} else if fact, err := obligation.Decode(r.Value); err == nil {
		b.addFact(fact)
	}
	close(b.changed)
	b.changed = make(chan struct{})
}

func (b *books) addEvent(r *kgo.Record) {
	e := cloudevent.FromRecord(r)
	for int64(len(b.types[r.Partition])) <= r.Offset {
		b.types[r.Partition] = append(b.types[r.Partition], "")
	}
	b.types[r.Partition][r.Offset] = e.Type
	if b.seen[e.Identity()] {
		return
	}
	b.seen[e.Identity()] = true
	b.byType[e.Type]++
	switch e.Type {
	case facts.PaymentCaptured.Name():
		var payment facts.Payment
		if json.Unmarshal(e.Data, &payment) == nil {
			b.capturedPence += payment.Pence
		}
	case facts.PaymentRefunded.Name():
		var refund facts.Refund
		if json.Unmarshal(e.Data, &refund) == nil {
			b.refundedPence += refund.Pence
		}
	}
}

func (b *books) addFact(fact obligation.Fact) {
	switch f := fact.(type) {
	case *obligation.Subscription:
		switch {
		case f.Topic != facts.Topic:
		case f.Retired:
			delete(b.subscriptions, f.Reaction)
		default:
			b.subscriptions[f.Reaction] = f.Types
		}
	case *obligation.Marks:
		if f.Topic == facts.Topic {
			b.marksOf(f.Reaction).add(f)
		}
	case *obligation.Settled:
		b.settled[f.Correlation] = true
	case *obligation.Reopened:
		b.settled[f.Correlation] = false
	}
}

func (b *books) marksOf(reaction string) *marks {
	m := b.marks[reaction]
	if m == nil {
		m = newMarks()
		b.marks[reaction] = m
	}
	return m
}
