package stories

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"time"

	"tidings.dev"
	"tidings.dev/internal/bench"
	"tidings.dev/story"
)

// Settling measures how long Receipt.Settled takes: of calls about orders that have settled before the
// app began to wait for any story, one after the other, and of orders that are placed at a rate, from the end of the last
// handler of the order until a call returns that was made when the order was placed. The topics of the shop must exist and be empty. All fields are required.
type Settling struct {
	Shop     Shop
	Rate     float64 // orders that are placed in a second
	Duration time.Duration
	Late     int    // calls about orders that have settled
	Dir      string // directory for the index, which is removed again
}

// Names of figures.
const (
	LateP50Millis = "late_p50_ms" // of a call about an order that has settled
	LateP99Millis = "late_p99_ms"
)

// Run measures it. Latency is that of the early calls. p may be nil.
func (s Settling) Run(ctx context.Context, e bench.Endpoint, p *bench.Progress) (m bench.Measured, err error) {
	path := filepath.Join(s.Dir, s.Shop.Name+".db")
	defer os.Remove(path)
	orders := int(s.Rate * s.Duration.Seconds())
	err = withIndexer(ctx, e, path, true, s.Shop.Log, func(ctx context.Context, x *story.Indexer) error {
		return s.Shop.run(ctx, e, orders+s.Late+1, func(ctx context.Context, w *working) error {
			p.Counts(w.handled.Load)
			late, err := s.late(ctx, w, x, orders)
			if err != nil {
				return err
			}
			t := bench.StartMeter(e)
			if m.Latency, err = s.early(ctx, w, orders); err != nil {
				return err
			}
			t.Stop(&m)
			m.Records = int64(orders * EventsPerOrder)
			m.Figures = map[string]float64{
				LateP50Millis: float64(late.Quantile(0.5)) / 1e6,
				LateP99Millis: float64(late.Quantile(0.99)) / 1e6,
			}
			return nil
		})
	})
	return m, err
}

// early places the orders [0, orders) at the rate and waits for each to settle. It returns how long after the last handler
// of an order the call returned.
func (s Settling) early(ctx context.Context, w *working, orders int) (*bench.Histogram, error) {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	var mu sync.Mutex // protects latency
	latency := new(bench.Histogram)
	var waiting sync.WaitGroup
	began := time.Now()
	for no := range orders {
		if ctx.Err() != nil {
			break
		}
		time.Sleep(time.Until(began.Add(time.Duration(float64(no) / s.Rate * 1e9))))
		waiting.Go(func() {
			receipt, err := w.placed.Emit(ctx, orderOf(no))
			if err == nil {
				err = receipt.Settled(ctx)
			}
			returned := now()
			if err != nil {
				fail(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			latency.Record(time.Duration(returned - w.ended[no].Load()))
		})
	}
	waiting.Wait()
	return latency, context.Cause(ctx)
}

// late places orders from a number on, waits until they have settled, and calls Settled for each: the app has not seen
// that they have, and asks the indexer. The first call is not measured, since the app begins to wait for stories with it.
func (s Settling) late(ctx context.Context, w *working, x *story.Indexer, from int) (*bench.Histogram, error) {
	receipts := make([]tidings.Receipt, s.Late+1)
	for i := range receipts {
		var err error
		if receipts[i], err = w.placed.Emit(ctx, orderOf(from+i)); err != nil {
			return nil, err
		}
	}
	if err := w.wait(ctx, len(receipts)); err != nil {
		return nil, err
	}
	if err := x.WaitSettled(ctx); err != nil {
		return nil, err
	}
	h := new(bench.Histogram)
	for i, receipt := range receipts {
		began := time.Now()
		if err := receipt.Settled(ctx); err != nil {
			return nil, err
		}
		if i > 0 {
			h.Record(time.Since(began))
		}
	}
	return h, nil
}
