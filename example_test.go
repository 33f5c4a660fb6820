package tidings_test

import (
	"context"
	"fmt"
	"log"

	"tidings.dev"
	"tidings.dev/embedded"
)

type Order struct {
	ID    string
	Pence int
}

var OrderPlaced = tidings.Define[Order]("shop.order.placed", tidings.In("orders"),
	tidings.Subject(func(o Order) string { return "order/" + o.ID }))

// The program of the README: an order is placed, and somebody who was not told of the shop reacts.
func Example() {
	app, err := tidings.Open("email", embedded.Memory()) // or embedded.File("./data"), or tidings.Kafka("host:9092")
	if err != nil {
		log.Fatal(err)
	}
	defer app.Close()

	sent := make(chan bool)
	tidings.React(app, OrderPlaced, func(ctx context.Context, e tidings.Event[Order]) error {
		fmt.Printf("%s: thank you for £%d.%02d\n", e.Subject, e.Data.Pence/100, e.Data.Pence%100)
		sent <- true
		return nil
	})
	go app.Run(context.Background())
	<-app.Ready()

	ctx := app.Context(context.Background())
	if _, err := OrderPlaced.Emit(ctx, Order{ID: "536365", Pence: 13912}); err != nil {
		log.Fatal(err)
	}
	<-sent
	// Output: order/536365: thank you for £139.12
}
