package tidings

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"tidings.dev/internal/logclient"
	"tidings.dev/internal/obligation"
	"tidings.dev/internal/reactor"
)

// findingsEvery is how often findings are written at most, except for a field that was not found before.
const findingsEvery = 5 * time.Second

// findings writes to the log what the reactions of an app have found in events: fields that differ from those of their types, and
// records that cannot be read as CloudEvents. `tidings group show` and the stories show it.
//
// Other instances of the reactions write records with the same keys. So each write begins with a read of what is recorded, and adds
// to its counts. Two instances that write fields at the same moment may lose the counts of one.
type findings struct {
	app  *App
	wake chan struct{} // has a value when run shall write at once; capacity 1

	mu sync.Mutex // held by flush; protects what was found and is not written yet, by the keys of the records
	// mismatches have as counts what is to be added to those that are recorded.
	mismatches    map[string]*obligation.Mismatch
	notUnderstood map[string]*unwritten
}

// unwritten is the records that a reaction has not understood and that are not counted in the log.
type unwritten struct {
	reaction string
	*reactor.NotUnderstood
}

func newFindings(a *App) *findings {
	return &findings{
		app: a, wake: make(chan struct{}, 1),
		mismatches: make(map[string]*obligation.Mismatch), notUnderstood: make(map[string]*unwritten),
	}
}

// soon makes run write at once. It does not block.
func (f *findings) soon() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// run writes what the reactions have found, every findingsEvery and when soon is called, until ctx is done, and then once more.
func (f *findings) run(ctx context.Context, reactions map[string]*reaction) {
	tick := time.NewTicker(findingsEvery)
	defer tick.Stop()
	for over := false; !over; {
		select {
		case <-tick.C:
		case <-f.wake:
		case <-ctx.Done():
			over = true
		}
		limit := compareTimeout
		if over {
			limit = findingsEvery // the app shall end
		}
		writing, cancel := context.WithTimeout(f.app.client.Life(), limit)
		if err := f.flush(writing, reactions); err != nil && f.app.client.Life().Err() == nil {
			f.app.log.Warn("cannot record what reactions have found in events; trying again", "error", err)
		}
		cancel()
	}
}

// flush writes what the reactions have found and was not written before. If that fails, it is written by the next flush.
func (f *findings) flush(ctx context.Context, reactions map[string]*reaction) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.collect(reactions)
	if len(f.mismatches)+len(f.notUnderstood) == 0 {
		return nil
	}
	recorded, err := readFindings(ctx, f.app.client)
	if err != nil {
		return err
	}
	var facts []obligation.Fact
	for key, m := range f.mismatches {
		sum := *m
		if before, ok := recorded[key].(*obligation.Mismatch); ok {
			sum.Compared += before.Compared
			sum.Differed += before.Differed
		}
		facts = append(facts, &sum)
	}
	for key, n := range f.notUnderstood {
		before, _ := recorded[key].(*obligation.NotUnderstood)
		facts = append(facts, n.fact(before))
	}
	if err := f.app.defs.write(ctx, facts); err != nil {
		return err
	}
	clear(f.mismatches)
	clear(f.notUnderstood)
	return nil
}

// collect takes from the reactions what they have found since it was called last. f.mu must be held.
func (f *findings) collect(reactions map[string]*reaction) {
	for name, r := range reactions {
		for _, m := range r.mismatches.take() {
			if before := f.mismatches[m.Key()]; before != nil {
				m.Compared += before.Compared
				m.Differed += before.Differed
			}
			f.mismatches[m.Key()] = m
		}
		run := r.reactor.Load()
		if run == nil {
			continue
		}
		for _, n := range run.TakeNotUnderstood() {
			more := &unwritten{name, n}
			key := more.fact(nil).Key()
			if before := f.notUnderstood[key]; before != nil && before.TopicID == n.TopicID {
				before.Add(n)
			} else {
				f.notUnderstood[key] = more
			}
		}
	}
}

// fact returns the record that counts these records and those that before counts; before may be nil. Records that before has
// counted already, since they were read by another instance, do not count twice.
func (u *unwritten) fact(before *obligation.NotUnderstood) *obligation.NotUnderstood {
	sum := &obligation.NotUnderstood{
		Reaction: u.reaction, Topic: u.Topic, TopicID: u.TopicID, Partition: u.Partition, First: u.First, Last: u.Last,
	}
	counted := int64(-1) // the highest offset that before has counted
	if before != nil && before.TopicID == u.TopicID {
		sum.Count, sum.First, counted = before.Count, before.First, before.Last.Offset
		if before.Last.Offset > sum.Last.Offset {
			sum.Last = before.Last
		}
	}
	for _, r := range u.Offsets.Ranges() {
		sum.Count += max(0, r.Hi-max(r.Lo, counted+1))
	}
	return sum
}

// readFindings returns the findings that are recorded, by key.
func readFindings(ctx context.Context, client *logclient.Client) (map[string]obligation.Fact, error) {
	found := make(map[string]obligation.Fact)
	if _, err := client.Topic(ctx, obligation.SubscriptionsTopic); err != nil {
		return nil, err
	}
	for r, err := range client.ReadAll(ctx, obligation.SubscriptionsTopic, 0) {
		if err != nil {
			return nil, err
		}
		delete(found, string(r.Key)) // a tombstone leaves nothing
		switch fact, _ := obligation.Decode(r.Value); fact.(type) {
		case *obligation.Mismatch, *obligation.NotUnderstood:
			found[string(r.Key)] = fact
		}
	}
	return found, nil
}

// forget removes from the log the fields of mismatches that these reactions of the app no longer have: those of types that they do not
// handle any more, and those in which their types do not differ any more. An instance of an earlier version that still runs records
// what it finds again.
func (f *findings) forget(ctx context.Context, reactions map[string]*reaction) error {
	recorded, err := readFindings(ctx, f.app.client)
	if err != nil {
		return err
	}
	var records []*kgo.Record
	for _, key := range slices.Sorted(maps.Keys(recorded)) {
		m, ok := recorded[key].(*obligation.Mismatch)
		if !ok || reactions[m.Reaction] == nil {
			continue
		}
		left := *m
		left.Unknown, left.Missing = reactions[m.Reaction].differs(m)
		if len(left.Unknown) == len(m.Unknown) && len(left.Missing) == len(m.Missing) {
			continue
		}
		record := &kgo.Record{Topic: m.RecordTopic(), Key: []byte(key)} // a tombstone
		if len(left.Unknown)+len(left.Missing) > 0 {
			record.Value = obligation.Encode(&left)
		}
		records = append(records, record)
	}
	return f.app.client.ProduceSync(ctx, records...)
}

// differs returns which of the fields of a recorded mismatch the type that the reaction has now does not have, or still requires.
func (r *reaction) differs(m *obligation.Mismatch) (unknown, missing []string) {
	h := r.handlers[m.Type]
	if h == nil || h.topic != m.Topic || h.shape == nil {
		return nil, nil
	}
	for _, name := range m.Unknown {
		if has, _ := h.shape.Has(name); !has {
			unknown = append(unknown, name)
		}
	}
	for _, name := range m.Missing {
		if has, optional := h.shape.Has(name); has && !optional {
			missing = append(missing, name)
		}
	}
	return unknown, missing
}
