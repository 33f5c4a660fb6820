package tidings

import (
	"context"
	"errors"
	"fmt"

	"tidings.dev/internal/cloudevent"
	"tidings.dev/internal/reactor"
)

// spec returns the specification by which package reactor runs the reaction.
func (r *reaction) spec() reactor.Spec {
	s := reactor.Spec{
		Name:           r.name,
		App:            r.app.name,
		Version:        r.app.opts.version,
		Topics:         make(map[string]int32),
		Concurrency:    defaultConcurrency,
		Window:         defaultWindow,
		Buffer:         defaultBuffer,
		DrainTimeout:   r.app.opts.drainTimeout,
		EmitTimeout:    r.app.opts.emitTimeout,
		MetadataMaxAge: r.app.opts.metadataMaxAge,
		Log:            r.log,
		DropState: func(partition int32) {
			for _, f := range r.folders {
				f.drop(partition)
			}
		},
	}
	if r.app.opts.instance != "" {
		s.Instance = r.app.opts.instance + "." + r.name
	}
	if r.start != nil {
		s.Start = *r.start
	}
	if r.concurrency > 0 {
		s.Concurrency = r.concurrency
	}
	if r.buffer > 0 {
		s.Buffer = r.buffer
	}
	if r.window >= 0 {
		s.Window = r.window
	}
	for topic, d := range r.topics {
		s.Topics[topic] = d.partitions
	}
	for typ, h := range r.handlers {
		s.Handlers = append(s.Handlers, r.handlerSpec(typ, h))
	}
	return s
}

// handlerSpec returns the specification of the handler of one type.
func (r *reaction) handlerSpec(typ string, h *handler) reactor.Handler {
	s := reactor.Handler{
		Topic: h.topic, Type: typ,
		Handle: func(ctx context.Context, e *cloudevent.Event, folded any) reactor.Outcome {
			return r.run(ctx, h, e, folded)
		},
		Retry: h.delay, Timeout: h.timeout, Slow: h.slow,
	}
	if h.folder != nil {
		s.Fold = func(e *cloudevent.Event) any {
			event := anyOf(e)
			event.mismatches = r.mismatches
			return h.folder.fold(event)
		}
	}
	return s
}

// runReactor runs the reaction until ctx is done and it has drained, or until it cannot go on. It returns the errors
// that App.Run documents.
func (r *reaction) runReactor(ctx context.Context) error {
	err := r.reactor.Load().Run(r.app.Context(ctx))
	if err == nil {
		return nil
	}
	if lost, ok := errors.AsType[*reactor.Lost](err); ok {
		err = (*LostError)(lost)
	} else if beyond, ok := errors.AsType[*reactor.Beyond](err); ok {
		err = (*BeyondError)(beyond)
	}
	return fmt.Errorf("reaction %q: %w", r.name, err)
}
