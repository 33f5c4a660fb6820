package demo

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"tidings.dev/broker"
	"tidings.dev/examples/shop/facts"
	"tidings.dev/internal/cli/shell"
	"tidings.dev/internal/obligation"
	"tidings.dev/internal/offsets"
)

// Case: one payment is in the log twice, and another source has an event of the same id. Of a reaction's marks, one event
// is skipped and one is of a type that it does not ask for; the second record of the payment is a copy, which is not among
// those that are done.
func TestBooksCountEachEventOnce(t *testing.T) {
	b, err := broker.Open(broker.Config{Memory: true})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	log, err := shell.InProcess(b).Log(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	for _, topic := range bookTopics {
		log.Declare(topic, 1, nil)
		if _, err := log.Topic(t.Context(), topic); err != nil {
			t.Fatal(err)
		}
	}
	event := func(source, id, eventType, data string) *kgo.Record {
		r := &kgo.Record{Topic: facts.Topic, Key: []byte("order/1"), Value: []byte(data)}
		for name, value := range map[string]string{"specversion": "1.0", "source": source, "id": id, "type": eventType} {
			r.Headers = append(r.Headers, kgo.RecordHeader{Key: "ce_" + name, Value: []byte(value)})
		}
		return r
	}
	fact := func(f interface {
		obligation.Fact
		RecordTopic() string
		Key() string
	}) *kgo.Record {
		return &kgo.Record{Topic: f.RecordTopic(), Key: []byte(f.Key()), Value: obligation.Encode(f)}
	}
	captured := facts.PaymentCaptured.Name()
	if err := log.ProduceSync(t.Context(),
		event("payment", "1", captured, `{"pence":100}`),
		event("payment", "1", captured, `{"pence":100}`),
		event("other", "1", captured, `{"pence":20}`),
		event("orders", "2", facts.OrderPlaced.Name(), `{}`),
		fact(&obligation.Subscription{Reaction: "email", Topic: facts.Topic, Types: []string{captured}}),
		fact(&obligation.Subscription{Reaction: "gone", Topic: facts.Topic}),
		fact(&obligation.Subscription{Reaction: "gone", Topic: facts.Topic, Revision: 1, Retired: true}),
		fact(&obligation.Marks{Reaction: "email", Topic: facts.Topic, Done: []offsets.Range{{Lo: 0, Hi: 1}, {Lo: 2, Hi: 4}},
			Unhandled: []offsets.Range{{Lo: 3, Hi: 4}}, Skipped: []obligation.Skipped{{Offset: 2}}, Copies: []obligation.Copy{{Offset: 1, Of: 0}}}),
	); err != nil {
		t.Fatal(err)
	}

	books, err := openBooks(t.Context(), log)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	followed := make(chan error, 1)
	go func() { followed <- books.follow(ctx) }()
	if err := books.catchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := books.events(); n != 3 {
		t.Errorf("%d events, want 3", n)
	}
	if got, want := books.totals(120), (totals{CapturedPence: 120, RevenueViewPence: 120, Equal: true}); got != want {
		t.Errorf("totals %+v, want %+v", got, want)
	}
	if got, want := books.reactions()["email"], (reactionCounts{Handled: 1, Skipped: 1, Duplicates: 1}); got != want {
		t.Errorf("email %+v, want %+v", got, want)
	}
	if _, there := books.reactions()["gone"]; there {
		t.Error("a reaction that was retired is counted")
	}
	patience, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := books.awaitReactions(patience, []string{"email"}); err != nil {
		t.Errorf("email has done everything, and is waited for: %v", err)
	}
	stop()
	if err := <-followed; !errors.Is(err, context.Canceled) {
		t.Errorf("follow ended with %v", err)
	}
}
