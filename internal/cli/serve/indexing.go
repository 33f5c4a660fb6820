package serve

import (
	"context"
	"log/slog"
	"path/filepath"
	"sync"

	"tidings.dev/broker"
	"tidings.dev/internal/cli/shell"
	"tidings.dev/story"
)

// indexing is a running indexer for the stories of a broker in this process.
type indexing struct {
	cancel  context.CancelFunc
	running sync.WaitGroup
}

// startIndexing starts an indexer on broker b, which runs until stop is called. It does not end with ctx, so that
// waiting clients still get verdicts while the broker shuts down. If the indexer fails, the error is logged, and it is
// started again.
func startIndexing(ctx context.Context, b *broker.Broker, log *slog.Logger) *indexing {
	x := &indexing{}
	ctx, x.cancel = context.WithCancel(context.WithoutCancel(ctx))
	x.running.Go(func() {
		story.Follow(ctx, shell.InProcess(b), filepath.Join(b.String(), shell.IndexName), story.Options{Emit: true, Logger: log})
	})
	return x
}

// stop stops the indexer and returns when it is closed.
func (x *indexing) stop() {
	x.cancel()
	x.running.Wait()
}
