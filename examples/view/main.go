// View keeps a read model, the turnover of each order, folded from the oldest event on, and prints it.
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
var OrderPlaced = tidings.Define[Order]("view.order.placed", tidings.In("view"),
	tidings.Subject(func(o Order) string { return "order/" + o.ID }))

func main() {
	if err := run(context.Background(), os.Args[1:], os.Stdout); err != nil {
		log.Fatal(err)
	}
}

// run is the program: it emits three facts before the view exists, and writes the view to stdout once it has all of
// them.
func run(ctx context.Context, args []string, stdout io.Writer) error {
	flags := flag.NewFlagSet("view", flag.ContinueOnError)
	brokers := flags.String("brokers", "", "HOST:PORT of the log, with commas between; empty: a broker in memory")
	if err := flags.Parse(args); err != nil {
		return err
	}
	where := embedded.Memory()
	if *brokers != "" {
		where = tidings.Kafka(*brokers)
	}
	shop, err := tidings.Open("view.shop", where)
	if err != nil {
		return err
	}
	defer shop.Close()
	orders := []Order{{"1", 500}, {"2", 700}, {"1", 250}}
	wait := map[string]bool{} // ids of the events that the view does not have yet
	for _, o := range orders {
		id := tidings.NewID()
		wait[id] = true
		if _, err := OrderPlaced.Emit(shop.Context(ctx), o, tidings.ID(id)); err != nil {
			return err
		}
	}

	app, err := tidings.Open("view", where)
	if err != nil {
		return err
	}
	seen := make(chan string)
	turnover := tidings.ReactWith(app, tidings.Facts(OrderPlaced),
		func(pence *int, e tidings.Any) {
			if o, ok, err := OrderPlaced.From(e); ok && err == nil {
				*pence += o.Data.Pence
			}
		},
		func(ctx context.Context, _ int, e tidings.Any) error {
			select {
			case seen <- e.ID:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}, tidings.FromBeginning())
	return app.Main(ctx, func(ctx context.Context) error {
		for len(wait) > 0 {
			select {
			case id := <-seen:
				delete(wait, id)
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		for _, subject := range []string{"order/1", "order/2"} {
			pence, _ := turnover.Get(subject)
			fmt.Fprintf(stdout, "%s: %d pence\n", subject, pence)
		}
		return nil
	})
}
