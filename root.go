package tidings

import (
	"context"
	"crypto/rand"
	"fmt"
	"runtime"
	"time"
)

// emitRoot sends an event that no other has caused, and waits until it is durable.
func (a *App) emitRoot(ctx context.Context, d *definition, e *outgoing) (Receipt, error) {
	if a.running.Load() > 0 && insideHandler() {
		a.rootless.Add(1)
		a.log.Warn("an emission inside a handler without the handler's context begins a story of its own and is not undone when the handler fails: pass on the ctx that the handler got",
			"fact", d.name)
	}
	if e.meta.ID == "" {
		e.meta.ID = newID()
	}
	e.meta.Source = a.name
	e.meta.Correlation = Correlation(ctx)
	if e.meta.Correlation == "" {
		e.meta.Correlation = e.meta.ID
	}
	e.meta.TraceParent = childTraceParent(TraceParent(ctx))
	if err := a.topics.ensure(ctx, d); err != nil {
		return Receipt{}, fmt.Errorf("%s not emitted: %w", d.name, err)
	}
	emitted := time.Now()
	r := e.record()
	if err := a.produce(ctx, r); err != nil {
		return Receipt{}, fmt.Errorf("%s not emitted: %w", d.name, err)
	}
	return Receipt{ID: e.meta.ID, Correlation: e.meta.Correlation, Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, app: a, emitted: emitted}, nil
}

// newID makes a random UUID (RFC 9562, version 4).
func newID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// insideHandler looks for a handler on this goroutine's stack. It sees nothing of goroutines that a handler starts.
func insideHandler() bool {
	var pcs [128]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs[:])])
	for {
		f, more := frames.Next()
		if f.Function == handlerFrame {
			return true
		}
		if !more {
			return false
		}
	}
}
