package demo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"tidings.dev"
	"tidings.dev/examples/shop/analytics"
	"tidings.dev/examples/shop/cancellation"
	"tidings.dev/examples/shop/email"
	"tidings.dev/examples/shop/inventory"
	"tidings.dev/examples/shop/loyalty"
	"tidings.dev/examples/shop/payment"
	"tidings.dev/examples/shop/warehouse"
	"tidings.dev/internal/cli/shell"
)

// serviceNames are the names of the shop's services that have reactions.
var serviceNames = []string{"payment", "cancellation", "email", "inventory", "warehouse", "loyalty", "analytics"}

// shop is the set of the store's services that run in this process. Each service is an app of its own, as it would be
// in a separate program.
type shop struct {
	declineAbovePence int64
	revenue           *analytics.Revenue // nil if analytics is not running
	apps              []*tidings.App

	cancel  context.CancelFunc
	running sync.WaitGroup
	failed  chan error // receives the error of a service that has ended
}

// startShop starts all services except those in without, and returns when they are ready. If asked is done before
// that, startShop fails. Once started, the services run until stop is called, whatever happens to asked.
func startShop(asked context.Context, where tidings.Connection, declineAbovePence int64, without []string, opts ...tidings.Option) (*shop, error) {
	s := &shop{declineAbovePence: declineAbovePence, failed: make(chan error, len(serviceNames))}
	// The services must outlive asked, because at the end the import of orders is stopped before them.
	ctx, cancel := context.WithCancel(context.WithoutCancel(asked))
	s.cancel = cancel
	for _, name := range serviceNames {
		if slices.Contains(without, name) {
			continue
		}
		app, err := tidings.Open(name, where, opts...)
		if err != nil {
			return nil, errors.Join(err, s.stop())
		}
		s.apps = append(s.apps, app)
		s.register(name, app)
		s.running.Go(func() {
			if err := app.Run(ctx); err != nil {
				s.failed <- fmt.Errorf("%s: %w", name, err)
			}
		})
	}
	for _, app := range s.apps {
		select {
		case <-app.Ready():
		case err := <-s.failed:
			return nil, errors.Join(err, s.stop())
		case <-asked.Done():
			return nil, errors.Join(context.Cause(asked), s.stop())
		}
	}
	return s, nil
}

func (s *shop) register(name string, app *tidings.App) {
	switch name {
	case "payment":
		payment.Register(app, s.declineAbovePence)
	case "cancellation":
		cancellation.Register(app)
	case "email":
		email.Register(app)
	case "inventory":
		inventory.Register(app)
	case "warehouse":
		warehouse.Register(app)
	case "loyalty":
		loyalty.Register(app)
	case "analytics":
		s.revenue = analytics.Register(app)
	}
}

// names returns the names of the services that are running.
func (s *shop) names() []string {
	var names []string
	for _, app := range s.apps {
		names = append(names, app.Name())
	}
	return names
}

// revenuePence returns the revenue in the view of analytics, or 0 if analytics is not running.
func (s *shop) revenuePence() int64 {
	if s.revenue == nil {
		return 0
	}
	return s.revenue.Pence()
}

// stop stops all services. It returns when their running handlers have finished and were recorded.
func (s *shop) stop() error {
	s.cancel()
	s.running.Wait()
	var errs []error
	for _, app := range s.apps {
		errs = append(errs, app.Close())
	}
	return errors.Join(errs...)
}

// checkServices returns a usage fault if one of the names is not that of a service.
func checkServices(names []string) error {
	for _, name := range names {
		if !slices.Contains(serviceNames, name) {
			return shell.Usagef("the services are "+strings.Join(serviceNames, ", "), "--without %q: there is no such service", name)
		}
	}
	return nil
}
