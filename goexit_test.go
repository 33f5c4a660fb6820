package tidings_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"tidings.dev"
)

// goexitError is an error whose text cannot be had.
type goexitError struct{}

func (goexitError) Error() string { runtime.Goexit(); return "" }

// panicError is an error whose text cannot be had either.
type panicError struct{}

func (panicError) Error() string { panic("no text") }

// Case: what runs inside a handler ends the goroutine, or an error that it returns does. There is one worker, and each failed
// attempt leaves it to others.
func TestWhateverEndsTheGoroutineInAHandlerIsAFailedAttempt(t *testing.T) {
	where := keep(t)
	ends := tidings.Define[order]("shop.order.ended", tidings.In("orders"), tidings.Subject(func(o order) string { runtime.Goexit(); return "" }))
	var attempts, seen journal
	app := open(t, "email", where)
	tidings.React(app, placed, func(ctx context.Context, e tidings.Event[order]) error {
		attempts.note(e)
		if attempts.count(e.Subject) <= 3 {
			switch e.Data.ID {
			case "handler":
				runtime.Goexit()
			case "subject":
				_, err := ends.Emit(ctx, e.Data)
				return err
			case "goexit error":
				return goexitError{}
			case "panic error":
				return fmt.Errorf("looked at it: %w", panicError{})
			}
		}
		seen.note(e)
		return nil
	}, tidings.Concurrency(1), tidings.Retry(tidings.Backoff(time.Millisecond, 5*time.Millisecond)))
	run := start(t, app)
	for _, id := range []string{"handler", "subject", "goexit error", "panic error"} {
		run.emit(placed, order{id, 1})
		run.emit(placed, order{id, 2})
	}
	eventually(t, "all are handled", func() bool { return seen.len() == 8 })
	eventually(t, "all are counted", func() bool { return run.Stats()["email"].Handled == 8 })
	run.stop()
	seen.ordered(t)
	if s := app.Stats()["email"]; s.Retried != 12 || s.Waiting != 0 {
		t.Errorf("%+v", s)
	}
}

// count returns how often a subject's facts were noted.
func (j *journal) count(subject string) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.seqs[subject])
}

// Case: a fold panics, or ends its goroutine, with one event. The subject of that event is broken and its events wait; the
// reaction and all other subjects go on. A program that can fold it builds the state anew and handles what has waited.
func TestAFoldThatFailsBreaksItsSubjectOnly(t *testing.T) {
	where := keep(t)
	var mended atomic.Bool
	var reacted journal
	sums := func() (*tidings.App, *tidings.States[int]) {
		app := open(t, "sums", where)
		states := tidings.ReactWith(app, tidings.Facts(placed), func(s *int, e tidings.Any) {
			if !mended.Load() && e.Subject == "order/panic" {
				panic("no")
			}
			if !mended.Load() && e.Subject == "order/goexit" {
				runtime.Goexit()
			}
			*s++
		}, func(_ context.Context, s int, e tidings.Any) error {
			o, _, err := placed.From(e)
			if s != o.Data.Seq {
				t.Errorf("%s %d is handled with the state %d", e.Subject, o.Data.Seq, s)
			}
			reacted.note(o)
			return err
		}, tidings.Retry(tidings.Backoff(time.Millisecond, 10*time.Millisecond)), tidings.FromBeginning())
		return app, states
	}
	app, states := sums()
	run := start(t, app)
	for seq := range 3 {
		for _, id := range []string{"panic", "goexit", "good"} {
			run.emit(placed, order{id, seq + 1})
		}
	}
	eventually(t, "the good subject is handled", func() bool { return reacted.count("order/good") == 3 })
	eventually(t, "the others wait", func() bool {
		s := run.Stats()["sums"]
		return s.Waiting == 6 && s.Retried >= 4
	})
	for _, subject := range []string{"order/panic", "order/goexit"} {
		broken, ok := errors.AsType[*tidings.FoldError](states.Err(subject))
		if _, has := states.Get(subject); !ok || has || broken.Meta.Subject != subject {
			t.Errorf("%s: %v", subject, states.Err(subject))
		}
	}
	if err := states.Err("order/good"); err != nil {
		t.Error(err)
	}
	for subject, s := range states.All() {
		if subject != "order/good" || s != 3 {
			t.Errorf("%s: %d", subject, s)
		}
	}
	run.stop()

	mended.Store(true)
	app, states = sums()
	run = start(t, app)
	eventually(t, "what has waited is handled", func() bool { return reacted.len() == 9 })
	for _, subject := range []string{"order/panic", "order/goexit"} {
		if err := states.Err(subject); err != nil {
			t.Errorf("%s is mended: %v", subject, err)
		}
	}
	run.stop()
	reacted.ordered(t)
}

// Case: work ends its goroutine, as a test that fails in it does. The app is closed all the same.
func TestMainClosesTheAppIfItsWorkEndsTheGoroutine(t *testing.T) {
	app := open(t, "email", keep(t))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		app.Main(t.Context(), func(context.Context) error { runtime.Goexit(); return nil })
	}()
	<-ended
	if _, err := placed.Emit(app.Context(t.Context()), order{ID: "1"}); !errors.Is(err, tidings.ErrClosed) {
		t.Errorf("Emit after Main: %v", err)
	}
}
