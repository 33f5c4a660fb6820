package tidings

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"tidings.dev/internal/obligation"
)

// A subscription fact says where a reaction starts in each partition, and since when it listens. It is written once, by
// whichever instance is first, before any position is committed: a crash in between changes nothing, since whoever comes
// next starts where the fact says.

// subscribe makes the topics of a reaction and sees that its subscriptions are written down. It gives the subscription
// of each topic, and which of them are new.
func (r *reaction) subscribe(ctx context.Context) (subs map[string]*obligation.Subscription, fresh map[string]bool, err error) {
	if err := r.prepareTopics(ctx); err != nil {
		return nil, nil, err
	}
	known, err := r.subscriptions(ctx)
	if err != nil {
		return nil, nil, err
	}
	fresh = make(map[string]bool)
	var changed []*obligation.Subscription
	for topic := range r.topics {
		have := known[topic].last
		switch {
		case have == nil || have.Retired:
			s, err := r.newSubscription(ctx, topic, have)
			if err != nil {
				return nil, nil, err
			}
			fresh[topic] = have == nil
			changed = append(changed, s)
		case !slices.Equal(have.Types, r.types(topic)):
			s := *have
			s.Types = r.types(topic)
			changed = append(changed, &s)
		}
	}
	for topic, have := range known {
		if _, still := r.topics[topic]; !still && !have.last.Retired {
			s := *have.last
			s.Retired, s.At = true, time.Now().UTC()
			changed = append(changed, &s)
		}
	}
	if len(changed) > 0 {
		if err := r.writeSubscriptions(ctx, changed); err != nil {
			return nil, nil, err
		}
		if known, err = r.agree(ctx); err != nil {
			return nil, nil, err
		}
	}
	subs = make(map[string]*obligation.Subscription)
	for topic := range r.topics {
		subs[topic] = known[topic].last
	}
	return subs, fresh, nil
}

func (r *reaction) prepareTopics(ctx context.Context) error {
	for _, t := range obligation.Topics() {
		if _, err := r.app.topics.need(ctx, t.Name); err != nil {
			return err
		}
	}
	counts := make(map[string]int32)
	for topic, d := range r.topics {
		r.app.topics.declare(d)
		found, err := r.app.topics.need(ctx, topic)
		if err != nil {
			return err
		}
		counts[topic] = found.partitions
	}
	if r.stateful() && len(r.topics) > 1 {
		names := r.topicNames()
		for _, t := range names[1:] {
			if counts[t] != counts[names[0]] {
				return fmt.Errorf("tidings: reaction %q keeps state over topics with different numbers of partitions (%s has %d, %s has %d): a subject would be split between instances; keep facts of one subject on one topic, or give the topics equal numbers",
					r.name, names[0], counts[names[0]], t, counts[t])
			}
		}
	}
	return nil
}

// known is what the log says of one subscription: the first fact since it was last retired, and the last of all.
type knownSubscription struct{ first, last *obligation.Subscription }

func (r *reaction) subscriptions(ctx context.Context) (map[string]knownSubscription, error) {
	known := make(map[string]knownSubscription)
	err := r.app.readTopic(ctx, obligation.SubscriptionsTopic, func(rec *kgo.Record) {
		if !strings.HasPrefix(string(rec.Key), r.name+"/") {
			return
		}
		topic := strings.TrimPrefix(string(rec.Key), r.name+"/")
		if len(rec.Value) == 0 {
			delete(known, topic)
			return
		}
		f, err := obligation.Decode(rec.Value)
		s, ok := f.(*obligation.Subscription)
		if err != nil || !ok || s.Reaction != r.name || s.Topic != topic {
			return // of a later version, or not ours
		}
		k := known[topic]
		if k.first == nil || k.last.Retired {
			k.first = s
		}
		k.last = s
		known[topic] = k
	})
	return known, err
}

// newSubscription resolves where the reaction starts. One that was retired keeps its starts, since its group keeps its
// positions; it listens anew from now.
func (r *reaction) newSubscription(ctx context.Context, topic string, retired *obligation.Subscription) (*obligation.Subscription, error) {
	ends, err := r.app.topics.ends(ctx, topic)
	if err != nil {
		return nil, fmt.Errorf("where %s ends: %w", topic, err)
	}
	s := &obligation.Subscription{
		Reaction: r.name, Topic: topic, Types: r.types(topic), At: time.Now().UTC(),
		Since: ends[topic],
	}
	switch start := r.start; {
	case retired != nil:
		s.Start = retired.Start
	case start == nil || start.kind == startEnd:
		s.Start = maps.Clone(ends[topic])
	case start.kind == startBeginning:
		starts, err := r.app.topics.starts(ctx, topic)
		if err != nil {
			return nil, fmt.Errorf("where %s begins: %w", topic, err)
		}
		s.Start = starts[topic]
	case start.kind == startTime:
		at, err := r.app.topics.at(ctx, start.at, topic)
		if err != nil {
			return nil, fmt.Errorf("where %s stood at %v: %w", topic, start.at, err)
		}
		s.Start = at[topic]
		for p, end := range s.Since { // nothing that late: the end as of Since
			s.Start[p] = min(s.Start[p], end)
		}
	}
	return s, nil
}

func (r *reaction) writeSubscriptions(ctx context.Context, subs []*obligation.Subscription) error {
	var records []*kgo.Record
	for _, s := range subs {
		records = append(records, &kgo.Record{Topic: s.RecordTopic(), Key: []byte(s.Key()), Value: obligation.Encode(s)})
	}
	if err := r.app.produce(ctx, records...); err != nil {
		return fmt.Errorf("write subscription: %w", err)
	}
	return nil
}

// agree reads back what was written. When two new instances have written at the same time, the first one's starts count,
// and the last fact, which is the one that compaction keeps, is made to say so.
func (r *reaction) agree(ctx context.Context) (map[string]knownSubscription, error) {
	known, err := r.subscriptions(ctx)
	if err != nil {
		return nil, err
	}
	var repaired []*obligation.Subscription
	for topic, k := range known {
		if k.last.Retired || maps.Equal(k.first.Start, k.last.Start) && maps.Equal(k.first.Since, k.last.Since) {
			continue
		}
		s := *k.last
		s.Start, s.Since, s.At = k.first.Start, k.first.Since, k.first.At
		repaired = append(repaired, &s)
		known[topic] = knownSubscription{k.first, &s}
	}
	if len(repaired) == 0 {
		return known, nil
	}
	return known, r.writeSubscriptions(ctx, repaired)
}
