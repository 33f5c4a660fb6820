package tidings_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"
	"time"

	"tidings.dev"
	"tidings.dev/embedded"
	"tidings.dev/internal/obligation"
)

// goroutinesWith returns how many goroutines have a function in their stack, or were created by it.
func goroutinesWith(function string) int {
	stacks := make([]byte, 1<<20)
	n := 0
	for stack := range strings.SplitSeq(string(stacks[:runtime.Stack(stacks, true)]), "\n\n") {
		if strings.Contains(stack, function) {
			n++
		}
	}
	return n
}

// A receipt outlives its app: asked whether its story has settled, it answers at once that the app is closed, and leaves
// no client behind that goes on dialling.
func TestSettledAfterClose(t *testing.T) {
	const clients = "kgo.(*Client)."
	where := keep(t)
	app := open(t, "shop", where)
	receipt, err := placed.Emit(app.Context(t.Context()), order{ID: "1"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	waited := make(chan error, 1)
	go func() { waited <- receipt.Settled(ctx) }()
	eventually(t, "stories are followed", func() bool { return goroutinesWith("ollower).run") > 0 })
	cancel()
	if err := <-waited; !errors.Is(err, context.Canceled) {
		t.Fatalf("nobody settles stories here: %v", err)
	}
	if err := app.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the app's clients are gone", func() bool { return goroutinesWith(clients) == 0 })
	ctx, cancel = context.WithTimeout(t.Context(), 2*time.Second) // for a receipt that waits after all
	defer cancel()
	if err := receipt.Settled(ctx); !errors.Is(err, tidings.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	if n := goroutinesWith(clients); n > 0 {
		t.Errorf("%d goroutines of a client are left after Close", n)
	}
}

// No indexer runs: Settled says so, and does not wait for the end of its context. If that comes first it says both.
func TestSettledWithoutAnIndexer(t *testing.T) {
	app := open(t, "shop", keep(t))
	receipt, err := placed.Emit(app.Context(t.Context()), order{ID: "1"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	if err := receipt.Settled(ctx); !errors.Is(err, tidings.ErrNoIndexer) || !strings.Contains(err.Error(), "tidings serve") {
		t.Errorf("without an indexer: %v", err)
	}
	again := open(t, "again", keep(t))
	if receipt, err = placed.Emit(again.Context(t.Context()), order{ID: "1"}); err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(t.Context(), 700*time.Millisecond)
	defer cancel()
	if err := receipt.Settled(short); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, tidings.ErrNoIndexer) {
		t.Errorf("a context that ends before: %v", err)
	}
}

// TestALateReceiptOfAReopenedStoryWaits has a story settle and joins another event to it. Once the story is said to be
// reopened, the receipt of its first event must wait until the story has settled again.
func TestALateReceiptOfAReopenedStoryWaits(t *testing.T) {
	where := embedded.Memory()
	link, err := where.Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer link.Close()
	app := open(t, "payment", where)
	release := make(chan struct{})
	tidings.React(app, placed, func(_ context.Context, e tidings.Event[order]) error {
		if e.Data.ID == "joined" {
			<-release
		}
		return nil
	})
	run := start(t, app)
	story := tidings.WithCorrelation(run.ctx, "basket/7")
	first, err := placed.Emit(story, order{ID: "first"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := first.Settled(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := placed.Emit(story, order{ID: "joined"}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the story is reopened", func() bool {
		return len(facts[*obligation.Reopened](t, where, obligation.StoryTopic)) == 1
	})
	early := func() bool {
		short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		return first.Settled(short) == nil
	}
	eventually(t, "the app has read that", func() bool { return !early() })
	if early() {
		t.Error("settled while the event that has joined is being handled")
	}
	close(release)
	if err := first.Settled(ctx); err != nil {
		t.Error(err)
	}
}
