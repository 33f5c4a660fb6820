package tidings

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"tidings.dev/internal/obligation"
)

// Two apps that define one fact on different topics never see each other's events, and nothing fails. So each app
// records which facts it emits on which topic, as reactions record which facts they listen to, and compares these
// records with its own definitions. The app that starts second logs a warning.

// definitions finds facts of this app that another app has on a different topic, and logs a warning for each. Its
// methods may be called from any goroutine.
type definitions struct {
	app *App

	// mu protects closed and emitted. work is only added to with mu held.
	mu      sync.Mutex
	closed  bool
	emitted map[string]time.Time // when emits last recorded a fact, by its name
	work    sync.WaitGroup       // counts the goroutines that compare or record
}

// compareTimeout is how long one comparison or one record may take.
const compareTimeout = 30 * time.Second

// emits records that the app has emitted a fact at a time, and compares its topic with those of other apps. It does so at
// the first call for a fact, and again after obligation.EmissionEvery, on a goroutine of its own, and does not block.
func (d *definitions) emits(typ, topic string, at time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if last, ok := d.emitted[typ]; d.closed || ok && at.Sub(last) < obligation.EmissionEvery {
		return
	}
	d.emitted[typ] = at
	d.work.Go(func() {
		fact := &obligation.Emission{App: d.app.name, Type: typ, Topic: topic, At: at.UTC()}
		d.compare(map[string]string{typ: topic}, fact)
	})
}

// listens compares the topics of the facts that the reactions are subscribed to with those of other apps. It does not
// block.
func (d *definitions) listens(reactions map[string]*reaction) {
	topics := make(map[string]string)
	for _, r := range reactions {
		for typ, h := range r.handlers {
			topics[typ] = h.topic
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.closed && len(topics) > 0 {
		d.work.Go(func() { d.compare(topics) })
	}
}

// forget removes from the log what the reactions have found of fields before and do not have any more (see findings.forget). It does not
// block; a failure is logged.
func (d *definitions) forget(reactions map[string]*reaction) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed || len(reactions) == 0 {
		return
	}
	d.work.Go(func() {
		ctx, cancel := context.WithTimeout(d.app.client.Life(), compareTimeout)
		defer cancel()
		if err := d.app.findings.forget(ctx, reactions); err != nil && ctx.Err() == nil {
			d.app.log.Warn("cannot remove what is recorded of fields that events no longer lack", "error", err)
		}
	})
}

// close waits until all goroutines that compare or record have ended. The caller must have ended the client's Life,
// which stops them.
func (d *definitions) close() {
	d.mu.Lock()
	d.closed = true
	d.mu.Unlock()
	d.work.Wait()
}

// compare appends facts to the log, then reads the facts of other apps and logs a warning for each type that they have
// on another topic than topics does (topic by type). It writes before it reads: of two apps that start at the same
// time, the one that reads last sees the facts of both.
func (d *definitions) compare(topics map[string]string, facts ...obligation.Fact) {
	ctx, cancel := context.WithTimeout(d.app.client.Life(), compareTimeout)
	defer cancel()
	err := d.write(ctx, facts)
	if err == nil {
		err = d.warn(ctx, topics)
	}
	if err != nil && ctx.Err() == nil {
		d.app.log.Warn("cannot compare the topics of facts with those of other apps", "error", err)
	}
}

// write appends facts and waits until they are durable.
func (d *definitions) write(ctx context.Context, facts []obligation.Fact) error {
	var records []*kgo.Record
	for _, f := range facts {
		records = append(records, &kgo.Record{Topic: f.RecordTopic(), Key: []byte(f.Key()), Value: obligation.Encode(f)})
	}
	return d.app.client.ProduceSync(ctx, records...)
}

// warn logs a warning for each type in topics that another app has on another topic.
func (d *definitions) warn(ctx context.Context, topics map[string]string) error {
	others, err := d.read(ctx)
	if err != nil {
		return err
	}
	for _, o := range others {
		mine, ok := topics[o.typ]
		if !ok || mine == o.topic {
			continue
		}
		d.app.log.Warn(fmt.Sprintf("fact %s is on two topics, and nobody sees on one what is emitted on the other: this app has it on %s, and %s on %s; define it once, in a package that both import, or give both the same topic in tidings.In",
			o.typ, mine, o.who, o.topic), "fact", o.typ, "topic", mine, "other_topic", o.topic)
	}
	return nil
}

// definedElsewhere is a fact as another app emits it or listens to it: who is a clause that says so, such as "app x
// emits it".
type definedElsewhere struct{ who, typ, topic string }

// read returns the facts that other apps emit, and those that reactions of other apps are subscribed to, in order.
// Retired subscriptions are left out, and emissions that do not hold any more.
func (d *definitions) read(ctx context.Context) (others []definedElsewhere, err error) {
	subscriptions := make(obligation.Subscriptions)
	emissions := make(map[string]*obligation.Emission)
	for r, err := range d.app.client.ReadAll(ctx, obligation.SubscriptionsTopic, 0) {
		if err != nil {
			return nil, err
		}
		if len(r.Value) == 0 {
			delete(emissions, string(r.Key))
		}
		fact, _ := obligation.Decode(r.Value)
		if e, ok := fact.(*obligation.Emission); ok && e.Key() == string(r.Key) {
			emissions[e.Key()] = e
		} else {
			subscriptions.Add(string(r.Key), r.Value, nil)
		}
	}
	for _, e := range emissions {
		if e.App != d.app.name && e.Holds(time.Now()) {
			others = append(others, definedElsewhere{"app " + e.App + " emits it", e.Type, e.Topic})
		}
	}
	for _, s := range subscriptions {
		if s.Now.Retired || s.Now.App == d.app.name || d.app.reacts(s.Now.Reaction) {
			continue
		}
		for _, typ := range s.Now.Types {
			others = append(others, definedElsewhere{"reaction " + s.Now.Reaction + " listens to it", typ, s.Now.Topic})
		}
	}
	slices.SortFunc(others, func(a, b definedElsewhere) int {
		return slices.Compare([]string{a.typ, a.who, a.topic}, []string{b.typ, b.who, b.topic})
	})
	return others, nil
}

// reacts reports whether this app has a reaction of that name.
func (a *App) reacts(name string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.reactions[name] != nil
}
