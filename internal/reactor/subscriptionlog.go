package reactor

import (
	"context"
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"

	"tidings.dev/internal/logclient"
	"tidings.dev/internal/obligation"
)

// subscriptionLog has the subscriptions of one reaction as read from the log so far. It is not safe for concurrent
// use.
type subscriptionLog struct {
	client   *logclient.Client
	reaction string
	topics   map[string]logclient.Topic // Reactor.topics, which New sets
	next     int64                      // the offset from which on the topic has not been read
	read     obligation.Subscriptions
}

func newSubscriptionLog(client *logclient.Client, reaction string) *subscriptionLog {
	return &subscriptionLog{client: client, reaction: reaction, read: make(obligation.Subscriptions)}
}

// refresh reads the subscriptions that were appended since the last refresh, up to the present end of the topic. If
// there are none, it costs one request.
func (l *subscriptionLog) refresh(ctx context.Context) error {
	topic, err := l.client.Topic(ctx, obligation.SubscriptionsTopic)
	if err != nil {
		return err
	}
	ends, err := l.client.EndsOf(ctx, []logclient.Topic{topic})
	if err != nil {
		return err
	}
	end := ends[obligation.SubscriptionsTopic][0]
	if end < l.next { // the topic was deleted and made again
		l.forget()
	}
	if end <= l.next {
		return nil
	}
	if l.next == 0 {
		starts, err := l.client.StartsOf(ctx, []logclient.Topic{topic})
		if err != nil {
			return err
		}
		l.next = starts[obligation.SubscriptionsTopic][0]
	}
	from := logclient.Offsets{obligation.SubscriptionsTopic: {0: l.next}}
	var records []*kgo.Record
	for rec, err := range l.client.Read(ctx, from, ends) {
		if err != nil {
			return err
		}
		if strings.HasPrefix(string(rec.Key), l.reaction+"/") {
			records = append(records, rec)
		}
	}
	possible, err := l.ends(ctx, records)
	if err != nil {
		return err
	}
	for _, rec := range records {
		l.read.Add(string(rec.Key), rec.Value, possible)
	}
	l.next = max(l.next, end)
	return nil
}

// forget drops what was read.
func (l *subscriptionLog) forget() {
	l.next = 0
	clear(l.read)
}

// ends asks for the ends of the topics that records are about, as far as they are topics of the reaction.
func (l *subscriptionLog) ends(ctx context.Context, records []*kgo.Record) (obligation.Ends, error) {
	about := make(map[string]logclient.Topic)
	for _, rec := range records {
		name := strings.TrimPrefix(string(rec.Key), l.reaction+"/")
		if topic, ok := l.topics[name]; ok {
			about[name] = topic
		}
	}
	if len(about) == 0 {
		return nil, nil
	}
	ends, err := l.client.EndsOf(ctx, slices.Collect(maps.Values(about)))
	if isGone(err) { // the topic was deleted: the next session looks for it
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return func(topic string, id obligation.TopicID, partition int32) (int64, bool) {
		end, known := ends[topic][partition]
		return end, known && id.Is(obligation.TopicID(about[topic].ID))
	}, nil
}

// of returns the subscription to a topic, or nil if there is none.
func (l *subscriptionLog) of(topic string) *obligation.Subscribed {
	return l.read[obligation.SubscriptionKey(l.reaction, topic)]
}

// all returns an iterator over the subscriptions, by topic.
func (l *subscriptionLog) all() iter.Seq2[string, *obligation.Subscribed] {
	return func(yield func(string, *obligation.Subscribed) bool) {
		for _, s := range l.read {
			if !yield(s.Now.Topic, s) {
				return
			}
		}
	}
}

// types returns a function that reports whether a subscription that is not retired has a type of a topic. The
// function's answers do not change with later refreshes.
func (l *subscriptionLog) types() func(topic, typ string) bool {
	named := make(map[[2]string]bool)
	for topic, s := range l.all() {
		if !s.Now.Retired {
			for _, typ := range s.Now.Types {
				named[[2]string{topic, typ}] = true
			}
		}
	}
	return func(topic, typ string) bool { return named[[2]string{topic, typ}] }
}
