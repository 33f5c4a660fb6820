package demo

import (
	"context"
	"errors"
	"sync"
	"time"

	"tidings.dev/examples/shop/orders"
	"tidings.dev/internal/cli/shell"
)

// play emits the orders, prints the progress every second, and shows the story of one order. It runs until ctx is
// done, or with --settle until all stories have settled; in the latter case it prints the summary. When play returns,
// all of its goroutines have ended.
func (d *demo) play(ctx context.Context) error {
	begun, before := time.Now(), d.books.events()
	playing, stop := context.WithCancelCause(ctx)
	var parts sync.WaitGroup
	defer parts.Wait()
	defer stop(nil)

	imported := make(chan error, 1)
	parts.Go(func() { imported <- d.importOrders(playing) })
	settled := make(chan error, 1)
	if !d.settle {
		parts.Go(func() { d.showFirstStory(playing) })
	}
	second := time.NewTicker(time.Second)
	defer second.Stop()
	announced := ""
	for {
		select {
		case err := <-imported:
			imported = nil
			switch {
			case ctx.Err() != nil:
				return d.stopped(ctx, nil, begun, before)
			case err != nil:
				return d.preferWriteError(err)
			}
			if d.settle {
				parts.Go(func() { settled <- d.awaitSettled(playing) })
			} else {
				d.announce("all orders of the input are in; ctrl-C ends the demo")
			}
		case err := <-settled:
			switch {
			case ctx.Err() != nil:
				return d.stopped(ctx, nil, begun, before)
			case err != nil:
				return d.preferWriteError(err)
			}
			return d.printSummary(ctx, begun, before)
		case err := <-d.failed:
			return d.preferWriteError(err)
		case err := <-d.shop.failed:
			return d.preferWriteError(err)
		case <-second.C:
			if line := d.progress(); line != announced {
				d.announce("%s", line)
				announced = line
			}
		case <-ctx.Done():
			return d.stopped(ctx, imported, begun, before)
		}
	}
}

// awaitSettled blocks until every story has settled and every service has caught up. It must check both: a service
// that joined later keeps no story open, but the events that it emits count in the books.
func (d *demo) awaitSettled(ctx context.Context) error {
	for {
		if err := d.indexer.WaitSettled(ctx); err != nil {
			return err
		}
		events := d.books.events()
		if err := d.books.catchUp(ctx); err != nil {
			return err
		}
		if err := d.books.awaitReactions(ctx, d.shop.names()); err != nil {
			return err
		}
		if d.books.events() == events && d.indexer.Index().Stats().Open == 0 {
			return nil
		}
	}
}

// stopped ends a demo whose ctx is done. If imported is not nil, it first waits until the import has ended.
func (d *demo) stopped(ctx context.Context, imported <-chan error, begun time.Time, before int64) error {
	if imported != nil {
		if err := <-imported; err != nil && !errors.Is(err, context.Cause(ctx)) && !errors.Is(err, context.Canceled) {
			return d.preferWriteError(err)
		}
	}
	if d.settle {
		return context.Cause(ctx)
	}
	if d.Format.Machine() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), shell.ReachTimeout)
		defer cancel()
		if err := d.printSummary(ctx, begun, before); err != nil {
			return err
		}
	}
	d.announce("stopped; the data is kept")
	if errors.Is(context.Cause(ctx), shell.ErrTerminated) {
		return nil
	}
	return context.Cause(ctx)
}

// showFirstStory prints the story of the first order when that story has settled. It returns early if ctx is done.
func (d *demo) showFirstStory(ctx context.Context) {
	first := d.firstOrder()
	if first == nil || d.Format.Machine() {
		return
	}
	if err := d.books.awaitSettled(ctx, orders.EventID(first)); err != nil {
		return // ctx is done
	}
	story, err := d.indexer.Story(ctx, "order/"+first.No, nil)
	if err != nil {
		if ctx.Err() == nil {
			d.failed <- err
		}
		return
	}
	_ = shell.WriteStory(d.Output(), story) // the demo goes on if this fails
}
