package tidings

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"tidings.dev/internal/cloudevent"
	"tidings.dev/internal/logclient"
)

// rootEmission is an event that is emitted outside handlers, on its way to the log, and the memory of its record. It is used again
// for another event after free. Emit also uses one while it emits within a handler.
type rootEmission struct {
	outgoing
	room   cloudevent.RecordRoom
	record *kgo.Record // in room

	// The following are of emitRootAsync.
	app      *App
	def      *definition
	bytes    int // counted by App.onTheirWay
	done     func(Receipt, error)
	produced func(error) // answered, as the client takes it; the emission's for good
}

// rootEmissions has emissions that are not in use.
var rootEmissions = sync.Pool{New: func() any { return new(rootEmission) }}

// free makes the emission ready for another event. The client must not have its record any more.
func (e *rootEmission) free() {
	e.room.Clear()
	e.outgoing, e.record, e.app, e.def, e.done = outgoing{}, nil, nil, nil, nil
	rootEmissions.Put(e)
}

// emitRoot emits a root event and waits until it is durable. It takes the steps that Emit documents for calls outside
// handlers.
func (a *App) emitRoot(ctx context.Context, d *definition, e *rootEmission) (Receipt, error) {
	if err := a.root(ctx, d, e); err != nil {
		return Receipt{}, err
	}
	if err := a.client.ProduceSyncWithin(ctx, a.opts.emitTimeout, e.record); err != nil {
		return Receipt{}, notEmitted(&e.outgoing, err)
	}
	return a.receipt(d, e), nil
}

// emitRootAsync emits a root event without waiting until it is durable. It calls done as EmitAsync documents for calls
// outside handlers.
func (a *App) emitRootAsync(ctx context.Context, d *definition, e *rootEmission, done func(Receipt, error)) {
	if err := a.root(ctx, d, e); err != nil {
		done(Receipt{}, err)
		return
	}
	r := e.record
	e.app, e.def, e.done, e.bytes = a, d, done, len(r.Key)+len(r.Value)
	if e.produced == nil {
		e.produced = e.answered
	}
	if err := a.onTheirWay.begin(ctx, e.bytes, a.opts.emitTimeout); err != nil {
		done(Receipt{}, notEmitted(&e.outgoing, &logclient.Unacknowledged{
			Topic: r.Topic, Partition: -1, Addresses: a.link.Addresses, Tried: time.Since(e.begun), Err: err,
		}))
		return
	}
	if err := a.client.ProduceWithin(ctx, a.opts.emitTimeout, r, e.produced); err != nil {
		a.onTheirWay.end(e.bytes)
		done(Receipt{}, notEmitted(&e.outgoing, err))
	}
}

// answered is called with the result of the record of emitRootAsync.
func (e *rootEmission) answered(err error) {
	app, bytes, done := e.app, e.bytes, e.done
	defer app.onTheirWay.end(bytes)
	if err != nil { // do not read the record here: the Kafka client may still write to it
		done(Receipt{}, notEmitted(&e.outgoing, err))
		return
	}
	done(app.receipt(e.def, e), nil)
}

// root sets what a root event needs (id, source, correlation and trace) and makes its record. If it is called by a
// running handler, on the handler's goroutine, it logs a warning and counts a detached emission.
func (a *App) root(ctx context.Context, d *definition, e *rootEmission) error {
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
		return fmt.Errorf("%s not emitted: %w", d.name, err)
	}
	if e.meta.Correlation == "" {
		e.meta.Correlation = e.meta.ID
	}
	e.meta.TraceParent = cloudevent.ChildTraceParent(TraceParent(ctx))
	a.declare(d)
	e.record = e.recordIn(&e.room)
	return nil
}

// declare has the client make the topic of a fact as its definition says, if the topic does not exist when it is first used.
func (a *App) declare(d *definition) {
	if _, ok := a.declared.Load(d); !ok {
		a.client.Declare(d.topic, d.partitions, nil)
		a.declared.Store(d, true)
	}
}

// receipt returns the receipt of an event whose record is durable. It also has the topic of the fact compared with
// that of other apps. The caller must not use e any more.
func (a *App) receipt(d *definition, e *rootEmission) Receipt {
	a.defs.emits(d.name, d.topic, e.begun)
	r := e.record
	topic, _ := a.client.Known(r.Topic) // unless it was deleted since
	receipt := Receipt{
		ID: e.meta.ID, Correlation: e.meta.Correlation, Topic: r.Topic, Partition: r.Partition, Offset: r.Offset,
		app: a, topicID: topic.ID, emitted: e.begun, losses: a.client.Losses(),
	}
	if !a.runs.appended(e.meta.Correlation, r) {
		e.free()
	}
	return receipt
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
