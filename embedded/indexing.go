package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	"tidings.dev/broker"
	"tidings.dev/story"
)

// indexName is the name of the index file in a data directory. `tidings serve` uses the same name. A directory has
// only one broker at a time, and so only one indexer that uses the file.
const indexName = "story.db"

// indexing is a running indexer of a broker.
type indexing struct {
	cancel  context.CancelFunc
	running sync.WaitGroup
}

// startIndexing runs an indexer for b in the background until stop is called. It does not wait until the indexer is
// ready: the broker works without it, so an error of the indexer is only logged, and the indexer started again.
func startIndexing(b *broker.Broker, c broker.Config) *indexing {
	log := c.Logger
	if log == nil {
		log = slog.Default()
	}
	x := &indexing{}
	var ctx context.Context
	ctx, x.cancel = context.WithCancel(context.Background())
	x.running.Go(func() {
		if err := index(ctx, b, c, log); err != nil && ctx.Err() == nil {
			log.Error("stories are not followed: no story settles", "err", err)
		}
	})
	return x
}

// index runs an indexer until ctx is done. The index file is in the data directory, or in a temporary directory if the
// log is in memory.
func index(ctx context.Context, b *broker.Broker, c broker.Config, log *slog.Logger) (err error) {
	dir := c.Dir
	if c.Memory {
		if dir, err = os.MkdirTemp("", "tidings-story-"); err != nil {
			return fmt.Errorf("embedded: %w", err)
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	}
	story.Follow(ctx, external{b}, filepath.Join(dir, indexName), story.Options{Emit: true, Logger: log})
	return nil
}

// stop ends the indexer and returns when it is closed.
func (x *indexing) stop() {
	x.cancel()
	x.running.Wait()
}
