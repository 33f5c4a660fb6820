package stories

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"tidings.dev/internal/bench"
	"tidings.dev/story"
)

// Lag measures how far an indexer is behind the log while the services of a shop work as fast as they can: there are
// always orders in flight, so that the rate is that at which the services keep up. The topics of the shop must exist and
// be empty. All fields are required.
type Lag struct {
	Shop     Shop
	Orders   int
	InFlight int    // orders that were placed and that the services have not shipped
	Dir      string // directory for the index, which is removed again
}

// lagInterval is how often the lag is measured.
const lagInterval = 50 * time.Millisecond

// Name of a figure.
const LagMaxMillis = "lag_max_ms" // the longest lag

// Run measures the lag every 50 ms: the time from a moment until the index has all that was in the log at that moment.
// Records are the events, and Elapsed is until the last of them was handled. p may be nil.
func (l Lag) Run(ctx context.Context, e bench.Endpoint, p *bench.Progress) (m bench.Measured, err error) {
	path := filepath.Join(l.Dir, l.Shop.Name+".db")
	defer os.Remove(path)
	err = withIndexer(ctx, e, path, true, l.Shop.Log, func(ctx context.Context, x *story.Indexer) error {
		if err := x.CatchUp(ctx, nil); err != nil { // what earlier rounds have left in the log
			return err
		}
		return l.Shop.run(ctx, e, l.Orders, func(ctx context.Context, w *working) error {
			p.Counts(w.handled.Load)
			watch := watchLag(ctx, x)
			t := bench.StartMeter(e)
			err := w.place(ctx, l.Orders, l.InFlight)
			t.Stop(&m)
			m.Latency, err = watch.stop(err)
			return err
		})
	})
	if err != nil {
		return m, err
	}
	m.Records = int64(l.Orders * EventsPerOrder)
	m.Figures = map[string]float64{LagMaxMillis: float64(m.Latency.Max()) / 1e6}
	return m, nil
}

// lagWatch measures the lag of an indexer.
type lagWatch struct {
	over    chan struct{}
	running sync.WaitGroup

	mu  sync.Mutex // protects the fields below
	lag bench.Histogram
	err error
}

// watchLag begins to measure the lag of an indexer. The caller must call stop.
func watchLag(ctx context.Context, x *story.Indexer) *lagWatch {
	w := &lagWatch{over: make(chan struct{})}
	w.running.Go(func() {
		tick := time.NewTicker(lagInterval)
		defer tick.Stop()
		for {
			w.running.Go(func() { w.measure(ctx, x) })
			select {
			case <-tick.C:
			case <-w.over:
				return
			}
		}
	})
	return w
}

// measure waits until the index has what is in the log now.
func (w *lagWatch) measure(ctx context.Context, x *story.Indexer) {
	began := time.Now()
	err := x.CatchUp(ctx, nil)
	took := time.Since(began)
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil {
		w.err = errors.Join(w.err, fmt.Errorf("the lag of the index: %w", err))
		return
	}
	w.lag.Record(took)
}

// stop ends it, when the lags that are being measured are known, and returns all of them. It returns err, if that is not
// nil, before an error of its own.
func (w *lagWatch) stop(err error) (*bench.Histogram, error) {
	close(w.over)
	w.running.Wait()
	if err == nil {
		err = w.err
	}
	return &w.lag, err
}
