package tidings

import (
	"context"

	"tidings.dev/internal/cloudevent"
)

// A context carries the app, the event being handled, the correlation and the trace, each under one of these keys.

type contextKey int

const (
	// appKey has the *App that App.Context bound; runKey the *handlerRun of the handler that runs; correlationKey and
	// traceKey the strings of WithCorrelation and WithTraceParent.
	appKey contextKey = iota
	runKey
	correlationKey
	traceKey
)

// WithCorrelation returns a copy of ctx with which root emissions belong to the story named id instead of beginning a
// story of their own. Inside a handler it has no effect: emissions there belong to the story of the event being
// handled. Emissions fail if id has more than 512 bytes or is not valid UTF-8. An empty id counts as none.
func WithCorrelation(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, correlationKey, id)
}

// Correlation returns the correlation id that an emission with ctx would carry, or "" if the emission would begin a
// story of its own.
func Correlation(ctx context.Context) string {
	if r := runOf(ctx); r != nil {
		return r.event.Correlation
	}
	id, _ := ctx.Value(correlationKey).(string)
	return id
}

// WithTraceParent returns a copy of ctx with which root emissions continue a W3C trace. traceparent is the value of a
// traceparent header; if it is malformed, WithTraceParent returns ctx unchanged.
func WithTraceParent(ctx context.Context, traceparent string) context.Context {
	if !cloudevent.ValidTraceParent(traceparent) {
		return ctx
	}
	return context.WithValue(ctx, traceKey, traceparent)
}

// TraceParent returns the W3C traceparent of the event being handled or, outside handlers, the one that
// [WithTraceParent] set. It returns "" if there is none.
func TraceParent(ctx context.Context) string {
	if r := runOf(ctx); r != nil {
		return r.event.TraceParent
	}
	tp, _ := ctx.Value(traceKey).(string)
	return tp
}

// Cause returns the event whose handler ctx belongs to. Outside handlers it returns false.
func Cause(ctx context.Context) (Meta, bool) {
	if r := runOf(ctx); r != nil {
		return r.event.Meta, true
	}
	return Meta{}, false
}

// runOf returns the run of the handler that ctx belongs to, or nil outside handlers.
func runOf(ctx context.Context) *handlerRun {
	r, _ := ctx.Value(runKey).(*handlerRun)
	return r
}

// appOf returns the app that ctx is bound to, or nil.
func appOf(ctx context.Context) *App {
	a, _ := ctx.Value(appKey).(*App)
	return a
}
