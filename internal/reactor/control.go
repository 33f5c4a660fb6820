package reactor

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"tidings.dev/internal/logclient"
	"tidings.dev/internal/obligation"
)

// controlEvery is how often an instance looks whether there are commands for the partitions that it owns. It costs a request.
const controlEvery = time.Second

// controlLog is what was read of the commands for one reaction. Its methods are safe for concurrent use.
type controlLog struct {
	client   *logclient.Client
	reaction string

	mu   sync.Mutex          // protects what follows; held while the log is read
	next int64               // the offset from which on nothing was read
	read obligation.Commands // of those that have a result, nothing else is kept
}

func newControlLog(client *logclient.Client, reaction string) *controlLog {
	return &controlLog{client: client, reaction: reaction, read: make(obligation.Commands)}
}

// refresh reads what is new, up to the end that the log has when it begins. It costs one request if there is nothing.
func (l *controlLog) refresh(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	topic, err := l.client.Topic(ctx, obligation.ControlTopic)
	if err != nil {
		return err
	}
	ends, err := l.client.EndsOf(ctx, []logclient.Topic{topic})
	if err != nil {
		return err
	}
	end := ends[obligation.ControlTopic][0]
	if end < l.next { // the topic was made anew
		l.next = 0
		clear(l.read)
	}
	if end <= l.next {
		return nil
	}
	starts, err := l.client.StartsOf(ctx, []logclient.Topic{topic})
	if err != nil {
		return err
	}
	l.next = max(l.next, starts[obligation.ControlTopic][0])
	for rec, err := range l.client.Read(ctx, logclient.Offsets{obligation.ControlTopic: {0: l.next}}, ends) {
		if err != nil {
			return err
		}
		l.next = rec.Offset + 1
		l.add(rec)
	}
	l.next = max(l.next, end)
	return nil
}

// forget drops what was read.
func (l *controlLog) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.next = 0
	clear(l.read)
}

func (l *controlLog) add(rec *kgo.Record) {
	if !strings.HasPrefix(string(rec.Key), l.reaction+"/") {
		return
	}
	l.read.Add(rec.Value, rec.Offset, rec.Timestamp)
	if c := l.read[string(rec.Key)]; c != nil && c.Result != nil {
		c.Command, c.Claim = nil, nil
	}
}

// open returns copies of what is known of the open commands of partitions that of accepts, by partition, in the order of the log.
func (l *controlLog) open(of func(topicPartition) bool) map[topicPartition][]obligation.Commanded {
	l.mu.Lock()
	defer l.mu.Unlock()
	found := make(map[topicPartition][]obligation.Commanded)
	for _, c := range l.read {
		if !c.Open() || c.Command.Reaction != l.reaction {
			continue
		}
		if tp := (topicPartition{c.Command.Topic, c.Command.Partition}); of(tp) {
			found[tp] = append(found[tp], *c)
		}
	}
	for _, cs := range found {
		slices.SortFunc(cs, func(a, b obligation.Commanded) int { return int(a.Offset - b.Offset) })
	}
	return found
}

// claim appends that this instance takes up commands, and returns them with the time of that by the log's clock.
func (l *controlLog) claim(ctx context.Context, commands map[topicPartition][]obligation.Commanded, by string) (map[topicPartition][]obligation.Commanded, error) {
	var claims []*kgo.Record
	for _, cs := range commands {
		for _, c := range cs {
			claims = append(claims, recordOfFact(&obligation.Claim{
				ID: c.Command.ID, Reaction: c.Command.Reaction, Topic: c.Command.Topic, Partition: c.Command.Partition, By: by, At: time.Now().UTC(),
			}))
		}
	}
	if err := l.client.ProduceSync(ctx, claims...); err != nil {
		return nil, err
	}
	if err := l.refresh(ctx); err != nil {
		return nil, err
	}
	return l.open(func(tp topicPartition) bool { return commands[tp] != nil }), nil
}

// answer appends the results of commands.
func (r *Reactor) answer(ctx context.Context, results []*obligation.Result) error {
	if len(results) == 0 {
		return nil
	}
	r.mu.Lock()
	by := r.membership.member
	r.mu.Unlock()
	var records []*kgo.Record
	for _, res := range results {
		res.By, res.At = by, time.Now().UTC()
		records = append(records, recordOfFact(res))
		r.logResult(res)
	}
	return r.client.ProduceSync(ctx, records...)
}

func (r *Reactor) logResult(res *obligation.Result) {
	attrs := []any{"id", res.ID, "topic", res.Topic, "partition", res.Partition, "who", res.Who, "why", res.Why}
	if res.State == obligation.ResultDone {
		r.spec.Log.Info("the position was moved as commanded", append(attrs, "from", res.From, "to", res.To, "epoch", res.Epoch)...)
		return
	}
	r.spec.Log.Warn("a command was not carried out", append(attrs, "state", res.State, "reason", res.Reason)...)
}
