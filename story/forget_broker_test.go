package story_test

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"tidings.dev"
	"tidings.dev/embedded"
	"tidings.dev/internal/cloudevent"
	"tidings.dev/internal/obligation"
	"tidings.dev/story"
)

// deleteBelow deletes the records of partition 0 of a topic below its end.
func deleteBelow(t *testing.T, cl *kgo.Client, topic string) {
	t.Helper()
	adm := kadm.NewClient(cl)
	ends, err := adm.ListEndOffsets(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	deleted, err := adm.DeleteRecords(t.Context(), ends.Offsets())
	if err == nil {
		err = deleted.Error()
	}
	if err != nil {
		t.Fatal(err)
	}
}

// An order of which one topic keeps the events is partly gone, and says so; what a reaction has not handled is lost, and its
// story stays. When nothing of an order is in the log any more, the index knows nothing of it.
func TestTheIndexForgetsWhatTheLogHasLost(t *testing.T) {
	t.Parallel()
	conn := embedded.WithoutStory(embedded.Memory())
	path := filepath.Join(t.TempDir(), "index")
	x := index(t, conn, path, true)
	_, stopPayment := run(t, conn, "payment", charge)
	shop, _ := run(t, conn, "shop", nil)
	ctx, cancel := context.WithTimeout(shop.Context(t.Context()), time.Minute)
	defer cancel()
	receipt, err := placed.Emit(ctx, order{"1"})
	if err == nil {
		err = receipt.Settled(ctx)
	}
	if err != nil {
		t.Fatal(err)
	}
	// The app that emits this one does not wait for it before all of it is gone.
	other, _ := run(t, conn, "other", nil)
	late, err := placed.Emit(other.Context(ctx), order{"3"})
	if err == nil {
		err = x.WaitSettled(ctx)
	}
	if err != nil {
		t.Fatal(err)
	}
	stopPayment()
	lost, err := placed.Emit(ctx, order{"2"})
	if err != nil {
		t.Fatal(err)
	}
	cl := client(t, conn)
	if err := x.CatchUp(ctx, nil); err != nil {
		t.Fatal(err)
	}

	deleteBelow(t, cl, "orders")
	if err := x.Forget(ctx); err != nil {
		t.Fatal(err)
	}
	s, err := x.Story(ctx, receipt.Correlation, nil)
	if err != nil || s.Events != 1 || s.GoneEvents != 1 || s.Standing != story.StandingSettled || !strings.Contains(s.Sentence, "1 earlier event fell to retention") {
		t.Errorf("the order that is partly gone: %+v, %v", s, err)
	}
	isLost := func() {
		t.Helper()
		s, err := x.Story(ctx, lost.Correlation, nil)
		if err != nil || s.Events != 1 || s.GoneEvents != 0 || s.Standing != story.StandingOpen || !strings.Contains(s.Sentence, "lost for payment") {
			t.Errorf("the order that nobody has handled: %+v, %v", s, err)
		}
	}
	isLost()

	deleteBelow(t, cl, "payments")
	if err := x.Forget(ctx); err != nil {
		t.Fatal(err)
	}
	if s, err := x.Story(ctx, receipt.Correlation, nil); !errors.Is(err, story.ErrNotFound) {
		t.Errorf("the order that is gone: %+v, %v", s, err)
	}
	isLost()
	if s := x.Index().Stats(); s.Events != 1 || s.Stories != 1 || s.Open != 1 || s.Settled != 0 {
		t.Errorf("%+v", s)
	}
	if err := late.Settled(other.Context(ctx)); err != nil {
		t.Errorf("an order that has settled before it was forgotten: %v", err)
	}
	// The order goes on after all: it settles as a new story does.
	again, err := charged.Emit(tidings.WithCorrelation(ctx, receipt.Correlation), order{"1"})
	if err == nil {
		err = again.Settled(ctx)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// A fact covers an event that is not in the log, as an open transaction's may be for long. It is applied all the same.
func TestAFactIsNotHeldBackForEver(t *testing.T) {
	t.Parallel()
	conn := embedded.WithoutStory(embedded.Memory())
	x := index(t, conn, filepath.Join(t.TempDir(), "index"), false)
	cl := client(t, conn)
	adm := kadm.NewClient(cl)
	for _, topic := range []string{"orders", obligation.StoryTopic} {
		if _, err := adm.CreateTopic(t.Context(), 1, -1, nil, topic); err != nil {
			t.Fatal(err)
		}
	}
	e := cloudevent.Event{ID: "a", Type: "test.order.placed", Source: "shop", Subject: "order/1", Time: time.Now(), Correlation: "a", Data: []byte(`{}`)}
	f := &obligation.Settled{Correlation: "a", Root: "a", Episode: 1, Events: 2, Through: []obligation.Position{{Topic: "orders", Offset: 7}}, At: time.Now()}
	for _, r := range []*kgo.Record{e.Record("orders"), {Topic: obligation.StoryTopic, Key: []byte(f.Key()), Value: obligation.Encode(f)}} {
		if err := cl.ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := x.CatchUp(ctx, nil); err != nil {
		t.Fatal(err)
	}
	if s, err := x.Story(ctx, "a", nil); err != nil || s.Standing != story.StandingSettled {
		t.Errorf("%+v, %v", s, err)
	}
}
