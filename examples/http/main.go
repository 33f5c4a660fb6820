// Http is an HTTP service. POST /orders/{id} emits a fact and is answered as soon as the fact is durable; a reaction
// handles the fact afterwards.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"

	"tidings.dev"
	"tidings.dev/embedded"
	"tidings.dev/tidingshttp"
)

// Order is the data of the fact OrderPlaced.
type Order struct{ ID string }

// OrderPlaced is the fact that a customer has placed an order.
var OrderPlaced = tidings.Define[Order]("http.order.placed", tidings.In("http"),
	tidings.Subject(func(o Order) string { return "order/" + o.ID }))

func main() {
	if err := run(context.Background(), os.Args[1:], os.Stdout); err != nil {
		log.Fatal(err)
	}
}

// run is the program: it writes the address that it listens on to stdout, and then a line for each order that the
// reaction handles. It returns when ctx is done or the process receives SIGINT or SIGTERM.
func run(ctx context.Context, args []string, stdout io.Writer) error {
	flags := flag.NewFlagSet("http", flag.ContinueOnError)
	brokers := flags.String("brokers", "", "HOST:PORT of the log, with commas between; empty: a broker in memory")
	listen := flags.String("listen", "localhost:8080", "HOST:PORT to serve HTTP on")
	if err := flags.Parse(args); err != nil {
		return err
	}
	where := embedded.Memory()
	if *brokers != "" {
		where = tidings.Kafka(*brokers)
	}
	app, err := tidings.Open("http", where)
	if err != nil {
		return err
	}
	tidings.React(app, OrderPlaced, func(_ context.Context, e tidings.Event[Order]) error {
		_, err := fmt.Fprintf(stdout, "%s: handled %s\n", e.Subject, e.ID)
		return err
	})

	mux := http.NewServeMux()
	mux.HandleFunc("POST /orders/{id}", func(w http.ResponseWriter, r *http.Request) {
		// The client's key becomes the event's id, so a request that is repeated does not place a second order.
		key := tidings.ID(r.Header.Get("Idempotency-Key"))
		if _, err := OrderPlaced.Emit(r.Context(), Order{ID: r.PathValue("id")}, key); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		w.WriteHeader(http.StatusAccepted)
	})
	return app.Main(ctx, func(ctx context.Context) error {
		l, err := net.Listen("tcp", *listen)
		if err != nil {
			return err
		}
		fmt.Fprintf(stdout, "http://%s\n", l.Addr())
		server := &http.Server{Handler: tidingshttp.Handler(app, mux)}
		stopped := make(chan error, 1)
		go func() {
			<-ctx.Done()
			stopped <- server.Shutdown(context.WithoutCancel(ctx)) // waits for the requests that are being answered
		}()
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return <-stopped
	})
}
