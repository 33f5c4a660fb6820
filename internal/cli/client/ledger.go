package client

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"tidings.dev/internal/logclient"
	"tidings.dev/internal/obligation"
)

// ledger is what reactions and apps have recorded in tidings.subscriptions and tidings.reactions: the subscriptions
// of reactions, the events that they have done, that fail and that run, the fields in which events differ from their
// types, and the topics that apps emit to. Groups that are no reactions are not in a ledger.
type ledger struct {
	subs     obligation.Subscriptions
	emits    map[string]*obligation.Emission      // by Emission.Key
	fields   map[string]*obligation.Mismatch      // by Mismatch.Key
	unread   map[string]*obligation.NotUnderstood // by NotUnderstood.Key
	accounts map[accountKey]*obligation.Account
	ids      map[string]obligation.TopicID // ids of the existing topics, by name
}

// accountKey identifies a partition that a reaction listens to.
type accountKey struct {
	reaction string
	topicPartition
}

// readLedger reads tidings.subscriptions and tidings.reactions up to their present ends, and returns the records of
// the reactions that of accepts.
func (c connection) readLedger(ctx context.Context, of func(reaction string) bool) (*ledger, error) {
	l := &ledger{subs: make(obligation.Subscriptions), emits: make(map[string]*obligation.Emission), fields: make(map[string]*obligation.Mismatch), unread: make(map[string]*obligation.NotUnderstood), accounts: make(map[accountKey]*obligation.Account), ids: make(map[string]obligation.TopicID)}
	names := []string{obligation.SubscriptionsTopic, obligation.ReactionsTopic}
	topics, err := c.adm.ListTopicsWithInternal(ctx)
	if err != nil {
		return nil, err
	}
	for name, t := range topics {
		l.ids[name] = obligation.TopicID(t.ID)
	}
	names = slices.DeleteFunc(names, func(name string) bool { return !topics.Has(name) })
	starts, ends, err := c.bounds(ctx, names...)
	if err != nil {
		return nil, err
	}
	var leaders logclient.LeaderEnds
	for r, err := range c.log.Read(ctx, starts, ends) {
		if err != nil {
			return nil, fmt.Errorf("read what reactions have recorded: %w", err)
		}
		if r.Topic == obligation.SubscriptionsTopic && !strings.HasPrefix(string(r.Key), "!") {
			if reaction, _, _ := strings.Cut(string(r.Key), "/"); of(reaction) {
				l.subs.Add(string(r.Key), r.Value, nil)
			}
			continue
		}
		if key := string(r.Key); len(r.Value) == 0 {
			delete(l.emits, key)
			delete(l.fields, key)
			delete(l.unread, key)
			continue
		}
		f, err := obligation.Decode(r.Value)
		if err != nil || r.Topic == obligation.SubscriptionsTopic && f.Key() != string(r.Key) {
			continue // from a later version, or foreign
		}
		// Marks of events that the log has lost since are about other events (docs/adr/0030).
		if m, ok := f.(*obligation.Marks); ok && m.Leader != nil && of(m.Reaction) && topics.Has(m.Topic) && m.TopicID.Is(l.ids[m.Topic]) {
			if leaders.Want(m.Topic, m.Partition, *m.Leader) {
				if err := leaders.Ask(ctx, c.log); err != nil {
					return nil, fmt.Errorf("ask what the log has lost: %w", err)
				}
			}
			f = m.Below(max(0, leaders.Of(m.Topic, m.Partition, *m.Leader)))
		}
		l.add(f, of)
	}
	return l, nil
}

// add adds a fact, unless it is about a topic that was deleted, or deleted and created again, since. Facts about the
// same partition of a reaction must be added in the order of the log.
func (l *ledger) add(f obligation.Fact, of func(reaction string) bool) {
	var k accountKey
	var id obligation.TopicID
	switch f := f.(type) {
	case *obligation.Emission:
		l.emits[f.Key()] = f
		return
	case *obligation.Mismatch:
		if of(f.Reaction) {
			l.fields[f.Key()] = f
		}
		return
	case *obligation.NotUnderstood:
		if of(f.Reaction) {
			l.unread[f.Key()] = f
		}
		return
	case *obligation.Marks:
		k, id = accountKey{f.Reaction, topicPartition{f.Topic, f.Partition}}, f.TopicID
	case *obligation.Seek:
		k, id = accountKey{f.Reaction, topicPartition{f.Topic, f.Partition}}, f.TopicID
	case *obligation.Retrying:
		k, id = accountKey{f.Reaction, topicPartition{f.Topic, f.Partition}}, f.TopicID
	case *obligation.Running:
		k, id = accountKey{f.Reaction, topicPartition{f.Topic, f.Partition}}, f.TopicID
	default:
		return
	}
	if of(k.reaction) && id.Is(l.ids[k.Topic]) {
		l.account(k).Add(f)
	}
}

// account returns the account for a key. It adds an empty one if there is none.
func (l *ledger) account(k accountKey) *obligation.Account {
	a := l.accounts[k]
	if a == nil {
		a = obligation.NewAccount()
		l.accounts[k] = a
	}
	return a
}

// subscriptionsOf returns the subscriptions of a reaction that are not retired, sorted by topic.
func (l *ledger) subscriptionsOf(reaction string) []*obligation.Subscription {
	var of []*obligation.Subscription
	for _, s := range l.subs {
		if s.Now.Reaction == reaction && !s.Now.Retired {
			of = append(of, s.Now)
		}
	}
	slices.SortFunc(of, func(a, b *obligation.Subscription) int { return strings.Compare(a.Topic, b.Topic) })
	return of
}

// subscription returns the subscription of a reaction to a topic, or nil if there is none or it is retired.
func (l *ledger) subscription(reaction, topic string) *obligation.Subscription {
	if s := l.subs[obligation.SubscriptionKey(reaction, topic)]; s != nil && !s.Now.Retired {
		return s.Now
	}
	return nil
}

// boundsOf returns the bounds of the existing topics among those in the subscriptions of l and in more.
func (c connection) boundsOf(ctx context.Context, l *ledger, more ...string) (starts, ends logclient.Offsets, err error) {
	names := slices.Clone(more)
	for _, s := range l.subs {
		names = append(names, s.Now.Topic)
	}
	return c.boundsOfExisting(ctx, names...)
}

// boundsOfExisting returns the bounds of those of the named topics that exist.
func (c connection) boundsOfExisting(ctx context.Context, names ...string) (starts, ends logclient.Offsets, err error) {
	topics, err := c.adm.ListTopicsWithInternal(ctx)
	if err != nil {
		return nil, nil, err
	}
	slices.Sort(names)
	names = slices.DeleteFunc(slices.Compact(names), func(name string) bool { return !topics.Has(name) })
	return c.bounds(ctx, names...)
}
