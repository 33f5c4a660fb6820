package tidingshttp_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"tidings.dev"
	"tidings.dev/embedded"
	"tidings.dev/tidingshttp"
)

type order struct{ ID string }

var placed = tidings.Define[order]("shop.order.placed", tidings.In("orders"),
	tidings.Subject(func(o order) string { return "order/" + o.ID }))

// An order is placed over HTTP, by a caller who has begun a trace and names the story.
func Example() {
	app, err := tidings.Open("shop", embedded.Memory(), tidings.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		log.Fatal(err)
	}
	handled := make(chan tidings.Meta, 1)
	tidings.React(app, placed, func(_ context.Context, e tidings.Event[order]) error {
		handled <- e.Meta
		return nil
	})

	mux := http.NewServeMux()
	mux.HandleFunc("POST /orders/{id}", func(w http.ResponseWriter, r *http.Request) {
		id := r.PathValue("id")
		// The request's own idempotency key is the event's id: a request that is repeated places no second order.
		if _, err := placed.Emit(r.Context(), order{ID: id}, tidings.ID(r.Header.Get("Idempotency-Key"))); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		w.WriteHeader(http.StatusAccepted)
	})

	err = app.Main(context.Background(), func(ctx context.Context) error {
		server := httptest.NewServer(tidingshttp.Handler(app, mux))
		defer server.Close()
		request, err := http.NewRequestWithContext(ctx, "POST", server.URL+"/orders/536365", nil)
		if err != nil {
			return err
		}
		request.Header.Set("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
		request.Header.Set("X-Correlation-ID", "checkout-7")
		request.Header.Set("Idempotency-Key", "k-1")
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		e := <-handled
		fmt.Println(response.Status, response.Header.Get("X-Correlation-ID"))
		fmt.Println(e.ID, e.Correlation, e.TraceParent[3:35])
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output:
	// 202 Accepted checkout-7
	// k-1 checkout-7 0af7651916cd43dd8448eb211c80319c
}

// Case: a caller without a correlation id, or with one that is not to be taken over, gets a new one.
func TestCorrelationOfARequest(t *testing.T) {
	app, err := tidings.Open("shop", embedded.Memory())
	if err != nil {
		t.Fatal(err)
	}
	defer app.Close()
	var inside string
	h := tidingshttp.Handler(app, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		inside = tidings.Correlation(r.Context())
		io.WriteString(w, "ok")
	}))
	for sent, taken := range map[string]bool{
		"checkout-7": true, strings.Repeat("x", 128): true,
		"": false, "two words": false, "tab\t": false, "über": false, strings.Repeat("x", 129): false,
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set(tidingshttp.CorrelationHeader, sent)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		got := w.Result().Header.Get(tidingshttp.CorrelationHeader)
		if got == "" || got != inside || taken != (got == sent) {
			t.Errorf("sent %q: the answer says %q, the context %q", sent, got, inside)
		}
	}
}

// Case: wrong use is refused when the service starts, not at the first request.
func TestWrongUse(t *testing.T) {
	refused := func(want string, f func()) {
		t.Helper()
		defer func() {
			t.Helper()
			if p := fmt.Sprint(recover()); !strings.Contains(p, want) {
				t.Errorf("panic %q, want one that says %q", p, want)
			}
		}()
		f()
	}
	refused("the app is nil", func() { tidingshttp.Handler(nil, http.NotFoundHandler()) })
	app, err := tidings.Open("shop", embedded.Memory())
	if err != nil {
		t.Fatal(err)
	}
	defer app.Close()
	refused("the handler to call is nil", func() { tidingshttp.Handler(app, nil) })
}
