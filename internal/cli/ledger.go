package cli

import (
	"context"
	"encoding/json"
	"slices"
	"sync"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"tidings.dev/examples/shop/facts"
	"tidings.dev/internal/obligation"
)

// ledgerTopics are what a ledger reads.
var ledgerTopics = []string{facts.Topic, obligation.SubscriptionsTopic, obligation.ReactionsTopic, obligation.StoryTopic}

// A ledger counts what the shop's log says, from its first record on, so that its numbers hold over restarts. An event
// counts once however often it was written. Its methods are safe for concurrent use.
type ledger struct {
	mu       sync.Mutex
	seen     map[string]bool  // ids of events
	byType   map[string]int64 // events, each counted once
	captured int64
	refunded int64

	types     map[int32][]string // type by offset, of each partition of the shop's topic
	listeners map[string][]string
	marks     map[string]*marks
	settled   map[string]bool // by correlation: what tidings.story said last

	read    offsets       // next offset of each partition
	changed chan struct{} // closed at the next record
}

// marks are what one reaction has written of itself, by partition and offset.
type marks struct {
	done, skipped, retried, duplicates map[topicPartition]map[int64]bool

	through map[int32]int64 // before it, by partition, everything is done or of no concern
}

func newLedger() *ledger {
	return &ledger{
		seen: map[string]bool{}, byType: map[string]int64{}, types: map[int32][]string{}, listeners: map[string][]string{},
		marks: map[string]*marks{}, settled: map[string]bool{}, read: offsets{}, changed: make(chan struct{}),
	}
}

// follow reads the log from its beginning until ctx ends. The topics must be there.
func (l *ledger) follow(ctx context.Context, t target, adm *kadm.Client) error {
	starts, _, err := bounds(ctx, adm, ledgerTopics...)
	if err != nil {
		return err
	}
	from := offsetsOf(starts)
	l.mu.Lock()
	for topic, partitions := range from {
		for p, offset := range partitions {
			l.read.set(topic, p, offset)
		}
	}
	l.mu.Unlock()
	return follow(ctx, t, from, nil, func(r *kgo.Record) bool {
		l.add(r)
		return true
	})
}

// catchUp waits until the ledger has read all that is in the log now.
func (l *ledger) catchUp(ctx context.Context, adm *kadm.Client) error {
	_, listed, err := bounds(ctx, adm, ledgerTopics...)
	if err != nil {
		return err
	}
	ends := offsetsOf(listed)
	return l.await(ctx, func() bool {
		for topic, partitions := range ends {
			for p, end := range partitions {
				if l.read[topic][p] < end {
					return false
				}
			}
		}
		return true
	})
}

// awaitSettled waits until a story has settled.
func (l *ledger) awaitSettled(ctx context.Context, correlation string) error {
	return l.await(ctx, func() bool { return l.settled[correlation] })
}

// awaitReactions waits until reactions that began at the beginning have done all that the ledger has read.
func (l *ledger) awaitReactions(ctx context.Context, names []string) error {
	return l.await(ctx, func() bool {
		for _, name := range names {
			types, listens := l.listeners[name]
			if !listens || !l.through(l.marksOf(name), types) {
				return false
			}
		}
		return true
	})
}

// through reports whether a reaction owes nothing, and remembers how far it got, so that asking again costs little.
func (l *ledger) through(m *marks, types []string) bool {
	for p, known := range l.types {
		offset, done := m.through[p], m.done[topicPartition{facts.Topic, p}]
		for offset < int64(len(known)) && (done[offset] || !l.wants(types, p, offset)) {
			offset++
		}
		m.through[p] = offset
		if offset < int64(len(known)) {
			return false
		}
	}
	return true
}

// await waits until something is true. It is called with the lock held, at first and after each record.
func (l *ledger) await(ctx context.Context, is func() bool) error {
	for {
		l.mu.Lock()
		ok, changed := is(), l.changed
		l.mu.Unlock()
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

func (l *ledger) add(r *kgo.Record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.read.set(r.Topic, r.Partition, r.Offset+1)
	if r.Topic == facts.Topic {
		l.addEvent(r)
	} else if fact, err := obligation.Decode(r.Value); err == nil {
		l.addFact(fact)
	}
	close(l.changed)
	l.changed = make(chan struct{})
}

func (l *ledger) addEvent(r *kgo.Record) {
	var id, typ string
	for _, h := range r.Headers {
		switch h.Key {
		case obligation.HeaderID:
			id = string(h.Value)
		case obligation.HeaderType:
			typ = string(h.Value)
		}
	}
	for int64(len(l.types[r.Partition])) <= r.Offset {
		l.types[r.Partition] = append(l.types[r.Partition], "")
	}
	l.types[r.Partition][r.Offset] = typ
	if id == "" {
		id = obligation.ForeignID(r.Topic, r.Partition, r.Offset)
	}
	if l.seen[id] {
		return
	}
	l.seen[id] = true
	l.byType[typ]++
	switch typ {
	case facts.PaymentCaptured.Name():
		var payment facts.Payment
		if json.Unmarshal(r.Value, &payment) == nil {
			l.captured += payment.Pence
		}
	case facts.PaymentRefunded.Name():
		var refund facts.Refund
		if json.Unmarshal(r.Value, &refund) == nil {
			l.refunded += refund.Pence
		}
	}
}

func (l *ledger) addFact(fact obligation.Fact) {
	switch f := fact.(type) {
	case *obligation.Subscription:
		if f.Topic == facts.Topic {
			l.listeners[f.Reaction] = f.Types
		}
	case *obligation.Marks:
		if f.Topic == facts.Topic {
			l.marksOf(f.Reaction).add(f)
		}
	case *obligation.Settled:
		l.settled[f.Correlation] = true
	case *obligation.Reopened:
		l.settled[f.Correlation] = false
	}
}

func (l *ledger) marksOf(reaction string) *marks {
	m := l.marks[reaction]
	if m == nil {
		m = &marks{
			done: map[topicPartition]map[int64]bool{}, skipped: map[topicPartition]map[int64]bool{},
			retried: map[topicPartition]map[int64]bool{}, duplicates: map[topicPartition]map[int64]bool{},
			through: map[int32]int64{},
		}
		l.marks[reaction] = m
	}
	return m
}

func (m *marks) add(f *obligation.Marks) {
	at := topicPartition{f.Topic, f.Partition}
	set := func(sets map[topicPartition]map[int64]bool, offset int64) {
		if sets[at] == nil {
			sets[at] = map[int64]bool{}
		}
		sets[at][offset] = true
	}
	for _, span := range f.Done {
		for offset := span.Lo; offset < span.Hi; offset++ {
			set(m.done, offset)
		}
	}
	for _, s := range f.Skipped {
		set(m.skipped, s.Offset)
	}
	for _, r := range f.Retried {
		set(m.retried, r.Offset)
	}
	for _, offset := range f.Duplicates {
		set(m.duplicates, offset)
	}
}

// A shopSummary is what `demo --settle` prints.
type shopSummary struct {
	Orders          orderCounts               `json:"orders"`
	BadRows         int                       `json:"bad_rows"`
	Events          int64                     `json:"events"`
	Reactions       map[string]reactionCounts `json:"reactions"`
	Stories         storyCounts               `json:"stories"`
	Books           bookSums                  `json:"books"`
	Seconds         float64                   `json:"seconds"`
	EventsPerSecond float64                   `json:"events_per_second"`
}

type orderCounts struct {
	Placed    int64 `json:"placed"`
	Refused   int64 `json:"refused"`
	Cancelled int64 `json:"cancelled"` // placed, and then declined
	Returns   int64 `json:"returns"`
}

// reactionCounts count events of the types that the reaction asked for.
type reactionCounts struct {
	Handled    int64 `json:"handled"`
	Retried    int64 `json:"retried"`
	Skipped    int64 `json:"skipped"`
	Duplicates int64 `json:"duplicates"`
}

type storyCounts struct {
	Settled int64 `json:"settled"`
	Open    int64 `json:"open"`
}

type bookSums struct {
	CapturedPence    int64 `json:"captured_pence"`
	RefundedPence    int64 `json:"refunded_pence"`
	RevenueViewPence int64 `json:"revenue_view_pence"`
	Equal            bool  `json:"equal"` // captured is the view's revenue
}

func (l *ledger) orders() orderCounts {
	l.mu.Lock()
	defer l.mu.Unlock()
	return orderCounts{
		Placed: l.byType[facts.OrderPlaced.Name()], Refused: l.byType[facts.OrderRefused.Name()],
		Cancelled: l.byType[facts.OrderCancelled.Name()], Returns: l.byType[facts.ReturnAccepted.Name()],
	}
}

func (l *ledger) events() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return int64(len(l.seen))
}

func (l *ledger) books(revenuePence int64) bookSums {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bookSums{CapturedPence: l.captured, RefundedPence: l.refunded, RevenueViewPence: revenuePence, Equal: l.captured == revenuePence}
}

func (l *ledger) reactions() map[string]reactionCounts {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := map[string]reactionCounts{}
	for reaction, types := range l.listeners {
		m := l.marksOf(reaction)
		counts := reactionCounts{Retried: size(m.retried), Skipped: size(m.skipped), Duplicates: size(m.duplicates)}
		for at, done := range m.done {
			for offset := range done {
				if l.wants(types, at.Partition, offset) && !m.skipped[at][offset] && !m.duplicates[at][offset] {
					counts.Handled++
				}
			}
		}
		all[reaction] = counts
	}
	return all
}

func (l *ledger) wants(types []string, partition int32, offset int64) bool {
	known := l.types[partition]
	return offset < int64(len(known)) && (len(types) == 0 || slices.Contains(types, known[offset]))
}

func size(sets map[topicPartition]map[int64]bool) (n int64) {
	for _, set := range sets {
		n += int64(len(set))
	}
	return n
}
