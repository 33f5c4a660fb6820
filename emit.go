package tidings

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

// EmitOption is an option of Emit: ID, At.
type EmitOption func(*emission)

type emission struct {
	id string
	at time.Time
}

// ID gives the event its id, in place of one that the framework makes. Emit the same id again, after a crash say, and
// reactions that still remember the first copy drop the second.
func ID(id string) EmitOption { return func(e *emission) { e.id = id } }

// At says when it happened; the default is now.
func At(t time.Time) EmitOption { return func(e *emission) { e.at = t } }

// Emit announces that the fact v has happened.
//
// Outside handlers, with a context from App.Context, it blocks until the event is durable, or ctx is done, or the log
// refuses it. After a ctx that ended too early the event may or may not be in the log: emit again with the same ID.
//
// Inside a handler, with the handler's context, the event is kept until the handler has returned. It is sent if that
// was without an error and dropped otherwise, and the event being handled counts as done only when all that it caused
// is durable. The receipt has the id then, but no place: Partition and Offset are -1.
//
// Errors match ErrNoApp, ErrClosed, ErrUnreachable, ctx's error, or are of encoding/json.
func (f *Fact[T]) Emit(ctx context.Context, v T, opts ...EmitOption) (Receipt, error) {
	var o emission
	for _, opt := range opts {
		opt(&o)
	}
	payload, err := json.Marshal(v)
	if err != nil {
		return Receipt{}, fmt.Errorf("tidings: %s does not encode: %w", f.def.name, err)
	}
	var subject string
	if f.subject != nil {
		subject = f.subject(v)
	}
	if o.at.IsZero() {
		o.at = time.Now()
	}
	out := &outgoing{payload: payload, meta: Meta{
		ID: o.id, Type: f.def.name, Subject: subject, Time: o.at, Version: f.def.version,
		Topic: f.def.topic, Partition: -1, Offset: -1,
	}}
	if run := runOf(ctx); run != nil {
		return run.emit(&f.def, out)
	}
	app := appOf(ctx)
	if app == nil {
		return Receipt{}, fmt.Errorf("%s not emitted: %w", f.def.name, ErrNoApp)
	}
	return app.emitRoot(ctx, &f.def, out)
}
