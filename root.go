package tidings

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"runtime"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"tidings.dev/internal/cloudevent"
	"tidings.dev/internal/logclient"
)

// emitRoot emits a root event and waits until it is durable. It takes the steps that Emit documents for calls outside
// handlers.
func (a *App) emitRoot(ctx context.Context, d *definition, e *outgoing) (Receipt, error) {
	r, err := a.root(ctx, d, e)
	if err != nil {
		return Receipt{}, err
	}
	if err := a.client.ProduceSyncWithin(ctx, a.opts.emitTimeout, r); err != nil {
		return Receipt{}, notEmitted(e, err)
	}
	return a.receipt(d, e, r), nil
}

// emitRootAsync emits a root event without waiting until it is durable. It calls done as EmitAsync documents for calls
// outside handlers.
func (a *App) emitRootAsync(ctx context.Context, d *definition, e *outgoing, done func(Receipt, error)) {
	r, err := a.root(ctx, d, e)
	if err != nil {
		done(Receipt{}, err)
		return
	}
	bytes := len(r.Key) + len(r.Value)
	if err := a.onTheirWay.begin(ctx, bytes, a.opts.emitTimeout); err != nil {
		done(Receipt{}, notEmitted(e, &logclient.Unacknowledged{
			Topic: r.Topic, Partition: -1, Addresses: a.link.Addresses, Tried: time.Since(e.begun), Err: err,
		}))
		return
	}
	err = a.client.ProduceWithin(ctx, a.opts.emitTimeout, r, func(err error) {
		defer a.onTheirWay.end(bytes)
		if err != nil { // do not read r here: the Kafka client may still write to it
			done(Receipt{}, notEmitted(e, err))
			return
		}
		done(a.receipt(d, e, r), nil)
	})
	if err != nil {
		a.onTheirWay.end(bytes)
		done(Receipt{}, notEmitted(e, err))
	}
}

// root sets what a root event needs (id, source, correlation and trace) and returns its record. If it is called by a
// running handler, on the handler's goroutine, it logs a warning and counts a detached emission.
func (a *App) root(ctx context.Context, d *definition, e *outgoing) (*kgo.Record, error) {
	if a.runs.any() && insideHandler() {
		a.detached.Add(1)
		a.log.Warn("an emission inside a handler without the handler's context begins a story of its own and is not undone when the handler fails: pass on the ctx that the handler got",
			"fact", d.name)
	}
	if e.meta.ID == "" {
		e.meta.ID = NewID()
	}
	e.meta.Source = a.name
	e.meta.Correlation = Correlation(ctx)
	if err := checkName("correlation", e.meta.Correlation); err != nil {
		return nil, fmt.Errorf("%s not emitted: %w", d.name, err)
	}
	if e.meta.Correlation == "" {
		e.meta.Correlation = e.meta.ID
	}
	e.meta.TraceParent = cloudevent.ChildTraceParent(TraceParent(ctx))
	a.client.Declare(d.topic, d.partitions, nil)
	return e.record(), nil
}

// receipt returns the receipt of event e, whose record r is durable. It also has the topic of the fact compared with
// that of other apps.
func (a *App) receipt(d *definition, e *outgoing, r *kgo.Record) Receipt {
	a.defs.emits(d.name, d.topic, e.begun)
	a.runs.appended(e.meta.Correlation, r)
	topic, _ := a.client.Known(r.Topic) // unless it was deleted since
	return Receipt{
		ID: e.meta.ID, Correlation: e.meta.Correlation, Topic: r.Topic, Partition: r.Partition, Offset: r.Offset,
		app: a, topicID: topic.ID, emitted: e.begun, losses: a.client.Losses(),
	}
}

// NewID returns a new id: a random UUID (RFC 9562, version 4). Emissions without [ID] get such an id. Call NewID
// yourself, and pass the result with [ID], if a failed emission is to be repeated as the same event.
func NewID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	var text [36]byte
	hex.Encode(text[:], b[:4])
	hex.Encode(text[9:], b[4:6])
	hex.Encode(text[14:], b[6:8])
	hex.Encode(text[19:], b[8:10])
	hex.Encode(text[24:], b[10:])
	text[8], text[13], text[18], text[23] = '-', '-', '-', '-'
	return string(text[:])
}

// insideHandler reports whether the calling goroutine is running a handler. It does not notice goroutines that a
// handler has started.
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
