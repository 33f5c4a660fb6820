package stories

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"tidings.dev"
	"tidings.dev/internal/bench"
)

// EventsPerOrder is the number of events of the story of an order.
const EventsPerOrder = 7

// Shop is a shop of seven services, each an app of its own, on topics of its own. The story of an order has seven
// events, each of which one service or more has handled:
//
//	placed ─▶ payment ─▶ captured ─┬▶ warehouse ─▶ packed ─▶ carrier ─▶ shipped ─▶ analytics
//	                               ├▶ books     ─▶ booked
//	                               ├▶ mailer    ─▶ mailed
//	                               └▶ loyalty   ─▶ granted
type Shop struct {
	Name       string // of which the names of topics, types and services are made; a word of an event type
	Partitions int    // of each topic
	Log        *slog.Logger
}

// order is the data of all events.
type order struct {
	No   int    `json:"no"` // from 0
	Note string `json:"note"`
}

// subjectOf returns the subject of the events of an order.
func subjectOf(no int) string { return fmt.Sprintf("order/%08d", no) }

var orderNote = strings.Repeat("WHITE HANGING HEART ", 4)

// Topics returns the topics of the shop.
func (s Shop) Topics() (all []bench.Topic) {
	for _, name := range []string{"orders", "payments", "shipping", "invoices", "mails", "points"} {
		all = append(all, bench.Topic{Name: s.Name + "-" + name, Partitions: s.Partitions})
	}
	return all
}

// fact defines a fact of the shop.
func (s Shop) fact(topic, verb string) *tidings.Fact[order] {
	name := s.Name + "-" + topic
	return tidings.Define[order](name+"."+verb, tidings.In(name), tidings.Subject(func(o order) string { return subjectOf(o.No) }))
}

// service is one of the services: it reacts to a fact and emits another one, if there is one.
type service struct {
	name            string
	reacts, emitted *tidings.Fact[order]
}

func (s Shop) services() (placed *tidings.Fact[order], all []service) {
	placed = s.fact("orders", "placed")
	captured, packed, shipped := s.fact("payments", "captured"), s.fact("shipping", "packed"), s.fact("shipping", "shipped")
	return placed, []service{
		{"payment", placed, captured},
		{"warehouse", captured, packed},
		{"carrier", packed, shipped},
		{"books", captured, s.fact("invoices", "booked")},
		{"mailer", captured, s.fact("mails", "mailed")},
		{"loyalty", captured, s.fact("points", "granted")},
		{"analytics", shipped, nil},
	}
}

// working is a shop whose services run.
type working struct {
	placed   *tidings.Fact[order]
	till     *tidings.App // emits the placed orders
	handled  atomic.Int64 // handlers that have returned
	shipped  atomic.Int64 // orders that have come to the end of the longest chain
	progress chan struct{}
	// ended has for each order, by its number, when the last of its handlers so far has returned, in nanoseconds of now.
	ended []atomic.Int64
}

// handlersPerOrder is the number of times that an event of an order is handled.
const handlersPerOrder = 7

// run runs the services for so many orders at most, while script runs. The topics must exist.
func (s Shop) run(ctx context.Context, e bench.Endpoint, orders int, script func(context.Context, *working) error) (err error) {
	placed, services := s.services()
	w := &working{placed: placed, ended: make([]atomic.Int64, orders), progress: make(chan struct{}, 1)}
	ctx, fail := context.WithCancelCause(ctx)
	var running sync.WaitGroup
	var apps []*tidings.App
	defer func() {
		fail(nil)
		for _, app := range apps {
			err = errors.Join(err, app.Close())
		}
		running.Wait()
	}()
	for _, service := range services {
		app, err := tidings.Open(s.Name+"-"+service.name, link(e), tidings.WithLogger(s.Log))
		if err != nil {
			return err
		}
		apps = append(apps, app)
		w.add(app, service)
		running.Go(func() {
			if err := app.Run(context.WithoutCancel(ctx)); err != nil { // Close ends it
				fail(err)
			}
		})
	}
	w.till = apps[0]
	for _, app := range apps {
		select {
		case <-app.Ready():
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	err = script(w.till.Context(ctx), w)
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// add adds the reaction of a service to its app.
func (w *working) add(app *tidings.App, s service) {
	tidings.React(app, s.reacts, func(ctx context.Context, e tidings.Event[order]) error {
		if s.emitted != nil {
			if _, err := s.emitted.Emit(ctx, e.Data); err != nil {
				return err
			}
		}
		w.ended[e.Data.No].Store(now())
		w.handled.Add(1)
		if s.emitted == nil {
			w.shipped.Add(1)
			select {
			case w.progress <- struct{}{}:
			default:
			}
		}
		return nil
	}, tidings.FromBeginning())
}

// orderOf returns an order.
func orderOf(no int) order { return order{no, orderNote} }

// place places the orders [0, n), so that at most inFlight of them have not been shipped at any time: the rate is that
// at which the services keep up. It returns when all handlers have returned.
func (w *working) place(ctx context.Context, n, inFlight int) error {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	for no := range n {
		for no-int(w.shipped.Load()) >= inFlight {
			select {
			case <-w.progress:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		w.placed.EmitAsync(ctx, orderOf(no), func(_ tidings.Receipt, err error) {
			if err != nil {
				fail(err)
			}
		})
	}
	return w.wait(ctx, n)
}

// wait blocks until so many orders have been handled by all services.
func (w *working) wait(ctx context.Context, orders int) error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for w.handled.Load() < int64(orders*handlersPerOrder) {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// origin is when the clock of now began.
var origin = time.Now()

// now returns the time in nanoseconds of a monotonic clock.
func now() int64 { return int64(time.Since(origin)) }
