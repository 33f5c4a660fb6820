package tidings

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
	"unicode/utf8"

	"tidings.dev/internal/cloudevent"
)

// EmitOption is an option of [Fact.Emit] and [Fact.EmitAsync]: [ID] or [At].
type EmitOption func(*emission)

// emission has what the options of one emission have set. Zero fields were not set.
type emission struct {
	id string
	at time.Time
}

// ID sets the id of the event, in place of one that the framework makes. An id is at most 512 bytes of valid UTF-8; an
// empty one counts as none. An emission that is repeated with the same id, after a crash for example, makes a copy of
// the same event: reactions drop the copy if the first one is still among the events that they remember ([Window]).
func ID(id string) EmitOption { return func(e *emission) { e.id = id } }

// At sets the time at which the fact happened. The default, also for the zero time, is the time at which Emit is
// called.
func At(t time.Time) EmitOption { return func(e *emission) { e.at = t } }

// Emit announces that the fact v has happened.
//
// Outside handlers, with a context from [App.Context], Emit blocks until the event is durable. If [EmitTimeout] is
// over or ctx is done before that, the error is an [*UnacknowledgedError], which says whether the event may be in the
// log: if so, emit it again with the same [ID].
//
// Inside a handler, with the handler's context, Emit does not wait. The event is kept until the handler returns, and
// is sent if the handler returns nil and dropped otherwise. The event being handled counts as done only when all
// events that the handler emitted are durable; if the log does not acknowledge them within [EmitTimeout], it has
// failed and is tried again. The receipt has the id of the emitted event but no place in the log: its Partition and
// Offset are -1.
//
// An event that takes more bytes than the max.message.bytes of its topic is refused at once with a [*TooLargeError],
// also inside a handler. For that check the first Emit on a topic asks the log about the topic, and creates the topic
// if it does not exist.
//
// Emit refuses an id or a correlation that is longer than 512 bytes, and an id, a correlation, a subject or encoded
// data that is not valid UTF-8.
//
// Other errors match [ErrNoApp], [ErrClosed], [ErrUnreachable] or ctx's error, are those of encoding/json, or are the
// error with which the log refused the event. [Fact.EmitAsync] emits without waiting.
func (f *Fact[T]) Emit(ctx context.Context, v T, opts ...EmitOption) (Receipt, error) {
	e := rootEmissions.Get().(*rootEmission)
	if err := f.outgoing(&e.outgoing, v, opts); err != nil {
		return Receipt{}, err
	}
	if run := runOf(ctx); run != nil {
		defer e.free() // the record of an emission in a handler has memory of its own
		return run.emit(ctx, &f.def, &e.outgoing)
	}
	app := appOf(ctx)
	if app == nil {
		return Receipt{}, fmt.Errorf("%s not emitted: %w", f.def.name, ErrNoApp)
	}
	return app.emitRoot(ctx, &f.def, e)
}

// EmitAsync announces that the fact v has happened, as [Fact.Emit] does, but does not wait until the event is durable,
// so that one goroutine can have thousands of events on their way to the log. It calls done exactly once, with the
// results that Emit would return. If done is nil, nothing reports an event that could not be emitted.
//
// Events of one subject that one goroutine emits are in the log in the order of the calls. If one of them fails, the
// later ones are written nevertheless. v is encoded before EmitAsync returns.
//
// EmitAsync blocks while it asks the log about a topic that the app has not used before, while too many events are on
// their way (16,384 events, or 64 MiB), and during an outage of the log. It blocks for at most [EmitTimeout] and until
// ctx is done. Once EmitAsync has returned, the end of ctx has no effect: done is called when the log has answered or
// EmitTimeout is over.
//
// If the event is refused at once, EmitAsync calls done before it returns. It also does so inside a handler, with the
// handler's context, where Emit does not wait either. Otherwise the goroutine that receives the log's answers calls
// done: done must not block or emit, and calls for different events may run at the same time.
//
// [App.Close], and with it [App.Main], wait for events that are on their way for at most [DrainTimeout].
func (f *Fact[T]) EmitAsync(ctx context.Context, v T, done func(Receipt, error), opts ...EmitOption) {
	if done == nil {
		done = func(Receipt, error) {}
	}
	app := appOf(ctx)
	if app == nil || runOf(ctx) != nil {
		done(f.Emit(ctx, v, opts...))
		return
	}
	e := rootEmissions.Get().(*rootEmission)
	if err := f.outgoing(&e.outgoing, v, opts); err != nil {
		done(Receipt{}, err)
		return
	}
	app.emitRootAsync(ctx, &f.def, e, done)
}

// outgoing sets out, which must be zero, to the event that says that v has happened. Its source, correlation, causation and trace, and
// its id if opts set none, are left for the caller to set.
func (f *Fact[T]) outgoing(out *outgoing, v T, opts []EmitOption) error {
	o := &out.options
	for _, opt := range opts {
		opt(o)
	}
	payload, err := f.encode(v)
	if err != nil {
		return err
	}
	var subject string
	if f.subject != nil {
		subject = f.subject(v)
	}
	if err := checkNames(o.id, subject); err != nil {
		return fmt.Errorf("%s not emitted: %w", f.def.name, err)
	}
	out.begun, out.payload = time.Now(), payload
	if o.at.IsZero() {
		o.at = out.begun
	}
	out.meta = Meta{
		ID: o.id, Type: f.def.name, Subject: subject, Time: o.at, Version: f.def.version,
		Topic: f.def.topic, Partition: -1, Offset: -1,
	}
	return nil
}

// encode returns the JSON of v, which is valid UTF-8.
func (f *Fact[T]) encode(v T) ([]byte, error) {
	if e, ok := any(v).(cloudevent.Encoded); ok {
		return e.JSON, nil
	}
	payload, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("tidings: %s does not encode: %w", f.def.name, err)
	}
	if at := textEnd(payload); at < len(payload) {
		return nil, fmt.Errorf("%s not emitted: its data, which a MarshalJSON has written, is not valid UTF-8 at byte %d of %d, and JSON must be: convert the text first", f.def.name, at, len(payload))
	}
	return payload, nil
}

// textEnd returns the number of bytes at the beginning of data that are valid UTF-8.
func textEnd(data []byte) int {
	if utf8.Valid(data) {
		return len(data)
	}
	at := 0
	for {
		r, size := utf8.DecodeRune(data[at:])
		if r == utf8.RuneError && size <= 1 {
			return at
		}
		at += size
	}
}

// checkNames returns an error if id or subject is not valid for an event. An empty one is valid.
func checkNames(id, subject string) error {
	if err := checkName("id", id); err != nil {
		return err
	}
	if !utf8.ValidString(subject) {
		return fmt.Errorf("the subject %.64q is not valid UTF-8, and no story could show it: make the function given to tidings.Subject return text, in hexadecimal for example", subject)
	}
	return nil
}

// checkName returns an error if name is longer than cloudevent.MaxNameBytes or not valid UTF-8. what is the noun for
// the error's text, "id" or "correlation".
func checkName(what, name string) error {
	switch {
	case cloudevent.ValidName(name):
		return nil
	case len(name) > cloudevent.MaxNameBytes:
		return fmt.Errorf("the %s %.64q… has %d bytes, and at most %d are kept: use a hash of it", what, name, len(name), cloudevent.MaxNameBytes)
	}
	return fmt.Errorf("the %s %q is not valid UTF-8: write it in hexadecimal, for example", what, name)
}
