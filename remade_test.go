package tidings_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"

	"tidings.dev"
	"tidings.dev/internal/obligation"
)

// deleteTopic deletes a topic under everybody.
func deleteTopic(t *testing.T, where tidings.Connection, topic string) {
	t.Helper()
	answer, err := kadm.NewClient(client(t, where)).DeleteTopic(t.Context(), topic)
	if err != nil || answer.Err != nil {
		t.Fatal(answer, err)
	}
}

// Topics are deleted under a running app: that which it listens to, that which its handlers emit to, and those in which it
// writes down what it has done. The next emission makes the topic again, and the reaction takes it up from its start; each
// event of the new topic is handled once, and few lines are logged. A restart handles none of them again.
func TestATopicIsDeletedUnderARunningApp(t *testing.T) {
	where := keep(t)
	var log logged
	var seen journal
	build := func() *running {
		app := open(t, "payment", where, tidings.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
		tidings.React(app, placed, func(ctx context.Context, e tidings.Event[order]) error {
			seen.note(e)
			_, err := elsewhere.Emit(ctx, e.Data)
			return err
		})
		return start(t, app)
	}
	run := build()
	emitted := 0
	emit := func(n int) {
		t.Helper()
		for range n {
			emitted++
			run.emit(placed, order{ID: fmt.Sprint("o", emitted)})
		}
		eventually(t, "all are handled", func() bool { return seen.len() == emitted && run.Stats()["payment"].Waiting == 0 })
	}
	emit(20)
	for _, topic := range []string{"orders", "elsewhere", obligation.ReactionsTopic, "orders"} {
		deleteTopic(t, where, topic)
		emit(10)
	}
	// Case: nobody emits for a while, and somebody else makes the topic.
	deleteTopic(t, where, "orders")
	eventually(t, "it is noticed", func() bool { return strings.Contains(log.String(), "the reaction waits until it is made again") })
	shop := open(t, "shop", where)
	emitted++
	if _, err := placed.Emit(shop.Context(t.Context()), order{ID: "other"}); err != nil {
		t.Fatal(err)
	}
	emit(5)
	run.stop()

	if lines := strings.Count(log.String(), "\n"); lines > 40 {
		t.Errorf("%d lines are logged: %s", lines, &log)
	}
	if n := len(dump(t, where, "orders")); n != 6 {
		t.Errorf("%d records are in the last topic", n)
	}

	run = build()
	run.emit(placed, order{ID: "last"})
	eventually(t, "the last one is handled", func() bool { return run.Stats()["payment"].Handled > 0 })
	run.stop()
	emitted++
	if n := seen.len(); n != emitted {
		t.Errorf("%d are handled after a restart, in place of %d", n, emitted)
	}

	// Case: it is deleted and made again while the app is down.
	deleteTopic(t, where, "orders")
	for i := range 30 {
		if _, err := placed.Emit(shop.Context(t.Context()), order{ID: fmt.Sprint("down", i)}); err != nil {
			t.Fatal(err)
		}
	}
	run = build()
	emitted += 30
	emit(1)
	run.stop()
	if n := seen.len(); n != emitted {
		t.Errorf("%d are handled, in place of %d", n, emitted)
	}
}

// A topic is deleted under a running app and made again with another number of partitions, so that the group shares out partitions of
// the new topic before a fetch from the old one has failed. The reaction handles all of its events, whether it listens to another
// topic, too, or not.
func TestATopicIsMadeAgainWithOtherPartitions(t *testing.T) {
	where := keep(t)
	adm := kadm.NewClient(client(t, where))
	create := func(topic string, partitions int32) {
		t.Helper()
		if _, err := adm.CreateTopic(t.Context(), partitions, 1, nil, topic); err != nil {
			t.Fatal(err)
		}
	}
	create("orders", 2)
	create("elsewhere", 2)
	app := open(t, "payment", where)
	var one, two journal
	tidings.React(app, placed, func(_ context.Context, e tidings.Event[order]) error { one.note(e); return nil }, tidings.Named("one"))
	tidings.React(app, placed, func(_ context.Context, e tidings.Event[order]) error { two.note(e); return nil }, tidings.Named("two"))
	tidings.React(app, elsewhere, func(context.Context, tidings.Event[order]) error { return nil }, tidings.Named("two"))
	run := start(t, app)
	emitted := 0
	emit := func() {
		t.Helper()
		shop := open(t, "shop", where) // a new one each time, which knows nothing of the topics before
		for range 10 {
			emitted++
			if _, err := placed.Emit(shop.Context(t.Context()), order{ID: fmt.Sprint("o", emitted)}); err != nil {
				t.Fatal(err)
			}
		}
		eventually(t, "all are handled", func() bool { return one.len() == emitted && two.len() == emitted })
		// Otherwise a commit would fail, from which the reaction would know.
		for _, group := range []string{"one", "two"} {
			eventually(t, "all is committed", func() bool {
				lags, err := adm.Lag(t.Context(), group)
				return err == nil && lags[group].Lag.Total() == 0
			})
		}
	}
	emit()
	for _, partitions := range []int32{4, 1, 3} {
		deleteTopic(t, where, "orders")
		create("orders", partitions)
		emit()
	}
	run.stop()
}
