package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"tidings.dev"
	"tidings.dev/examples/shop/orders"
)

// play lets the orders in, says each second what happens, tells the story of one order, and ends when it is asked to,
// or under --settle when all is done. It returns once nothing of it runs any more.
func (d *demo) play(ctx context.Context) error {
	begun, before := time.Now(), d.ledger.events()
	playing, stop := context.WithCancelCause(ctx)
	var parts sync.WaitGroup
	defer parts.Wait()
	defer stop(nil)

	imported := make(chan error, 1)
	parts.Go(func() { imported <- d.importOrders(playing) })
	settled := make(chan error, 1)
	if !d.settle {
		parts.Go(func() { d.tellFirstStory(playing) })
	}
	second := time.NewTicker(time.Second)
	defer second.Stop()
	said := ""
	for {
		select {
		case err := <-imported:
			imported = nil
			switch {
			case ctx.Err() != nil:
				return d.stopped(ctx, nil, begun, before)
			case err != nil:
				return d.why(err)
			}
			if d.settle {
				parts.Go(func() { settled <- d.awaitSettled(playing) })
			} else {
				d.say("all orders of the input are in; ctrl-C ends the demo")
			}
		case err := <-settled:
			switch {
			case ctx.Err() != nil:
				return d.stopped(ctx, nil, begun, before)
			case err != nil:
				return d.why(err)
			}
			return d.finish(ctx, begun, before)
		case err := <-d.failed:
			return d.why(err)
		case err := <-d.shop.failed:
			return d.why(err)
		case <-second.C:
			if line := d.progress(); line != said {
				d.say("%s", line)
				said = line
			}
		case <-ctx.Done():
			return d.stopped(ctx, imported, begun, before)
		}
	}
}

// awaitSettled waits until every story has settled and every service has caught up: one that joined later holds up no
// story, but what it announces belongs to the books as well.
func (d *demo) awaitSettled(ctx context.Context) error {
	for {
		if err := d.indexer.WaitSettled(ctx); err != nil {
			return err
		}
		events := d.ledger.events()
		if err := d.ledger.catchUp(ctx, d.adm); err != nil {
			return err
		}
		if err := d.ledger.awaitReactions(ctx, d.shop.names()); err != nil {
			return err
		}
		if d.ledger.events() == events && d.indexer.Index().Stats().Open == 0 {
			return nil
		}
	}
}

// importOrders lets the orders in that are not in yet.
func (d *demo) importOrders(ctx context.Context) error {
	app, err := tidings.Open("orders", d.target, tidings.WithLogger(d.logger()))
	if err != nil {
		return err
	}
	result, err := orders.Import(ctx, app, d.target, d.batch.Invoices, d.rate)
	if result.Known > 0 && err == nil {
		d.say("%d of %s were in already", result.Known, plural(len(d.batch.Invoices), "invoice"))
	}
	return errors.Join(err, app.Close())
}

// stopped ends a demo that was asked to end: orders under way are waited for.
func (d *demo) stopped(ctx context.Context, imported <-chan error, begun time.Time, before int64) error {
	if imported != nil {
		if err := <-imported; err != nil && !errors.Is(err, context.Cause(ctx)) && !errors.Is(err, context.Canceled) {
			return d.why(err)
		}
	}
	if d.settle {
		return context.Cause(ctx)
	}
	if d.format.machine() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), reachTimeout)
		defer cancel()
		if err := d.finish(ctx, begun, before); err != nil {
			return err
		}
	}
	d.say("stopped; the data is kept")
	if errors.Is(context.Cause(ctx), ErrTerminated) {
		return nil
	}
	return context.Cause(ctx)
}

// why prefers the broker's own reason for a failure: whatever else fails follows from it.
func (d *demo) why(err error) error {
	if d.broker != nil && cannotWrite(d.broker) != nil {
		return storageFault(cannotWrite(d.broker))
	}
	return err
}

// finish prints what the run comes to.
func (d *demo) finish(ctx context.Context, begun time.Time, before int64) error {
	took := time.Since(begun)
	if err := d.ledger.catchUp(ctx, d.adm); err != nil {
		return err
	}
	stats := d.indexer.Index().Stats()
	summary := shopSummary{
		Orders: d.ledger.orders(), BadRows: d.batch.BadRows, Events: d.ledger.events(), Reactions: d.ledger.reactions(),
		Stories: storyCounts{Settled: stats.Settled, Open: stats.Open}, Books: d.ledger.books(d.shop.revenuePence()),
		Seconds: rounded(took.Seconds()),
	}
	summary.EventsPerSecond = rounded(float64(summary.Events-before) / took.Seconds())
	return d.output().thing(summary, summary.text)
}

func rounded(x float64) float64 { return math.Round(x*1000) / 1000 }

// progress is what has happened so far, in a line.
func (d *demo) progress() string {
	o, stats := d.ledger.orders(), d.indexer.Index().Stats()
	return fmt.Sprintf("%s placed, %d refused, %d cancelled, %s; %s; %s captured; stories: %d settled, %d open",
		plural(int(o.Placed), "order"), o.Refused, o.Cancelled, plural(int(o.Returns), "return"), plural(int(d.ledger.events()), "event"),
		pounds(d.ledger.books(0).CapturedPence), stats.Settled, stats.Open)
}

// say writes a line with the time for whoever watches.
func (d *demo) say(format string, args ...any) {
	if !d.format.machine() {
		d.note("%s  %s", time.Now().Format(time.TimeOnly), fmt.Sprintf(format, args...))
	}
}

// tellFirstStory prints the story of one order as soon as it has settled.
func (d *demo) tellFirstStory(ctx context.Context) {
	first := d.firstOrder()
	if first == nil || d.format.machine() {
		return
	}
	if err := d.ledger.awaitSettled(ctx, orders.EventID(first)); err != nil {
		return // stopped before
	}
	told, err := d.indexer.Story(ctx, "order/"+first.No, nil)
	if err != nil {
		if ctx.Err() == nil {
			d.failed <- err
		}
		return
	}
	out := d.output()
	_ = out.thing(told, func(w io.Writer) error { return writeStory(w, told, out) })
}

func pounds(pence int64) string {
	sign := ""
	if pence < 0 {
		sign, pence = "-", -pence
	}
	return fmt.Sprintf("%s£%d.%02d", sign, pence/100, pence%100)
}

func (s shopSummary) text(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "orders\t%d placed, %d refused, %d cancelled, %s\n", s.Orders.Placed, s.Orders.Refused, s.Orders.Cancelled, plural(int(s.Orders.Returns), "return"))
	fmt.Fprintf(t, "bad rows\t%d\n", s.BadRows)
	fmt.Fprintf(t, "events\t%d\n", s.Events)
	for _, name := range slices.Sorted(maps.Keys(s.Reactions)) {
		r := s.Reactions[name]
		parts := []string{fmt.Sprintf("%d handled", r.Handled)}
		for _, more := range []struct {
			n    int64
			what string
		}{{r.Retried, "retried"}, {r.Skipped, "skipped"}, {r.Duplicates, "duplicates"}} {
			if more.n > 0 {
				parts = append(parts, fmt.Sprintf("%d %s", more.n, more.what))
			}
		}
		fmt.Fprintf(t, "  %s\t%s\n", name, strings.Join(parts, ", "))
	}
	fmt.Fprintf(t, "stories\t%d settled, %d open\n", s.Stories.Settled, s.Stories.Open)
	verdict := "not equal"
	if s.Books.Equal {
		verdict = "equal"
	}
	fmt.Fprintf(t, "books\t%s captured, %s in the revenue view: %s; %s refunded\n", pounds(s.Books.CapturedPence), pounds(s.Books.RevenueViewPence), verdict, pounds(s.Books.RefundedPence))
	fmt.Fprintf(t, "time\t%.3g s, %.0f events a second\n", s.Seconds, s.EventsPerSecond)
	return t.Flush()
}
