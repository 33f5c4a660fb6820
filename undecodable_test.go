package tidings_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"tidings.dev"
	"tidings.dev/internal/obligation"
)

// numbers is what another program emits under the name of placed: it does not decode as an order.
var numbers = tidings.Define[[]int]("shop.order.placed", tidings.In("orders", tidings.Partitions(4)),
	tidings.Subject(func([]int) string { return "order/1" }))

// Case: a payload does not decode. By default the event is tried again and its subject waits; with an option it is skipped, for
// a reason that is recorded, or handled by a function of its own, which may emit. This holds for handlers, for handlers with a
// state, and for views.
func TestAnOptionDecidesAboutEventsThatDoNotDecode(t *testing.T) {
	ignore := tidings.OnUndecodable(func(ctx context.Context, e tidings.Any, err error) error {
		if _, ok := errors.AsType[*tidings.PayloadError](err); !ok || string(e.Payload) != "[7]" {
			t.Errorf("%s: %v", e.Payload, err)
		}
		_, err = captured.Emit(ctx, order{ID: "undecodable"})
		return err
	})
	for option, with := range map[string][]tidings.ReactOption{
		"default": nil, "skip": {tidings.OnUndecodable(tidings.SkipUndecodable)}, "own": {ignore},
	} {
		for _, kind := range []string{"handler", "state", "view"} {
			t.Run(option+" "+kind, func(t *testing.T) {
				t.Parallel()
				where := keep(t)
				var seen journal
				var folds atomic.Int32
				app := open(t, "email", where)
				opts := append([]tidings.ReactOption{tidings.Retry(tidings.Backoff(time.Millisecond, 5*time.Millisecond))}, with...)
				fold := func(n *int, e tidings.Any) {
					folds.Add(1)
					if o, _, err := placed.From(e); err == nil {
						seen.note(o)
						*n++
					}
				}
				switch kind {
				case "handler":
					tidings.React(app, placed, func(_ context.Context, e tidings.Event[order]) error { seen.note(e); return nil }, opts...)
				case "state":
					tidings.ReactWith(app, tidings.Facts(placed), fold, func(_ context.Context, n int, e tidings.Any) error {
						if o, _, err := placed.From(e); err != nil || n != o.Data.Seq {
							t.Errorf("%s is handled with %d: %v", e.Payload, n, err)
						}
						return nil
					}, opts...)
				case "view":
					tidings.ReactWith(app, tidings.Facts(placed), fold, nil, opts...)
				}
				run := start(t, app)
				if _, err := numbers.Emit(run.ctx, []int{7}); err != nil {
					t.Fatal(err)
				}
				run.emit(placed, order{"1", 1})
				run.emit(placed, order{"2", 1})
				stats := func() tidings.ReactionStats { return run.Stats()["email"] }
				var want int
				switch option {
				case "default":
					want = 1
					eventually(t, "it is tried again, and its subject waits", func() bool { s := stats(); return s.Handled == 1 && s.Retried > 2 && s.Waiting == 2 })
				case "skip":
					want = 2
					eventually(t, "it is skipped", func() bool { s := stats(); return s.Handled == 2 && s.Skipped == 1 })
				case "own":
					want = 2
					eventually(t, "it is handled", func() bool { s := stats(); return s.Handled == 3 && s.Emitted == 1 })
				}
				run.stop()
				if seen.len() != want {
					t.Errorf("%d events are seen, want %d", seen.len(), want)
				}
				if n := folds.Load(); kind != "handler" && int(n) != want+1 {
					t.Errorf("%d folds, want %d", n, want+1)
				}
				for _, m := range facts[*obligation.Marks](t, where, obligation.ReactionsTopic) {
					if len(m.Skipped) != 0 && option != "skip" {
						t.Errorf("skipped: %+v", m.Skipped)
					}
					for _, s := range m.Skipped {
						if !strings.Contains(s.Reason, "does not decode") {
							t.Errorf("skipped since %q", s.Reason)
						}
					}
				}
			})
		}
	}
}
