package tidings_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"tidings.dev"
	"tidings.dev/internal/obligation"
)

// Case: as many handlers hang as may run at a time, and do not look at their contexts. Others run in their place; those that
// hang are named, their subjects wait, and go on in order when they return.
func TestHandlersThatHangHoldUpTheirSubjectsOnly(t *testing.T) {
	where := keep(t)
	var seen journal
	lines := new(logged)
	release := make(chan struct{})
	app := open(t, "email", where, tidings.WithLogger(slog.New(slog.NewTextHandler(lines, nil))))
	tidings.React(app, placed, func(ctx context.Context, e tidings.Event[order]) error {
		if strings.HasPrefix(e.Data.ID, "hangs") && e.Data.Seq == 1 {
			<-release
			if err := ctx.Err(); err != nil && seen.count(e.Subject) == 0 && e.Data.ID == "hangs-1" {
				seen.note(tidings.Event[order]{Meta: tidings.Meta{Subject: "failed"}})
				return fmt.Errorf("looked at it: %w", err)
			}
		}
		seen.note(e)
		return nil
	}, tidings.Concurrency(2), tidings.Timeout(20*time.Millisecond), tidings.SlowAfter(10*time.Millisecond),
		tidings.Retry(tidings.Backoff(time.Millisecond, 5*time.Millisecond)))
	run := start(t, app)
	for _, seq := range []int{1, 2} {
		for _, id := range []string{"hangs-1", "hangs-2", "good-1", "good-2", "good-3"} {
			run.emit(placed, order{id, seq})
		}
	}
	eventually(t, "the good ones are handled", func() bool { return seen.len() == 6 })
	eventually(t, "those that hang are named", func() bool {
		s := app.Stats()["email"]
		return s.Running == 2 && len(s.Slow) == 2 && s.Slow[0].TimedOut && s.Slow[1].TimedOut
	})
	for _, h := range app.Stats()["email"].Slow {
		if !strings.HasPrefix(h.Subject, "order/hangs-") || h.Type != placed.Name() || h.Topic != "orders" || h.Attempt != 1 || time.Since(h.Since) < 20*time.Millisecond {
			t.Errorf("%+v", h)
		}
	}
	eventually(t, "the log names them", func() bool {
		return strings.Contains(lines.String(), "order/hangs-1") && strings.Contains(lines.String(), "order/hangs-2")
	})
	close(release)
	eventually(t, "all are handled", func() bool { return app.Stats()["email"].Handled == 10 })
	run.stop()
	if s := app.Stats()["email"]; s.Running != 0 || len(s.Slow) != 0 || s.Retried != 1 {
		t.Errorf("%+v", s)
	}
	seen.orderedBut(t, "failed")
	var retried []obligation.Retried
	for _, m := range facts[*obligation.Marks](t, where, obligation.ReactionsTopic) {
		retried = append(retried, m.Retried...)
	}
	if len(retried) != 1 || !strings.Contains(retried[0].Error, "Timeout of 20ms") {
		t.Errorf("%+v", retried)
	}
}

// orderedBut is ordered without one subject.
func (j *journal) orderedBut(t *testing.T, subject string) {
	j.mu.Lock()
	delete(j.seqs, subject)
	j.mu.Unlock()
	j.ordered(t)
}

// Case: a handler gets a context that ends with its Timeout, and RetryAfter counts for what it returns then.
func TestTheContextOfAHandlerEndsWithItsTimeout(t *testing.T) {
	var seen journal
	app := open(t, "email", keep(t))
	tidings.React(app, placed, func(ctx context.Context, e tidings.Event[order]) error {
		seen.note(e)
		if seen.len() == 1 {
			<-ctx.Done()
			if _, ok := ctx.Deadline(); !ok || !errors.Is(ctx.Err(), context.DeadlineExceeded) {
				t.Errorf("the context ends with %v", ctx.Err())
			}
			return tidings.RetryAfter(time.Millisecond, ctx.Err())
		}
		return nil
	}, tidings.Timeout(5*time.Millisecond), tidings.Retry(tidings.Backoff(time.Hour, time.Hour)))
	run := start(t, app)
	run.emit(placed, order{ID: "1"})
	eventually(t, "it is handled", func() bool { return run.Stats()["email"].Handled == 1 })
	run.stop()
}
