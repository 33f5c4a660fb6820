package tidings_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tidings.dev"
	"tidings.dev/internal/obligation"
)

// A fact is emitted once; every reaction gets it, at its own pace, and the emitter knows none of them.
func TestEveryReactionGetsEveryEvent(t *testing.T) {
	where := keep(t)
	var payment, email, analytics journal
	stuck := make(chan struct{})
	shop := open(t, "payment", where)
	tidings.React(shop, placed, func(_ context.Context, e tidings.Event[order]) error { payment.note(e); return nil })
	tidings.React(shop, placed, func(_ context.Context, e tidings.Event[order]) error { email.note(e); return nil }, tidings.Named("email"))
	tidings.React(shop, placed, func(_ context.Context, e tidings.Event[order]) error {
		<-stuck
		analytics.note(e)
		return nil
	}, tidings.Named("analytics"))
	run := start(t, shop)
	defer run.stop()

	for i := range 20 {
		run.emit(placed, order{ID: fmt.Sprint(i)})
	}
	eventually(t, "payment and email have seen all while analytics is stuck", func() bool { return payment.len() == 20 && email.len() == 20 })
	if analytics.len() != 0 {
		t.Errorf("analytics has seen %d events", analytics.len())
	}
	close(stuck)
	eventually(t, "analytics catches up", func() bool { return analytics.len() == 20 })
	if stats := run.Stats(); stats["payment"].Handled != 20 || stats["email"].Handled != 20 {
		t.Errorf("stats: %+v", stats)
	}
}

// Facts of many orders, many handlers at a time, and now and then one fails: each order's facts are still seen in order,
// and other orders do not wait for it.
func TestFactsOfOneSubjectAreHandledInOrder(t *testing.T) {
	where := keep(t)
	var seen journal
	var attempts, inFlight, most atomic.Int32
	app := open(t, "warehouse", where)
	tidings.React(app, placed, func(_ context.Context, e tidings.Event[order]) error {
		most.Store(max(most.Load(), inFlight.Add(1)))
		defer inFlight.Add(-1)
		time.Sleep(200 * time.Microsecond)
		if attempts.Add(1)%7 == 0 {
			return errors.New("the printer is out of paper")
		}
		seen.note(e)
		return nil
	}, tidings.Retry(tidings.Backoff(time.Millisecond, 4*time.Millisecond)))
	run := start(t, app)

	const orders, each = 30, 20
	var emitters sync.WaitGroup
	for i := range orders {
		emitters.Go(func() {
			for seq := 1; seq <= each; seq++ {
				run.emit(placed, order{fmt.Sprint(i), seq})
			}
		})
	}
	emitters.Wait()
	eventually(t, "all are handled", func() bool { return seen.len() == orders*each })
	run.stop()
	seen.ordered(t)
	if most.Load() < 2 {
		t.Error("no two subjects were handled at the same time")
	}
	stats := run.Stats()["warehouse"]
	if stats.Handled != orders*each || stats.Retried != int64(attempts.Load())-orders*each || stats.Waiting != 0 || stats.Retrying != 0 {
		t.Errorf("stats: %+v after %d attempts", stats, attempts.Load())
	}
}

// An event without a subject waits for nobody.
func TestFactsWithoutASubjectHaveNoOrder(t *testing.T) {
	ping := tidings.Define[string]("test.ping.sent", tidings.In("pings", tidings.Partitions(1)))
	app := open(t, "pong", keep(t))
	both := make(chan string)
	tidings.React(app, ping, func(_ context.Context, e tidings.Event[string]) error {
		both <- e.Data
		return nil
	})
	run := start(t, app)
	defer run.stop()
	for _, v := range []string{"first", "second"} {
		if _, err := ping.Emit(run.ctx, v); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "both handlers run", func() bool { return run.Stats()["pong"].Waiting == 2 })
	got := []string{<-both, <-both}
	slices.Sort(got)
	if !slices.Equal(got, []string{"first", "second"}) {
		t.Errorf("got %v", got)
	}
}

// What a handler's error says: skip is recorded with its reason, RetryAfter sets the wait, a panic and a payload that
// does not decode are failures like others and hold up their own subject only.
func TestOutcomesOfHandlers(t *testing.T) {
	where := keep(t)
	var seen journal
	var again atomic.Int32
	healed := make(chan struct{})
	app := open(t, "email", where)
	tidings.React(app, placed, func(ctx context.Context, e tidings.Event[order]) error {
		switch e.Data.ID {
		case "skip":
			return fmt.Errorf("looked at it: %w", tidings.Skip("no address"))
		case "panic":
			select {
			case <-healed:
			default:
				panic("nil map")
			}
		case "after":
			if again.Add(1) < 3 {
				return tidings.RetryAfter(time.Millisecond, errors.New("busy"))
			}
		}
		seen.note(e)
		return nil
	}, tidings.Retry(tidings.Backoff(5*time.Millisecond, 20*time.Millisecond)))
	wrong := tidings.Define[[]int]("shop.order.placed", tidings.In("orders"), tidings.Subject(func([]int) string { return "order/wrong" }))
	run := start(t, app)

	run.emit(placed, order{ID: "skip"})
	run.emit(placed, order{ID: "panic"})
	run.emit(placed, order{ID: "after"})
	if _, err := wrong.Emit(run.ctx, []int{1}); err != nil {
		t.Fatal(err)
	}
	run.emit(placed, order{ID: "good"})
	eventually(t, "the good ones are through", func() bool { return seen.len() == 2 })
	eventually(t, "the bad ones wait", func() bool { s := run.Stats()["email"]; return s.Waiting == 2 && s.Skipped == 1 })
	close(healed)
	eventually(t, "the one that panicked is through", func() bool { return seen.len() == 3 })
	run.stop()

	if got := seen.subjects(); !slices.Equal(got, []string{"order/after", "order/good", "order/panic"}) {
		t.Errorf("handled: %v", got)
	}
	var skipped []obligation.Skipped
	var retried []obligation.Retried
	for _, m := range facts[*obligation.Marks](t, where, obligation.ReactionsTopic) {
		skipped, retried = append(skipped, m.Skipped...), append(retried, m.Retried...)
	}
	if len(skipped) != 1 || skipped[0].Reason != "no address" {
		t.Errorf("skipped: %+v", skipped)
	}
	if len(retried) != 2 {
		t.Errorf("retried: %+v", retried)
	}
	for _, r := range retried {
		if r.Attempts < 2 || r.Error == "" {
			t.Errorf("retried: %+v", r)
		}
	}
}
