package orders

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"tidings.dev"
	"tidings.dev/examples/shop/input"
)

// inFlight is the number of emissions that may wait for their acknowledgement at the same time: enough of them that
// one sync of the log makes many durable.
const inFlight = 64

// drainTimeout is how long emissions may still take after the context of Import is done.
const drainTimeout = 15 * time.Second

// Result counts what an import did.
type Result struct {
	Emitted int // facts that this run emitted
	Known   int // facts that were in the log already
}

// Import announces each invoice once. It reads from the log which invoices were announced before, by this process or
// an earlier one, and emits facts for the others, at most perSecond of them a second; 0 means no limit. It blocks
// until all facts are durable. When ctx is done, it begins no further emissions, waits for running ones for at most
// drainTimeout, and returns ctx's cause. The Result is valid also if there is an error.
func Import(ctx context.Context, app *tidings.App, where tidings.Connection, invoices []*input.Invoice, perSecond float64) (Result, error) {
	if err := MakeTopic(ctx, where); err != nil {
		return Result{}, err
	}
	known, err := announced(ctx, where)
	if err != nil {
		return Result{}, fmt.Errorf("read back what was announced before: %w", err)
	}
	var result Result
	pace := newPace(perSecond)
	defer pace.stop()

	group, failed := errgroup.WithContext(context.WithoutCancel(ctx))
	group.SetLimit(inFlight)
	emitting, cancel := context.WithCancel(app.Context(failed))
	defer cancel()
	release := context.AfterFunc(ctx, func() { time.AfterFunc(drainTimeout, cancel) })
	defer release()

	for _, invoice := range invoices {
		a := announce(invoice)
		if known[a.id] {
			result.Known++
			continue
		}
		if !pace.wait(ctx, failed) {
			break
		}
		result.Emitted++
		group.Go(func() error {
			if err := a.emit(emitting, a.id); err != nil {
				return fmt.Errorf("announce %s: %w", a.id, err)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return result, err
	}
	return result, context.Cause(ctx)
}

// pace limits how many invoices are announced in a second.
type pace struct{ ticker *time.Ticker }

// newPace returns a pace for so many invoices a second; 0 or less means no limit. The caller must call stop.
func newPace(perSecond float64) *pace {
	if perSecond <= 0 {
		return &pace{}
	}
	return &pace{time.NewTicker(max(time.Duration(float64(time.Second)/perSecond), time.Microsecond))}
}

// wait blocks until the next invoice is due. It returns false if a or b is done, so that the invoice must not be
// announced.
func (p *pace) wait(a, b context.Context) bool {
	if p.ticker != nil {
		select {
		case <-p.ticker.C:
		case <-a.Done():
		case <-b.Done():
		}
	}
	return a.Err() == nil && b.Err() == nil
}

// stop releases the pace's timer.
func (p *pace) stop() {
	if p.ticker != nil {
		p.ticker.Stop()
	}
}
