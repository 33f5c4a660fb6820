package framework

import (
	"context"
	"encoding/json"
	"fmt"

	"tidings.dev"
	"tidings.dev/internal/bench"
)

// React measures the reactions of an app. p may be nil.
func (b Backlog) React(ctx context.Context, e bench.Endpoint, p *bench.Progress) (bench.Measured, error) {
	return b.measure(ctx, e, p, func(ctx context.Context, e bench.Endpoint, h *handled) error {
		app, err := open(groupName(), e, b.Log)
		if err != nil {
			return err
		}
		for i := range b.Reactions {
			b.addReaction(app, fmt.Sprintf("%s-%d", app.Name(), i), h)
		}
		return runApp(ctx, app, h.wait)
	})
}

// addReaction adds one of the reactions to an app.
func (b Backlog) addReaction(app *tidings.App, name string, h *handled) {
	handle := b.handler(h)
	opts := []tidings.ReactOption{tidings.Named(name), tidings.FromBeginning()}
	switch {
	case b.State && b.Decode:
		fact := placed[order](b.Topic)
		tidings.ReactWith(app, tidings.Facts(fact), func(t *tally, e tidings.Any) {
			if o, _, err := fact.From(e); err == nil {
				t.add(o.Data)
			}
		}, func(ctx context.Context, _ tally, e tidings.Any) error { return handle(ctx, e.Subject) }, opts...)
	case b.State:
		tidings.ReactWith(app, tidings.Facts(placed[json.RawMessage](b.Topic)), func(t *tally, _ tidings.Any) { t.events++ },
			func(ctx context.Context, _ tally, e tidings.Any) error { return handle(ctx, e.Subject) }, opts...)
	case b.Decode:
		tidings.React(app, placed[order](b.Topic), func(ctx context.Context, e tidings.Event[order]) error {
			return handle(ctx, e.Subject)
		}, opts...)
	default:
		tidings.React(app, placed[json.RawMessage](b.Topic), func(ctx context.Context, e tidings.Event[json.RawMessage]) error {
			return handle(ctx, e.Subject)
		}, opts...)
	}
}

// handler returns what a reaction does about an event of a subject.
func (b Backlog) handler(h *handled) func(ctx context.Context, subject string) error {
	noted := noted(b.EmitTo)
	return func(ctx context.Context, subject string) error {
		h.begin()
		b.work()
		if b.EmitTo != "" {
			if _, err := noted.Emit(ctx, note(subject)); err != nil {
				return err
			}
		}
		h.add(1)
		return nil
	}
}

// tally is the state of a subject.
type tally struct{ events, quantity, pence int }

func (t *tally) add(o order) {
	t.events++
	t.quantity += o.Quantity
	t.pence += o.Pence
}
