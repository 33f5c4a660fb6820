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

// store is the online store in one process, as `tidings demo` runs it: the broker, the indexer of stories, and each
// service as an app of its own. A power cut hits all of them together.
type store struct {
	broker  *broker.Broker
	where   tidings.Connection
	indexer *story.Indexer
	orders  *tidings.App // emits the orders, and has no reactions
	apps    []*tidings.App
	revenue *analytics.Revenue

	stop    context.CancelFunc
	running sync.WaitGroup
	failed  chan error // errors with which a part of the store has ended; its capacity is enough for all
}

// openStore starts the store, and returns when all services are ready. index is the directory of the story's index; h
// records what the broker tells its clients. The caller must call crash or close on the returned store, even if there
// is an error.
func openStore(ctx context.Context, c broker.Config, index string, h *history) (*store, error) {
	ctx, stop := context.WithCancel(ctx)
	s := &store{stop: stop, failed: make(chan error, 16)}
	var err error
	if s.broker, err = broker.Open(c); err != nil {
		return s, fmt.Errorf("I9: it does not open: %w", err)
	}
	s.where = recordingConnection{embedded.Broker(s.broker), h}
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

// inBackground runs a part of the store in a goroutine, and sends its error to failed.
func (s *store) inBackground(run func() error) {
	s.running.Go(func() {
		if err := run(); err != nil {
			s.failed <- err
		}
	})
}

// take announces the orders that are not announced yet, and returns when they are acknowledged. If ctx ends, the app
// that announces them is aborted.
func (s *store) take(ctx context.Context, invoices []*input.Invoice) error {
	alive := context.AfterFunc(ctx, func() { s.orders.Abort() })
	defer alive()
	_, err := orders.Import(ctx, s.orders, s.where, invoices, 0)
	return err
}

// crash ends everything after a power cut, without committing positions. Responses that the broker still sends are
// recorded.
func (s *store) crash() {
	if s.broker != nil {
		s.broker.Close() // an error is expected, since the disk has no power
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

// close ends everything in order: first the services, then the indexer, last the broker.
func (s *store) close() error {
	s.stop()
	s.running.Wait()
	var errs []error
	for _, app := range s.all() {
		errs = append(errs, app.Close())
	}
	return errors.Join(append(errs, s.indexer.Close(), s.broker.Close())...)
}

// all returns the apps that were opened.
func (s *store) all() []*tidings.App {
	if s.orders == nil {
		return s.apps
	}
	return append([]*tidings.App{s.orders}, s.apps...)
}
