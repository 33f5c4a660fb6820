// Hello is the smallest complete program with package tidings: it defines a fact, reacts to it and emits it, and ends
// when the reaction has handled it.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"os"

	"tidings.dev"
	"tidings.dev/embedded"
)

// Order is the data of the fact OrderPlaced.
type Order struct {
	ID    string
	Pence int
}

// OrderPlaced is the fact that a customer has placed an order.
var OrderPlaced = tidings.Define[Order]("hello.order.placed", tidings.In("hello"),
	tidings.Subject(func(o Order) string { return "order/" + o.ID }))

func main() {
	if err := run(context.Background(), os.Args[1:], os.Stdout); err != nil {
		log.Fatal(err)
	}
}

// run is the program: it emits a fact and writes to stdout when the reaction handles it. It returns when the reaction
// has handled the fact, or when ctx is done.
func run(ctx context.Context, args []string, stdout io.Writer) error {
	flags := flag.NewFlagSet("hello", flag.ContinueOnError)
	brokers := flags.String("brokers", "", "HOST:PORT of the log, with commas between; empty: a broker in memory")
	if err := flags.Parse(args); err != nil {
		return err
	}
	where := embedded.Memory()
	if *brokers != "" {
		where = tidings.Kafka(*brokers)
	}
	app, err := tidings.Open("hello", where)
	if err != nil {
		return err
	}

	id, handled := tidings.NewID(), make(chan bool, 1)
	tidings.React(app, OrderPlaced, func(ctx context.Context, e tidings.Event[Order]) error {
		fmt.Fprintf(stdout, "%s: thank you for £%d.%02d\n", e.Subject, e.Data.Pence/100, e.Data.Pence%100)
		if e.ID == id { // otherwise another run of the program has emitted it
			select {
			case handled <- true:
			default: // it was handled before: delivery is at least once
			}
		}
		return nil
	})
	return app.Main(ctx, func(ctx context.Context) error {
		if _, err := OrderPlaced.Emit(ctx, Order{ID: "536365", Pence: 13912}, tidings.ID(id)); err != nil {
			return err
		}
		select {
		case <-handled:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
}
