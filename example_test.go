package tidings_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"sync"
	"time"

	"tidings.dev"
	"tidings.dev/embedded"
)

type Order struct {
	ID    string
	Pence int
}

var OrderPlaced = tidings.Define[Order]("shop.order.placed", tidings.In("orders"),
	tidings.Subject(func(o Order) string { return "order/" + o.ID }))

var OrderCancelled = tidings.Define[Order]("shop.order.cancelled", tidings.In("orders"),
	tidings.Subject(func(o Order) string { return "order/" + o.ID }))

// The program of the README: an order is placed, and somebody who was not told of the shop reacts.
func Example() {
	app, err := tidings.Open("email", embedded.Memory()) // or embedded.File("./data"), or tidings.Kafka("host:9092")
	if err != nil {
		log.Fatal(err)
	}
	sent := make(chan bool, 1)
	tidings.React(app, OrderPlaced, func(ctx context.Context, e tidings.Event[Order]) error {
		fmt.Printf("%s: thank you for £%d.%02d\n", e.Subject, e.Data.Pence/100, e.Data.Pence%100)
		sent <- true
		return nil
	})

	err = app.Main(context.Background(), func(ctx context.Context) error {
		if _, err := OrderPlaced.Emit(ctx, Order{ID: "536365", Pence: 13912}); err != nil {
			return err
		}
		select {
		case <-sent:
			return nil
		case <-ctx.Done(): // ctrl-C
			return ctx.Err()
		}
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output: order/536365: thank you for £139.12
}

// A file of orders goes into the log with many events on their way at a time, where one Emit after the other would wait for each.
// The first error ends it.
func ExampleFact_EmitAsync() {
	app, err := tidings.Open("importer", embedded.Memory())
	if err != nil {
		log.Fatal(err)
	}
	defer app.Close()
	ctx, stop := context.WithCancelCause(app.Context(context.Background()))
	defer stop(nil)

	var onTheirWay sync.WaitGroup
	for n := range 1000 {
		if ctx.Err() != nil {
			break
		}
		onTheirWay.Add(1)
		OrderPlaced.EmitAsync(ctx, Order{ID: fmt.Sprint(n)}, func(_ tidings.Receipt, err error) {
			defer onTheirWay.Done()
			if err != nil {
				stop(err)
			}
		}, tidings.ID(fmt.Sprint("line-", n))) // emitted again after a failure, it is a copy
	}
	onTheirWay.Wait()
	if err := context.Cause(ctx); err != nil {
		log.Fatal(err)
	}
	fmt.Println("all are durable")
	// Output: all are durable
}

// A read model: how much has been ordered, per order. It is rebuilt from history each time the program starts, so it
// needs no database.
func ExampleReactWith_view() {
	app, err := tidings.Open("turnover", embedded.Memory())
	if err != nil {
		log.Fatal(err)
	}
	var counted sync.WaitGroup
	counted.Add(3)
	turnover := tidings.ReactWith(app, tidings.Facts(OrderPlaced),
		func(pence *int, e tidings.Any) {
			if o, ok, err := OrderPlaced.From(e); ok && err == nil {
				*pence += o.Data.Pence
			}
		},
		func(context.Context, int, tidings.Any) error { counted.Done(); return nil }) // only to know when to print

	err = app.Main(context.Background(), func(ctx context.Context) error {
		for _, o := range []Order{{"1", 500}, {"2", 700}, {"1", 250}} {
			if _, err := OrderPlaced.Emit(ctx, o); err != nil {
				return err
			}
		}
		counted.Wait()
		pence, _ := turnover.Get("order/1")
		fmt.Println(turnover.Len(), "orders; order 1:", pence)
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output: 2 orders; order 1: 750
}

// A decision by state: an order that has been cancelled is not packed, though the event that it was placed comes
// again.
func ExampleReactWith_decision() {
	type parcel struct{ Cancelled bool }
	app, err := tidings.Open("warehouse", embedded.Memory())
	if err != nil {
		log.Fatal(err)
	}
	done := make(chan bool, 3)
	tidings.ReactWith(app, tidings.Facts(OrderPlaced, OrderCancelled),
		func(p *parcel, e tidings.Any) { // pure: it changes p by what the event says, and nothing else
			if e.Type == OrderCancelled.Name() {
				p.Cancelled = true
			}
		},
		func(ctx context.Context, p parcel, e tidings.Any) error { // p is the state as of e
			defer func() { done <- true }()
			switch {
			case e.Type != OrderPlaced.Name():
			case p.Cancelled:
				fmt.Println(e.Subject, "is not packed")
			default:
				fmt.Println(e.Subject, "is packed")
			}
			return nil
		})

	err = app.Main(context.Background(), func(ctx context.Context) error {
		for _, emit := range []*tidings.Fact[Order]{OrderPlaced, OrderCancelled, OrderPlaced} {
			if _, err := emit.Emit(ctx, Order{ID: "7"}); err != nil {
				return err
			}
			<-done
		}
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output:
	// order/7 is packed
	// order/7 is not packed
}

// An event that fails is tried again by the reaction's backoff. One that is none of this service's business is skipped,
// with a reason that its story shows.
func ExampleSkip() {
	app, err := tidings.Open("email", embedded.Memory(), tidings.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		log.Fatal(err)
	}
	attempts, done := 0, make(chan bool, 2)
	tidings.React(app, OrderPlaced, func(ctx context.Context, e tidings.Event[Order]) error {
		if e.Data.Pence == 0 {
			done <- true
			return tidings.Skip("nothing to pay")
		}
		if attempts++; attempts < 3 {
			return errors.New("the mail server is busy")
		}
		done <- true
		return nil
	}, tidings.Retry(tidings.Backoff(time.Millisecond, time.Second)))

	err = app.Main(context.Background(), func(ctx context.Context) error {
		for _, o := range []Order{{"1", 0}, {"2", 100}} {
			if _, err := OrderPlaced.Emit(ctx, o); err != nil {
				return err
			}
		}
		<-done
		<-done
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	s := app.Stats()["email"]
	fmt.Println(s.Handled, "handled,", s.Retried, "retried,", s.Skipped, "skipped")
	// Output: 1 handled, 2 retried, 1 skipped
}

// A server says when it wants to be asked again.
func ExampleRetryAfter() {
	app, err := tidings.Open("payment", embedded.Memory(), tidings.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		log.Fatal(err)
	}
	answers := []string{"429 Too Many Requests", "200 OK"}
	done := make(chan bool)
	tidings.React(app, OrderPlaced, func(ctx context.Context, e tidings.Event[Order]) error {
		answer := answers[0]
		answers = answers[1:]
		fmt.Println(answer)
		if answer != "200 OK" {
			return tidings.RetryAfter(10*time.Millisecond, errors.New(answer)) // the Retry-After header of the answer
		}
		close(done)
		return nil
	})
	err = app.Main(context.Background(), func(ctx context.Context) error {
		if _, err := OrderPlaced.Emit(ctx, Order{ID: "1"}); err != nil {
			return err
		}
		<-done
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output:
	// 429 Too Many Requests
	// 200 OK
}

// Two reactions of one app: each gets every event, at its own pace.
func ExampleNamed() {
	app, err := tidings.Open("shop", embedded.Memory())
	if err != nil {
		log.Fatal(err)
	}
	packed, thanked := make(chan string, 1), make(chan string, 1)
	tidings.React(app, OrderPlaced, func(_ context.Context, e tidings.Event[Order]) error {
		packed <- e.Data.ID
		return nil
	}, tidings.Named("shop.warehouse"))
	tidings.React(app, OrderPlaced, func(_ context.Context, e tidings.Event[Order]) error {
		thanked <- e.Data.ID
		return nil
	}, tidings.Named("shop.email"))

	err = app.Main(context.Background(), func(ctx context.Context) error {
		if _, err := OrderPlaced.Emit(ctx, Order{ID: "1"}); err != nil {
			return err
		}
		fmt.Println("packed", <-packed)
		fmt.Println("thanked", <-thanked)
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output:
	// packed 1
	// thanked 1
}

// A service that is new reads what was there before it.
func ExampleFromBeginning() {
	where := embedded.Memory()
	shop, err := tidings.Open("shop", where)
	if err != nil {
		log.Fatal(err)
	}
	defer shop.Close()
	if _, err := OrderPlaced.Emit(shop.Context(context.Background()), Order{ID: "1"}); err != nil {
		log.Fatal(err)
	}

	fraud, err := tidings.Open("fraud", where)
	if err != nil {
		log.Fatal(err)
	}
	checked := make(chan string, 1)
	tidings.React(fraud, OrderPlaced, func(_ context.Context, e tidings.Event[Order]) error {
		checked <- e.Subject
		return nil
	}, tidings.FromBeginning())
	err = fraud.Main(context.Background(), func(context.Context) error {
		fmt.Println("checked", <-checked)
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output: checked order/1
}

// A caller waits until everything that follows from its event has happened. The fact that it has is emitted by an
// indexer: one comes with embedded.Memory and embedded.File, and `tidings serve` runs one.
func ExampleReceipt_Settled() {
	app, err := tidings.Open("email", embedded.Memory())
	if err != nil {
		log.Fatal(err)
	}
	tidings.React(app, OrderPlaced, func(context.Context, tidings.Event[Order]) error {
		fmt.Println("thank you")
		return nil
	})
	err = app.Main(context.Background(), func(ctx context.Context) error {
		receipt, err := OrderPlaced.Emit(ctx, Order{ID: "1"})
		if err != nil {
			return err
		}
		ctx, stop := context.WithTimeout(ctx, 10*time.Second) // a story can stay open for long: always give a limit
		defer stop()
		if err := receipt.Settled(ctx); err != nil {
			return err
		}
		fmt.Println("settled")
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output:
	// thank you
	// settled
}

// An effect outside the log may happen twice when a process dies at the wrong moment. The key is the same each time, so
// that the other side can tell: a payment provider's idempotency key, or a unique column.
func ExampleMeta_Key() {
	charges := map[string]int{} // the payment provider: by idempotency key
	app, err := tidings.Open("payment", embedded.Memory(), tidings.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		log.Fatal(err)
	}
	attempts, done := 0, make(chan bool)
	tidings.React(app, OrderPlaced, func(ctx context.Context, e tidings.Event[Order]) error {
		charges[e.Key()] = e.Data.Pence
		if attempts++; attempts == 1 {
			return errors.New("the connection broke, and nobody knows whether the card was charged")
		}
		close(done)
		return nil
	}, tidings.Retry(tidings.Backoff(time.Millisecond, time.Millisecond)))
	err = app.Main(context.Background(), func(ctx context.Context) error {
		if _, err := OrderPlaced.Emit(ctx, Order{ID: "1", Pence: 999}); err != nil {
			return err
		}
		<-done
		fmt.Println(attempts, "attempts,", len(charges), "charge")
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output: 2 attempts, 1 charge
}

// Events that a request emits belong to the caller's trace. Package tidingshttp does this for a whole service.
func ExampleWithTraceParent() {
	header := "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01" // r.Header.Get("traceparent")
	ctx := tidings.WithTraceParent(context.Background(), header)
	ctx = tidings.WithCorrelation(ctx, "checkout-7")
	fmt.Println(tidings.TraceParent(ctx)[3:35], tidings.Correlation(ctx))
	// Output: 0af7651916cd43dd8448eb211c80319c checkout-7
}

// Production: the address of `tidings serve`, or those of an Apache Kafka cluster. A log that cannot be reached at the
// start is an error.
func ExampleKafka() {
	app, err := tidings.Open("email", tidings.Kafka("127.0.0.1:1"), tidings.ConnectTimeout(100*time.Millisecond),
		tidings.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		log.Fatal(err)
	}
	tidings.React(app, OrderPlaced, func(context.Context, tidings.Event[Order]) error { return nil })
	err = app.Main(context.Background(), nil)
	fmt.Println(errors.Is(err, tidings.ErrUnreachable))
	// Output: true
}

// A test of an application runs it on the real broker in memory, and waits for what it expects.
func ExampleApp_Ready() {
	app, err := tidings.Open("email", embedded.Memory())
	if err != nil {
		log.Fatal(err) // t.Fatal(err)
	}
	got := make(chan Order, 1)
	tidings.React(app, OrderPlaced, func(_ context.Context, e tidings.Event[Order]) error {
		got <- e.Data
		return nil
	})
	ran := make(chan error, 1)
	go func() { ran <- app.Run(context.Background()) }()
	select {
	case <-app.Ready(): // from now on the reaction gets every event
	case err := <-ran:
		log.Fatal(err)
	}
	if _, err := OrderPlaced.Emit(app.Context(context.Background()), Order{ID: "1"}); err != nil {
		log.Fatal(err)
	}
	fmt.Println("got order", (<-got).ID)
	if err := app.Close(); err != nil { // t.Cleanup: drains, and frees the broker
		log.Fatal(err)
	}
	// Output: got order 1
}

// Events that do not decode, from a program with another idea of an order, are passed over. What is done instead of nothing,
// such as to tell somebody, goes into a function like tell.
func ExampleOnUndecodable() {
	tell := func(ctx context.Context, e tidings.Any, err error) error {
		fmt.Printf("%s of %s was not understood\n", e.Type, e.Subject)
		return tidings.Skip(err.Error()) // or nil: handled; or err: to be tried again
	}
	app, err := tidings.Open("email", embedded.Memory())
	if err != nil {
		log.Fatal(err)
	}
	sent := make(chan bool, 1)
	tidings.React(app, OrderPlaced, func(ctx context.Context, e tidings.Event[Order]) error {
		fmt.Println(e.Subject)
		sent <- true
		return nil
	}, tidings.OnUndecodable(tell))

	numbers := tidings.Define[[]int]("shop.order.placed", tidings.In("orders"), tidings.Subject(func([]int) string { return "order/1" }))
	err = app.Main(context.Background(), func(ctx context.Context) error {
		if _, err := numbers.Emit(ctx, []int{7}); err != nil {
			return err
		}
		if _, err := OrderPlaced.Emit(ctx, Order{ID: "1"}); err != nil {
			return err
		}
		<-sent
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output:
	// shop.order.placed of order/1 was not understood
	// order/1
}
