package tidings_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"tidings.dev"
)

// Handlers fail, panic and skip with texts of megabytes, and so does a fold. The lines of the log are short, and say how
// long the texts were.
func TestLongTextsOfHandlersAreCutInTheLog(t *testing.T) {
	where := keep(t)
	log := new(logged)
	app := open(t, "shop", where, tidings.WithLogger(log.logger()))
	text := strings.Repeat("x", 5_000_000)
	tidings.React(app, placed, func(_ context.Context, e tidings.Event[order]) error {
		switch e.Data.ID {
		case "error":
			return tidings.RetryAfter(time.Hour, fmt.Errorf("wrapped: %w", errors.New(text)))
		case "panic":
			panic(text)
		case "skip":
			return tidings.Skip(text)
		}
		return nil
	}, tidings.Named("handler"), tidings.Retry(tidings.Backoff(time.Hour, time.Hour)))
	tidings.ReactWith(app, tidings.Facts(placed), func(*int, tidings.Any) { panic(errors.New(text)) },
		func(context.Context, int, tidings.Any) error { return nil }, tidings.Named("fold"), tidings.Retry(tidings.Backoff(time.Hour, time.Hour)))
	run := start(t, app)
	const events = 4
	for _, id := range []string{"error", "panic", "skip", "last"} {
		run.emit(placed, order{ID: id})
	}
	eventually(t, "all were tried", func() bool {
		stats := run.Stats()
		return stats["handler"].Handled+stats["handler"].Skipped == 2 && stats["handler"].Waiting == 2 && stats["fold"].Waiting == events
	})
	eventually(t, "the failures are logged", func() bool { return strings.Count(log.String(), "will be tried again") >= 3 })
	for _, line := range strings.Split(log.String(), "\n") {
		if len(line) > 16<<10 {
			t.Errorf("a line has %d bytes: %.300s", len(line), line)
		}
	}
	for _, note := range []string{"(cut: 5000009 bytes)", "(cut: 5000007 bytes)"} { // behind "wrapped: " and "panic: "
		if !strings.Contains(log.String(), note) {
			t.Errorf("the log does not say %s", note)
		}
	}
}
