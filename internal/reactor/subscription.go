package reactor

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"tidings.dev/internal/cloudevent"
	"tidings.dev/internal/obligation"
)

// A subscription fact records where a reaction starts in each partition, since when it listens, and which types it
// handles. It is written before any position is committed. A crash in between changes nothing, since the next instance
// starts where the fact says.
//
// A type that is added later is recorded in two steps. First the fact says that the type is joining: from then on, no
// instance without a handler for the type passes over its events. Once that is durable, the fact gets the ends of the
// partitions, from which on events of the type are to be handled. An instance that finds the second step missing takes
// it.

// subscriptions has the subscriptions of one reaction to its topics.
type subscriptions struct {
	byTopic map[string]*obligation.Subscription
	fresh   map[string]bool // topics to which the reaction had no subscription before this run
}

// since returns the offsets, by partition of its topic, from which on the reaction is subscribed to the event's type.
// They are 0 unless the type was added later.
func (s *subscriptions) since(e *cloudevent.Event) map[int32]int64 {
	if sub := s.byTopic[e.Topic]; sub != nil {
		return sub.TypeSince[e.Type]
	}
	return nil
}

// subscribe makes the topics of the reaction that do not exist. It then writes subscriptions that have changed, and
// reads them again, until the log has all of them as they should be.
func (r *Reactor) subscribe(ctx context.Context) (subs subscriptions, err error) {
	if err := r.prepareTopics(ctx); err != nil {
		return subs, err
	}
	subs = subscriptions{byTopic: make(map[string]*obligation.Subscription), fresh: make(map[string]bool)}
	wrote := make(map[string]bool)
	for {
		if err := r.subscribed.refresh(ctx); err != nil {
			return subs, err
		}
		if err := r.checkApp(ctx, wrote); err != nil {
			return subs, err
		}
		var changed []*obligation.Subscription
		for topic := range r.spec.Topics {
			have := r.subscribed.of(topic)
			if have == nil {
				subs.fresh[topic] = true
			}
			next, err := r.subscriptionTo(ctx, topic, have)
			if err != nil {
				return subs, err
			}
			if have == nil || have.Disputed || !next.Equal(have.Now) {
				changed = append(changed, next)
			}
		}
		changed = append(changed, r.leftTopics()...)
		if len(changed) == 0 {
			break
		}
		if err := r.writeSubscriptions(ctx, changed); err != nil {
			return subs, err
		}
		for _, s := range changed {
			wrote[s.Topic] = true
		}
	}
	for topic := range r.spec.Topics {
		subs.byTopic[topic] = r.subscribed.of(topic).Now
	}
	return subs, nil
}

// subscriptionTo returns the subscription to a topic that should follow have, which is the one that the log has; nil
// if it has none.
func (r *Reactor) subscriptionTo(ctx context.Context, topic string, have *obligation.Subscribed) (*obligation.Subscription, error) {
	id := obligation.TopicID(r.topics[topic].ID)
	switch {
	case have == nil || have.Now.Retired:
		return r.newSubscription(ctx, topic, have)
	case have.Now.TopicID != obligation.TopicID{} && have.Now.TopicID != id:
		return r.anotherTopic(have), nil
	}
	next := have.Next().WithTypes(r.spec.Version, r.typesOf(topic))
	next.App = cmp.Or(next.App, r.spec.App)
	next.TopicID = id
	if next.Ending() {
		ends, err := r.client.Ends(ctx, topic)
		if err != nil {
			return nil, fmt.Errorf("where %s ends: %w", topic, err)
		}
		next.SetEnded(ends[topic], time.Now().UTC())
	}
	if len(next.Joining) == 0 || !next.Equal(have.Now) || have.Disputed {
		return next, nil
	}
	ends, err := r.client.Ends(ctx, topic)
	if err != nil {
		return nil, fmt.Errorf("where %s ends: %w", topic, err)
	}
	if next.TypeSince == nil {
		next.TypeSince = make(map[string]map[int32]int64)
	}
	for _, t := range next.Joining {
		next.TypeSince[t] = maps.Clone(ends[topic])
	}
	next.Joining = nil
	return next, nil
}

// anotherTopic returns the subscription to a topic that was deleted and made again. All records of the new topic were
// appended after the reaction had joined, so the reaction begins at its start.
func (r *Reactor) anotherTopic(have *obligation.Subscribed) *obligation.Subscription {
	r.spec.Log.Warn("the topic was deleted and made again: the reaction begins at the start of the new one", "topic", have.Now.Topic)
	next := have.Next().WithTypes(r.spec.Version, r.typesOf(have.Now.Topic)).On(obligation.TopicID(r.topics[have.Now.Topic].ID))
	next.App = cmp.Or(next.App, r.spec.App)
	return next
}

// leftTopics returns retired subscriptions to topics that a lower version of this program listened to and this version
// does not. Subscriptions that a program of the same version has made stay, because that program may still run. It
// logs a warning about them.
func (r *Reactor) leftTopics() (retired []*obligation.Subscription) {
	for topic, have := range r.subscribed.all() {
		if _, still := r.spec.Topics[topic]; still || have.Now.Retired {
			continue
		}
		if r.spec.Version.Compare(have.Now.Version) <= 0 {
			r.spec.Log.Warn("the reaction is subscribed to a topic that this program does not listen to; if that is for good, retire it: tidings group retire "+r.spec.Name+" --topic "+topic,
				"topic", topic, "types", have.Now.Types, "version", r.spec.Version.String(), "subscribed_by", have.Now.Version.String())
			continue
		}
		next := have.Next()
		next.Version, next.Retired, next.At = r.spec.Version, true, time.Now().UTC()
		retired = append(retired, next)
	}
	return retired
}

// checkApp returns an error if the reaction's name belongs to another app. If both apps have begun at the same time,
// the first one in the log keeps the name, and the subscriptions that this app has written, to the topics in wrote,
// are retired.
func (r *Reactor) checkApp(ctx context.Context, wrote map[string]bool) error {
	for topic, have := range r.subscribed.all() {
		if have.Now.Retired || have.Owner == "" || have.Owner == r.spec.App {
			continue
		}
		var withdrawn []*obligation.Subscription
		for t := range wrote {
			if mine := r.subscribed.of(t); mine.Owner == r.spec.App {
				next := mine.Next()
				next.Retired = true
				withdrawn = append(withdrawn, next)
			}
		}
		if err := r.writeSubscriptions(ctx, withdrawn); err != nil {
			return err
		}
		return fmt.Errorf("tidings: reaction %q belongs to app %q, which listens with it to %s; one name is one consumer group, so app %q needs another: tidings.Named (if the app was only renamed, free the name: tidings group retire %s)",
			r.spec.Name, have.Owner, topic, r.spec.App, r.spec.Name)
	}
	return nil
}

// prepareTopics makes the topics that do not exist. It returns an error if the reaction keeps state and its topics
// have different numbers of partitions, so that partitions of the same number could not go to one instance together.
func (r *Reactor) prepareTopics(ctx context.Context) error {
	for _, t := range obligation.Topics() {
		if _, err := r.client.Topic(ctx, t.Name); err != nil {
			return err
		}
	}
	counts := make(map[string]int32)
	for topic, partitions := range r.spec.Topics {
		r.client.Declare(topic, partitions, nil)
		r.client.Forget(topic) // it may have been made again
		found, err := r.client.Topic(ctx, topic)
		if err != nil {
			return err
		}
		r.topics[topic], counts[topic] = found, found.Partitions
	}
	if r.stateful && len(counts) > 1 {
		names := r.topicNames()
		for _, t := range names[1:] {
			if counts[t] != counts[names[0]] {
				return fmt.Errorf("tidings: reaction %q keeps state over topics with different numbers of partitions (%s has %d, %s has %d): a subject would be split between instances; keep facts of one subject on one topic, or give the topics equal numbers",
					r.spec.Name, names[0], counts[names[0]], t, counts[t])
			}
		}
	}
	return nil
}

// typesOf returns the types that the reaction handles on a topic, sorted.
func (r *Reactor) typesOf(topic string) []string {
	var types []string
	for t, h := range r.handlers {
		if h.Topic == topic {
			types = append(types, t)
		}
	}
	slices.Sort(types)
	return types
}

// newSubscription returns a new subscription, with the offsets where the reaction starts. If retired is not nil, it is
// the subscription that was retired before: the new one keeps its starts, because the group keeps its positions, but
// listens from now on.
func (r *Reactor) newSubscription(ctx context.Context, topic string, retired *obligation.Subscribed) (*obligation.Subscription, error) {
	ends, err := r.client.Ends(ctx, topic)
	if err != nil {
		return nil, fmt.Errorf("where %s ends: %w", topic, err)
	}
	s := &obligation.Subscription{
		Reaction: r.spec.Name, Topic: topic, App: r.spec.App, Version: r.spec.Version, Types: r.typesOf(topic), At: time.Now().UTC(),
		Since: ends[topic], Revision: 1, TopicID: obligation.TopicID(r.topics[topic].ID),
	}
	switch start := r.spec.Start; {
	case retired != nil:
		s.Start, s.Revision = retired.Now.Start, retired.Now.Revision+1
	case start.Kind == FromEnd:
		s.Start = maps.Clone(ends[topic])
	case start.Kind == FromBeginning:
		starts, err := r.client.Starts(ctx, topic)
		if err != nil {
			return nil, fmt.Errorf("where %s begins: %w", topic, err)
		}
		s.Start = starts[topic]
	case start.Kind == FromTime:
		at, err := r.client.After(ctx, start.At, topic)
		if err != nil {
			return nil, fmt.Errorf("where %s stood at %v: %w", topic, start.At, err)
		}
		s.Start = at[topic]
		for p, end := range s.Since { // if no record is that late, the end as of Since
			s.Start[p] = min(s.Start[p], end)
		}
	}
	return s, nil
}

// writeSubscriptions appends subscriptions and waits until they are durable.
func (r *Reactor) writeSubscriptions(ctx context.Context, subs []*obligation.Subscription) error {
	var records []*kgo.Record
	for _, s := range subs {
		records = append(records, recordOfFact(s))
	}
	if err := r.client.ProduceSync(ctx, records...); err != nil {
		return fmt.Errorf("write subscription: %w", err)
	}
	return nil
}
