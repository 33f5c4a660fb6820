package cli

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
)

// shopServices are the services of the shop that react, by name.
var shopServices = []string{"payment", "cancellation", "email", "inventory", "warehouse", "loyalty", "analytics"}

// A shop is the store's services running in this process. Each is an app of its own, as it would be in its own program.
type shop struct {
	declineAbovePence int64
	revenue           *analytics.Revenue // nil without analytics
	apps              []*tidings.App

	cancel  context.CancelFunc
	running sync.WaitGroup
	failed  chan error // gets what a service could not go on for
}

// startShop starts the services but those left out, and returns once all are ready.
func startShop(asked context.Context, where tidings.Connection, declineAbovePence int64, without []string, opts ...tidings.Option) (*shop, error) {
	s := &shop{declineAbovePence: declineAbovePence, failed: make(chan error, len(shopServices))}
	// The services stop when the shop does, after whoever feeds them.
	ctx, cancel := context.WithCancel(context.WithoutCancel(asked))
	s.cancel = cancel
	for _, name := range shopServices {
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

// names are the services that run.
func (s *shop) names() []string {
	var names []string
	for _, app := range s.apps {
		names = append(names, app.Name())
	}
	return names
}

// revenuePence is what the revenue view comes to.
func (s *shop) revenuePence() int64 {
	if s.revenue == nil {
		return 0
	}
	return s.revenue.Pence()
}

// stop drains all services: what is being handled is finished and recorded.
func (s *shop) stop() error {
	s.cancel()
	s.running.Wait()
	var errs []error
	for _, app := range s.apps {
		errs = append(errs, app.Close())
	}
	return errors.Join(errs...)
}

// checkServices refuses names of services that there are not.
func checkServices(names []string) error {
	for _, name := range names {
		if !slices.Contains(shopServices, name) {
			return usagef("the services are "+strings.Join(shopServices, ", "), "--without %q: there is no such service", name)
		}
	}
	return nil
}
