package tidings

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"strings"
)

// What flows by context: the app, the event being handled, the correlation and the trace.

type contextKey int

const (
	appKey contextKey = iota
	runKey
	correlationKey
	traceKey
)

// WithCorrelation makes root emissions with this context part of the story named id, in place of beginning a new one.
// Emissions inside a handler always belong to the story of the event that is handled.
func WithCorrelation(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, correlationKey, id)
}

// Correlation is the correlation id that an emission with this context would carry; empty if it would begin a story.
func Correlation(ctx context.Context) string {
	if r := runOf(ctx); r != nil {
		return r.cause.Correlation
	}
	id, _ := ctx.Value(correlationKey).(string)
	return id
}

// WithTraceParent makes root emissions with this context continue a W3C trace: the value of a traceparent header. A
// malformed one is ignored.
func WithTraceParent(ctx context.Context, traceparent string) context.Context {
	if !validTraceParent(traceparent) {
		return ctx
	}
	return context.WithValue(ctx, traceKey, traceparent)
}

// TraceParent is the traceparent of what is going on: that of the event being handled, or what WithTraceParent set.
func TraceParent(ctx context.Context) string {
	if r := runOf(ctx); r != nil {
		return r.cause.TraceParent
	}
	tp, _ := ctx.Value(traceKey).(string)
	return tp
}

// Cause is the event that a handler's context belongs to; false outside handlers.
func Cause(ctx context.Context) (Meta, bool) {
	if r := runOf(ctx); r != nil {
		return r.cause, true
	}
	return Meta{}, false
}

func runOf(ctx context.Context) *handlerRun {
	r, _ := ctx.Value(runKey).(*handlerRun)
	return r
}

func appOf(ctx context.Context) *App {
	a, _ := ctx.Value(appKey).(*App)
	return a
}

// A traceparent (W3C Trace Context, version 00):
//
//	00-<trace id, 32 hex>-<parent span id, 16 hex>-<flags, 2 hex>
const traceParentLen = 2 + 1 + 32 + 1 + 16 + 1 + 2

// childTraceParent continues a trace with a new span, or begins one, unsampled, when parent is none.
func childTraceParent(parent string) string {
	var random [24]byte
	rand.Read(random[:])
	span := hex.EncodeToString(random[:8])
	if validTraceParent(parent) {
		return "00-" + parent[3:35] + "-" + span + "-" + parent[53:55]
	}
	return "00-" + hex.EncodeToString(random[8:]) + "-" + span + "-00"
}

func validTraceParent(s string) bool {
	// A later version may be longer, but begins the same way.
	if len(s) < traceParentLen || s[2] != '-' || s[35] != '-' || s[52] != '-' || s[:2] == "ff" {
		return false
	}
	if len(s) > traceParentLen && (s[:2] == "00" || s[traceParentLen] != '-') {
		return false
	}
	for _, part := range []string{s[:2], s[3:35], s[36:52], s[53:55]} {
		if strings.Trim(part, "0123456789abcdef") != "" {
			return false
		}
	}
	return strings.Trim(s[3:35], "0") != "" && strings.Trim(s[36:52], "0") != ""
}
