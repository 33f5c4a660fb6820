package tidings_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"tidings.dev"
	"tidings.dev/embedded"
	"tidings.dev/internal/batch"
	"tidings.dev/internal/oldlog"
)

// logLines keeps what is logged.
type logLines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logLines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logLines) count(what string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), what)
}

// The log begins with batches that nobody can decode, from a time before brokers refused them. Reactions and the indexer
// say so with their place, and go on after them.
func TestUndecodableBatchesArePassedOver(t *testing.T) {
	t.Parallel()
	dir := oldlog.Make(t,
		oldlog.Batch{Records: 4, Claimed: 4, Codec: batch.Gzip, Of: oldlog.AsTheyAre},
		oldlog.Batch{Records: 3, Claimed: 5, Codec: batch.Gzip, Of: oldlog.Zipped},
		oldlog.Batch{Records: 2, Claimed: 2, Codec: batch.Zstd, Of: oldlog.Zipped},
		oldlog.Batch{Records: 2, Claimed: 100_000, Codec: batch.Gzip, Of: oldlog.AsTheyAre},
		// It is as large as a fetch, so that kgo does not go past it because another is behind it.
		oldlog.Batch{Records: 2, Claimed: 2, Of: func([]byte) []byte { return bytes.Repeat([]byte{0xff}, 1<<20-batch.HeaderBytes) }},
	)
	var lines logLines
	app := open(t, "audit", embedded.File(dir), tidings.WithLogger(slog.New(slog.NewTextHandler(&lines, nil))))
	handled := make(chan int64, 10)
	tidings.React(app, placed, func(_ context.Context, e tidings.Event[order]) error {
		handled <- e.Offset
		return nil
	}, tidings.FromBeginning())
	run := start(t, app)
	receipt := run.emit(placed, order{ID: "1"})
	select {
	case at := <-handled:
		if at != 100_013 {
			t.Errorf("the event at offset %d was handled, it is at 100,013", at)
		}
	case <-time.After(patience):
		t.Fatal("the event after them was not handled")
	}
	ctx, cancel := context.WithTimeout(run.ctx, patience)
	defer cancel()
	if err := receipt.Settled(ctx); err != nil {
		t.Error("its story does not settle:", err)
	}
	run.stop()
	// Warnings of one cause are written once a second, so that the later batches may not have a line of their own.
	if n := lines.count("app=audit topic=orders partition=0 offset=0\n"); n != 1 {
		t.Errorf("the first place was logged %d times", n)
	}
	if n := lines.count("cannot be decoded"); n > 5 {
		t.Errorf("%d lines about five batches", n)
	}
}
