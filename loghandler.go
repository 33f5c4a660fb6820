package tidings

import (
	"context"
	"log/slog"
)

// LogHandler returns a slog handler that adds attributes to the lines that next writes: inside handlers "event",
// "correlation" and "reaction", and elsewhere "correlation" if the line's context has one ([WithCorrelation]). Wrap it
// around the handler of your logger, and pass the context when you log:
//
//	slog.SetDefault(slog.New(tidings.LogHandler(slog.NewJSONHandler(os.Stderr, nil))))
func LogHandler(next slog.Handler) slog.Handler { return logHandler{next} }

// logHandler is what LogHandler returns. It implements slog.Handler.
type logHandler struct{ next slog.Handler }

func (h logHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.next.Enabled(ctx, level)
}

func (h logHandler) Handle(ctx context.Context, r slog.Record) error {
	run := runOf(ctx)
	id := Correlation(ctx)
	if run == nil && id == "" {
		return h.next.Handle(ctx, r)
	}
	r = r.Clone()
	r.AddAttrs(slog.String("correlation", id))
	if run != nil {
		r.AddAttrs(slog.String("event", run.event.ID), slog.String("reaction", run.reaction.name))
	}
	return h.next.Handle(ctx, r)
}

func (h logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return logHandler{h.next.WithAttrs(attrs)}
}

func (h logHandler) WithGroup(name string) slog.Handler { return logHandler{h.next.WithGroup(name)} }
