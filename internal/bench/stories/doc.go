// Package stories measures the story: how fast an indexer catches up with a log, how long lookups take, how far an
// indexer is behind services that are at work, and how soon a receipt learns that its story has settled. It uses the
// public API of packages tidings and story only, as an application does.
//
// The log is that of a [Shop], whose services really run. Each measurement is a type: [Indexing], [Lookup], [Lag] and
// [Settling].
package stories

import (
	"context"
	"log/slog"

	"tidings.dev"
	"tidings.dev/internal/bench"
	"tidings.dev/story"
)

// Names of the contenders in reports.
const (
	Indexer = "indexer"  // an indexer of package story
	BareKgo = "bare_kgo" // a kgo client that reads the same records and does nothing with them
)

// link is the connection of an app or an indexer to the broker at an endpoint.
type link bench.Endpoint

// Connect implements tidings.Connection.
func (l link) Connect(context.Context) (*tidings.Link, error) {
	return &tidings.Link{Addresses: l.Seeds, Dial: l.Dial}, nil
}

// withIndexer opens an indexer on the index file at path, runs it while script runs, and closes it. It returns the error of
// script or, if the indexer has failed, that of the indexer.
func withIndexer(ctx context.Context, e bench.Endpoint, path string, emit bool, log *slog.Logger, script func(context.Context, *story.Indexer) error) error {
	x, err := story.Open(ctx, link(e), path, story.Options{Emit: emit, Logger: log})
	if err != nil {
		return err
	}
	ctx, fail := context.WithCancelCause(ctx)
	ended := make(chan error, 1)
	go func() {
		err := x.Run(ctx)
		if err != nil {
			fail(err)
		}
		ended <- err
	}()
	err = script(ctx, x)
	fail(nil)
	if runErr := <-ended; runErr != nil {
		err = runErr
	}
	if closeErr := x.Close(); err == nil {
		err = closeErr
	}
	return err
}
