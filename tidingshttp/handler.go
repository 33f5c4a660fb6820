// Package tidingshttp connects HTTP services with package tidings: all facts that are emitted for one request belong
// to one story, and to the trace that the HTTP client has begun.
//
//	mux := http.NewServeMux()
//	mux.HandleFunc("POST /orders", placeOrder) // emits with r.Context()
//	err := http.ListenAndServe("localhost:8080", tidingshttp.Handler(app, mux))
package tidingshttp

import (
	"net/http"
	"strings"

	"tidings.dev"
)

// CorrelationHeader is the header in which an HTTP client may name the story that a request belongs to. [Handler] puts
// the name of the story into the same header of the response.
const CorrelationHeader = "X-Correlation-ID"

// maxCorrelationBytes is the length of the longest correlation id that is accepted from an HTTP client. Every record
// of the story has the id.
const maxCorrelationBytes = 128

// Handler returns an HTTP handler that calls next with the request's context bound to app, so that next can emit facts
// with r.Context(). Root emissions with that context
//
//   - have the correlation id in the request's [CorrelationHeader], if it has 1 to 128 printable ASCII characters
//     without spaces, and otherwise a new id, so that all facts of one request belong to one story;
//   - continue the trace of the request's traceparent header (W3C Trace Context), if that is valid.
//
// The response has the correlation id in CorrelationHeader; `tidings story ID` shows what became of the request. If
// HTTP clients should not be able to add to the stories of others, let a proxy in front of the service remove the
// header from requests.
//
// Handler panics if app or next is nil. It is safe for concurrent use.
func Handler(app *tidings.App, next http.Handler) http.Handler {
	if app == nil {
		panic("tidingshttp: Handler: the app is nil: pass the one that tidings.Open returned")
	}
	if next == nil {
		panic("tidingshttp: Handler: the handler to call is nil: pass your mux")
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := r.Header.Get(CorrelationHeader)
		if !validCorrelation(id) {
			id = tidings.NewID()
		}
		w.Header().Set(CorrelationHeader, id)
		ctx := tidings.WithCorrelation(app.Context(r.Context()), id)
		ctx = tidings.WithTraceParent(ctx, r.Header.Get("traceparent"))
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// validCorrelation reports whether id, from an HTTP client, is accepted as a correlation id.
func validCorrelation(id string) bool {
	return id != "" && len(id) <= maxCorrelationBytes &&
		!strings.ContainsFunc(id, func(r rune) bool { return r <= ' ' || r > '~' })
}
