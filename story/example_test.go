package story_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"time"

	"tidings.dev"
	"tidings.dev/broker"
	"tidings.dev/embedded"
	"tidings.dev/story"
)

type Order struct {
	ID string `json:"id"`
}

func aboutOrder(o Order) string { return "order/" + o.ID }

var (
	OrderPlaced     = tidings.Define[Order]("shop.order.placed", tidings.In("orders"), tidings.Subject(aboutOrder))
	PaymentCaptured = tidings.Define[Order]("shop.payment.captured", tidings.In("payments"), tidings.Subject(aboutOrder))
)

// capture is a handler that takes the payment for an order.
func capture(ctx context.Context, e tidings.Event[Order]) error {
	_, err := PaymentCaptured.Emit(ctx, e.Data)
	return err
}

// openApp opens an app. If register is not nil, openApp registers its reactions and runs it. stop ends the app.
func openApp(name string, conn tidings.Connection, register func(*tidings.App)) (app *tidings.App, stop func()) {
	app, err := tidings.Open(name, conn, tidings.WithLogger(quiet))
	if err != nil {
		log.Fatal(err)
	}
	if register == nil {
		return app, func() { app.Close() }
	}
	register(app)
	ctx, cancel := context.WithCancel(context.Background())
	running := make(chan error, 1)
	go func() { running <- app.Run(ctx) }()
	select {
	case <-app.Ready():
	case err := <-running:
		log.Fatal(err)
	}
	return app, func() {
		cancel()
		if err := <-running; err != nil {
			log.Fatal(err)
		}
		app.Close()
	}
}

// openIndexer opens an index in a directory of its own and runs an indexer that keeps it up to date. stop ends the
// indexer and removes the directory.
func openIndexer(conn tidings.Connection, options story.Options) (indexer *story.Indexer, stop func()) {
	dir, err := os.MkdirTemp("", "story")
	if err != nil {
		log.Fatal(err)
	}
	options.Logger = quiet
	indexer, err = story.Open(context.Background(), conn, filepath.Join(dir, "story.db"), options)
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	running := make(chan error, 1)
	go func() { running <- indexer.Run(ctx) }()
	return indexer, func() {
		cancel()
		if err := <-running; err != nil {
			log.Fatal(err)
		}
		if err := indexer.Close(); err != nil {
			log.Fatal(err)
		}
		os.RemoveAll(dir)
	}
}

// An order is placed and its payment captured. When the story has settled, every reaction has handled its events. The
// indexer that decides this is part of embedded.Memory; the one that this program opens only reads.
func Example() {
	conn := embedded.Memory()
	indexer, stopIndexer := openIndexer(conn, story.Options{})
	defer stopIndexer()
	_, stopPayment := openApp("payment", conn, func(a *tidings.App) { tidings.React(a, OrderPlaced, capture) })
	defer stopPayment()
	shop, stopShop := openApp("shop", conn, nil)
	defer stopShop()

	ctx := shop.Context(context.Background())
	receipt, err := OrderPlaced.Emit(ctx, Order{ID: "536365"})
	if err != nil {
		log.Fatal(err)
	}
	if err := receipt.Settled(ctx); err != nil {
		log.Fatal(err)
	}

	s, err := indexer.Story(ctx, "order/536365", nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(s.Query, "is", s.Standing)
	for event := range s.All {
		for _, o := range event.Obligations {
			fmt.Println(event.Type, o.Reaction, o.State)
		}
	}
	// Output:
	// order/536365 is settled
	// shop.order.placed payment handled
	// shop.payment.captured  nobody_listening
}

// Stories are found by each of their keys, and also by the beginning of a subject. The newest story comes first.
func ExampleIndex_Find() {
	onePartition := func(c *broker.Config) { c.DefaultPartitions = 1 } // so that the order is that of emitting
	conn := embedded.Memory(onePartition)
	indexer, stopIndexer := openIndexer(conn, story.Options{})
	defer stopIndexer()
	shop, stopShop := openApp("shop", conn, nil)
	defer stopShop()

	ctx := shop.Context(context.Background())
	for _, id := range []string{"536365", "536366", "700000"} {
		if _, err := OrderPlaced.Emit(ctx, Order{ID: id}); err != nil {
			log.Fatal(err)
		}
	}
	if err := indexer.CatchUp(ctx, nil); err != nil {
		log.Fatal(err)
	}

	refs, err := indexer.Index().Find("order/5363", 0)
	if err != nil {
		log.Fatal(err)
	}
	for _, ref := range refs {
		s, err := indexer.Index().Story(ref.Correlation, story.Live{})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("found by %s: %s, %d event\n", ref.By, s.Roots[0].Subject, ref.Events)
	}
	// Output:
	// found by subject: order/536366, 1 event
	// found by subject: order/536365, 1 event
}

// A story has not settled, because two services are down. Its obligations name the reactions that have not handled its
// events.
func ExampleObligation_Open() {
	conn := embedded.Memory()
	indexer, stopIndexer := openIndexer(conn, story.Options{})
	defer stopIndexer()
	_, stopPayment := openApp("payment", conn, func(a *tidings.App) { tidings.React(a, OrderPlaced, capture) })
	_, stopEmail := openApp("email", conn, func(a *tidings.App) {
		tidings.React(a, OrderPlaced, func(context.Context, tidings.Event[Order]) error { return nil })
	})
	stopEmail()
	stopPayment()
	shop, stopShop := openApp("shop", conn, nil)
	defer stopShop()

	ctx := shop.Context(context.Background())
	if _, err := OrderPlaced.Emit(ctx, Order{ID: "536365"}); err != nil {
		log.Fatal(err)
	}

	s, err := indexer.Story(ctx, "order/536365", nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(s.Sentence)
	for event := range s.All {
		for _, o := range event.Obligations {
			if o.Open() {
				fmt.Println(o.Reaction, "owes", event.Type)
			}
		}
	}
	// Output:
	// order/536365: waiting for email (1 behind) and payment (1 behind).
	// email owes shop.order.placed
	// payment owes shop.order.placed
}

// A story is printed as a tree: below each event what each reaction has done with it, and below the reaction the events
// that it has emitted.
func ExampleStory_Render() {
	at := func(ms int) time.Time { return time.Date(2026, 3, 4, 10, 0, 0, ms*1e6, time.UTC) }
	s := story.Story{
		Sentence: "order/536365: settled 31 ms after it began; 2 events, 2 reactions.",
		First:    at(0),
		Roots: []*story.Event{{
			Type: "shop.order.placed", Subject: "order/536365", Time: at(0), Topic: "orders", Partition: 1, Offset: 7,
			Obligations: []story.Obligation{
				{Reaction: "email", State: story.SkippedEvent, At: at(12), Reason: "no address"},
				{Reaction: "payment", State: story.Handled, At: at(31), Took: 28 * time.Millisecond},
			},
			Children: []*story.Event{{
				Type: "shop.payment.captured", Reaction: "payment", Time: at(30), Topic: "payments", Offset: 5,
				Obligations: []story.Obligation{{State: story.NobodyListening}},
			}},
		}},
	}
	if err := s.Render(os.Stdout, story.Format{}); err != nil {
		log.Fatal(err)
	}
	// Output:
	// order/536365: settled 31 ms after it began; 2 events, 2 reactions.
	//
	// shop.order.placed  2026-03-04 10:00:00.000 UTC  order/536365  orders/1@7
	// ├─ ⤼ email    skipped +12 ms: no address
	// └─ ✓ payment  handled +31 ms, took 28 ms
	//    └─ shop.payment.captured  +30 ms  payments/0@5
	//       └─ · nobody listening
}
