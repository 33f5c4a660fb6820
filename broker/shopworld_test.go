package broker_test

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"tidings.dev"
	"tidings.dev/broker"
	"tidings.dev/embedded"
	"tidings.dev/examples/shop/analytics"
	"tidings.dev/examples/shop/cancellation"
	"tidings.dev/examples/shop/email"
	"tidings.dev/examples/shop/input"
	"tidings.dev/examples/shop/inventory"
	"tidings.dev/examples/shop/loyalty"
	"tidings.dev/examples/shop/orders"
	"tidings.dev/examples/shop/payment"
	"tidings.dev/examples/shop/warehouse"
	"tidings.dev/story"
)

// store is the online store in one process, as `tidings demo` runs it: broker, story, and each service an app of its
// own. A power cut ends all of it at once.
type store struct {
	broker  *broker.Broker
	where   tidings.Connection
	indexer *story.Indexer
	orders  *tidings.App // emits only
	apps    []*tidings.App
	revenue *analytics.Revenue

	stop    context.CancelFunc
	running sync.WaitGroup
	failed  chan error // capacity for all: gets what a part could not go on for
}

// openStore starts the store, and returns once all services are ready. What it returns is to be ended, also with an
// error.
func openStore(ctx context.Context, c broker.Config, index string, book *ledger) (*store, error) {
	ctx, stop := context.WithCancel(ctx)
	s := &store{stop: stop, failed: make(chan error, 16)}
	var err error
	if s.broker, err = broker.Open(c); err != nil {
		return s, fmt.Errorf("I9: it does not open: %w", err)
	}
	s.where = tap{embedded.Broker(s.broker), book}
	if err := orders.MakeTopic(ctx, s.where); err != nil {
		return s, err
	}
	if s.indexer, err = story.Open(ctx, s.where, index, story.Options{Emit: true, Logger: c.Logger}); err != nil {
		return s, err
	}
	s.inBackground(func() error { return s.indexer.Run(ctx) })
	for name, register := range map[string]func(*tidings.App){
		"payment":      func(a *tidings.App) { payment.Register(a, payment.DefaultDeclineAbovePence) },
		"cancellation": cancellation.Register,
		"email":        email.Register,
		"inventory":    inventory.Register,
		"warehouse":    warehouse.Register,
		"loyalty":      loyalty.Register,
		"analytics":    func(a *tidings.App) { s.revenue = analytics.Register(a) },
	} {
		app, err := tidings.Open(name, s.where, tidings.WithLogger(c.Logger))
		if err != nil {
			return s, err
		}
		s.apps = append(s.apps, app)
		register(app)
		s.inBackground(func() error { return app.Run(ctx) })
	}
	if s.orders, err = tidings.Open("orders", s.where, tidings.WithLogger(c.Logger)); err != nil {
		return s, err
	}
	for _, app := range s.apps {
		select {
		case <-app.Ready():
		case err := <-s.failed:
			return s, err
		case <-ctx.Done():
			return s, context.Cause(ctx)
		}
	}
	return s, nil
}

func (s *store) inBackground(run func() error) {
	s.running.Go(func() {
		if err := run(); err != nil {
			s.failed <- err
		}
	})
}

// take announces orders, those that are announced already excepted. When ctx ends, the importer dies.
func (s *store) take(ctx context.Context, invoices []*input.Invoice) error {
	alive := context.AfterFunc(ctx, func() { s.orders.Abort() })
	defer alive()
	_, err := orders.Import(ctx, s.orders, s.where, invoices, 0)
	return err
}

// die ends everything as a power cut does, which has come before: nobody writes down where they are. The broker answers
// what it still can; whatever it answers counts.
func (s *store) die() {
	if s.broker != nil {
		s.broker.Close() // its disk is gone: that it can't close in order is no news
	}
	s.stop()
	var all sync.WaitGroup
	for _, app := range s.all() {
		all.Go(func() { app.Abort() })
	}
	all.Wait()
	s.running.Wait()
	if s.indexer != nil {
		s.indexer.Close()
	}
}

// close ends everything in good order, from the top to the bottom.
func (s *store) close() error {
	s.stop()
	s.running.Wait()
	var errs []error
	for _, app := range s.all() {
		errs = append(errs, app.Close())
	}
	return errors.Join(append(errs, s.indexer.Close(), s.broker.Close())...)
}

func (s *store) all() []*tidings.App {
	if s.orders == nil {
		return s.apps
	}
	return append([]*tidings.App{s.orders}, s.apps...)
}
