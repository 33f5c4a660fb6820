package email_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"tidings.dev"
	"tidings.dev/embedded"
	"tidings.dev/examples/shop/email"
	"tidings.dev/examples/shop/facts"
	"tidings.dev/examples/shop/inventory"
	"tidings.dev/examples/shop/payment"
	"tidings.dev/examples/shop/warehouse"
)

// Email goes down and comes back, several times, while orders are placed. No order waits for it: each is paid, reserved
// and shipped while it is down; and each gets its receipt when it is back. What an emit takes is logged for windows with
// and without email, in turn.
func TestEmailDown(t *testing.T) {
	const (
		windows         = 10 // every second one without email
		ordersPerWindow = 60
		between         = 5 * time.Millisecond // so that services and orders do not fight for the machine
	)
	log := embedded.File(t.TempDir())
	shipped, written := newTally(), newTally()
	run(t, log, "payment", func(app *tidings.App) { payment.Register(app, payment.DefaultDeclineAbovePence) })
	run(t, log, "inventory", inventory.Register)
	run(t, log, "warehouse", warehouse.Register)
	run(t, log, "witness", func(app *tidings.App) {
		tidings.React(app, facts.ParcelShipped, func(_ context.Context, e tidings.Event[facts.Parcel]) error { return shipped.add(e.Subject) })
		tidings.React(app, facts.EmailSent, func(_ context.Context, e tidings.Event[facts.Email]) error { return written.add(e.Subject) })
	})
	shop, err := tidings.Open("orders", log)
	if err != nil {
		t.Fatal(err)
	}
	defer shop.Close()
	ctx := shop.Context(t.Context())

	var stopEmail func()
	took := map[bool][]time.Duration{} // by whether email was down
	placed := 0
	for window := range windows {
		down := window%2 == 1
		if down {
			stopEmail()
		} else {
			stopEmail = run(t, log, "email", email.Register)
		}
		before := written.len()
		for range ordersPerWindow {
			placed++
			time.Sleep(between)
			order := facts.Order{No: fmt.Sprint(placed), Customer: "c", Lines: []facts.Line{{StockCode: "A", Quantity: 1, UnitPence: 250}}, TotalPence: 250}
			began := time.Now()
			if _, err := facts.OrderPlaced.Emit(ctx, order); err != nil {
				t.Fatal(err)
			}
			took[down] = append(took[down], time.Since(began))
		}
		shipped.await(t, placed) // with or without email
		if down && written.len() != before {
			t.Fatal("receipts were sent while email was down: the test proves nothing")
		}
	}
	run(t, log, "email", email.Register)
	written.await(t, placed)
	up, out := median(took[false]), median(took[true])
	t.Logf("emit takes %v with email, %v without: ratio %.2f", up, out, float64(out)/float64(up))
}

// run runs an app until stop is called or the test ends, and returns when it is ready.
func run(t *testing.T, log tidings.Connection, name string, register func(*tidings.App)) (stop func()) {
	t.Helper()
	app, err := tidings.Open(name, log)
	if err != nil {
		t.Fatal(err)
	}
	register(app)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := app.Run(ctx); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	})
	stop = sync.OnceFunc(func() {
		cancel()
		running.Wait()
		if err := app.Close(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	})
	t.Cleanup(stop)
	select {
	case <-app.Ready():
	case <-time.After(30 * time.Second):
		t.Fatalf("%s is not ready", name)
	}
	return stop
}

// tally collects subjects.
type tally struct {
	mu      sync.Mutex
	seen    map[string]bool
	changed chan struct{}
}

func newTally() *tally { return &tally{seen: map[string]bool{}, changed: make(chan struct{}, 1)} }

func (t *tally) add(subject string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.seen[subject] = true
	select {
	case t.changed <- struct{}{}:
	default:
	}
	return nil
}

func (t *tally) len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.seen)
}

func (t *tally) await(tb testing.TB, want int) {
	tb.Helper()
	limit := time.After(30 * time.Second)
	for t.len() < want {
		select {
		case <-t.changed:
		case <-limit:
			tb.Fatalf("%d of %d after 30 s", t.len(), want)
		}
	}
}

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}
