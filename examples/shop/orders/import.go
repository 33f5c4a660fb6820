package orders

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"tidings.dev"
	"tidings.dev/examples/shop/input"
)

// inFlight is how many announcements wait for the log at a time: enough that they share its syncs.
const inFlight = 64

// drainTimeout is how long announcements under way may still take once the import is asked to stop.
const drainTimeout = 15 * time.Second

// Result tells what an import did.
type Result struct {
	Emitted int // facts that this run announced
	Known   int // facts that were in the log already
}

// Import announces each invoice once, whoever imported a part of them before: it reads back from the log what is there
// and announces the rest, at most perSecond a second (0: as fast as the log takes them). It blocks until all are durable.
// When ctx ends it starts no more, waits for those under way, and returns ctx's cause.
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

// pace lets through so many a second.
type pace struct{ ticker *time.Ticker }

func newPace(perSecond float64) *pace {
	if perSecond <= 0 {
		return &pace{}
	}
	return &pace{time.NewTicker(max(time.Duration(float64(time.Second)/perSecond), time.Microsecond))}
}

// wait reports whether another one may begin; false once one of the contexts is done.
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

func (p *pace) stop() {
	if p.ticker != nil {
		p.ticker.Stop()
	}
}
