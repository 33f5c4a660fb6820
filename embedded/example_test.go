package embedded_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"tidings.dev"
	"tidings.dev/broker"
	"tidings.dev/embedded"
)

type Order struct {
	ID    string
	Pence int
}

var OrderPlaced = tidings.Define[Order]("shop.order.placed", tidings.In("orders"),
	tidings.Subject(func(o Order) string { return "order/" + o.ID }))

// In a test: the log is in memory, and belongs to this app alone.
func ExampleMemory() {
	app, err := tidings.Open("shop", embedded.Memory())
	if err != nil {
		log.Fatal(err)
	}
	defer app.Close()

	ctx := app.Context(context.Background())
	receipt, err := OrderPlaced.Emit(ctx, Order{ID: "536365", Pence: 13912})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("acknowledged at offset", receipt.Offset)
	// Output: acknowledged at offset 0
}

// The log is in a directory, and is there again when the next process opens it.
func ExampleFile() {
	dir, err := os.MkdirTemp("", "tidings")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	onePartition := func(c *broker.Config) { c.DefaultPartitions = 1 }
	for range 2 { // two runs of the program
		app, err := tidings.Open("shop", embedded.File(dir, onePartition))
		if err != nil {
			log.Fatal(err)
		}
		receipt, err := OrderPlaced.Emit(app.Context(context.Background()), Order{ID: "536365", Pence: 13912})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println("acknowledged at offset", receipt.Offset)
		if err := app.Close(); err != nil {
			log.Fatal(err)
		}
	}
	// Output:
	// acknowledged at offset 0
	// acknowledged at offset 1
}

// The program runs a broker for others, too, and its own app uses the same one.
func ExampleBroker() {
	b, err := broker.Open(broker.Config{Memory: true})
	if err != nil {
		log.Fatal(err)
	}
	defer b.Close() // after the app

	app, err := tidings.Open("shop", embedded.Broker(b))
	if err != nil {
		log.Fatal(err)
	}
	defer app.Close()

	if _, err := OrderPlaced.Emit(app.Context(context.Background()), Order{ID: "536365", Pence: 13912}); err != nil {
		log.Fatal(err)
	}
	fmt.Println("acknowledged")
	// Output: acknowledged
}
