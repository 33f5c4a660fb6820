package stories

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"tidings.dev/internal/bench"
	"tidings.dev/story"
)

// Lookup measures how long it takes to get the story of an order that is drawn at random among those of a [Shop], which
// Fill has made and of which a log and an index have no other orders. Orders and Count are required.
type Lookup struct {
	Orders int
	Count  int // stories that are asked for, one after the other
}

// Names of the contenders of a Lookup in reports. Each asks for a story by its subject.
const (
	OfIndex   = "index"   // Index.Story: what the index file has
	OfIndexer = "indexer" // Indexer.Story: after the log was read up to its end, and the brokers were asked for positions
	OfCommand = "command" // `tidings story KEY` in a process of its own, until it has ended
)

// run asks for stories. ask returns the number of events of the story of a subject.
func (l Lookup) run(ctx context.Context, e bench.Endpoint, p *bench.Progress, ask func(ctx context.Context, subject string) (events int, err error)) (m bench.Measured, err error) {
	m.Latency = new(bench.Histogram)
	p.Counts(nil)
	t := bench.StartMeter(e)
	for range l.Count {
		began := time.Now()
		subject := subjectOf(rand.IntN(l.Orders))
		events, err := ask(ctx, subject)
		if err != nil {
			return m, fmt.Errorf("%s: %w", subject, err)
		}
		if events != EventsPerOrder {
			return m, fmt.Errorf("%s: the story has %d events, not %d", subject, events, EventsPerOrder)
		}
		m.Latency.Record(time.Since(began))
	}
	t.Stop(&m)
	m.Records = int64(l.Count)
	return m, nil
}

// Index measures Index.Story of an indexer. p may be nil.
func (l Lookup) Index(ctx context.Context, e bench.Endpoint, p *bench.Progress, x *story.Indexer) (bench.Measured, error) {
	return l.run(ctx, e, p, func(_ context.Context, subject string) (int, error) {
		s, err := x.Index().Story(subject, story.Live{})
		if err != nil {
			return 0, err
		}
		return s.Events, nil
	})
}

// Indexer measures Indexer.Story of an indexer that runs. p may be nil.
func (l Lookup) Indexer(ctx context.Context, e bench.Endpoint, p *bench.Progress, x *story.Indexer) (bench.Measured, error) {
	return l.run(ctx, e, p, func(ctx context.Context, subject string) (int, error) {
		s, err := x.Story(ctx, subject, nil)
		if err != nil {
			return 0, err
		}
		return s.Events, nil
	})
}

// Command measures a command that prints the story of a subject. command returns the number of events that it has printed.
// p may be nil.
func (l Lookup) Command(ctx context.Context, e bench.Endpoint, p *bench.Progress, command func(ctx context.Context, subject string) (events int, err error)) (bench.Measured, error) {
	return l.run(ctx, e, p, command)
}

// OpenIndexer opens an indexer on the index file at path, which catches up with the log at an endpoint and follows it
// until end is called.
func OpenIndexer(ctx context.Context, e bench.Endpoint, path string, log *slog.Logger) (x *story.Indexer, end func() error, err error) {
	ready := make(chan *story.Indexer, 1)
	over, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- withIndexer(ctx, e, path, false, log, func(ctx context.Context, x *story.Indexer) error {
			if err := x.CatchUp(ctx, nil); err != nil {
				return err
			}
			ready <- x
			select {
			case <-over:
				return nil
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		})
	}()
	end = func() error {
		close(over)
		return <-ended
	}
	select {
	case x := <-ready:
		return x, end, nil
	case err := <-ended:
		return nil, nil, err
	}
}
