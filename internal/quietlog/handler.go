// Package quietlog keeps a log readable, and small, while something fails repeatedly. It writes warnings of the same
// cause at most once a second, and cuts long texts.
package quietlog

import (
	"context"
	"log/slog"
	"regexp"
	"strings"
	"sync"
	"time"
)

const (
	// every is the minimum time between two lines of the same cause.
	every = time.Second
	// maxCauses is the maximum number of causes that are remembered.
	maxCauses = 1024
)

// New returns a handler that passes records to next. It drops a warning or error if one of the same cause was passed
// within the last second. The next record of the cause that is passed has an attribute "repeated" with the number of
// records that were dropped.
//
// Two records have the same cause if they have the same message, the same attributes of their logger, and the same
// values of their own attributes "topic", "error" and "err". Digits in errors are ignored, because they are ports,
// offsets or attempts.
//
// In all records, texts that are longer than MaxText are cut. Many come from the code of an app's authors: the errors
// and panics of handlers.
func New(next slog.Handler) slog.Handler {
	return handler{next: next, limiter: &limiter{causes: make(map[string]*cause)}}
}

type handler struct {
	next    slog.Handler
	limiter *limiter
	scope   string // attributes and groups of the logger
}

// Enabled implements slog.Handler.
func (h handler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.next.Enabled(ctx, level)
}

// Handle implements slog.Handler.
func (h handler) Handle(ctx context.Context, r slog.Record) error {
	r = cutRecord(r)
	if r.Level < slog.LevelWarn {
		return h.next.Handle(ctx, r)
	}
	repeated, pass := h.limiter.pass(h.causeOf(&r), r.Time)
	if !pass {
		return nil
	}
	if repeated > 0 {
		r = r.Clone()
		r.AddAttrs(slog.Int("repeated", repeated))
	}
	return h.next.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (h handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	attrs, _ = cutAttrs(attrs)
	var scope strings.Builder
	scope.WriteString(h.scope)
	for _, a := range attrs {
		scope.WriteString(a.String())
		scope.WriteByte(0)
	}
	return handler{h.next.WithAttrs(attrs), h.limiter, scope.String()}
}

// WithGroup implements slog.Handler.
func (h handler) WithGroup(name string) slog.Handler {
	return handler{h.next.WithGroup(name), h.limiter, h.scope + name + "\x00"}
}

var number = regexp.MustCompile(`[0-9]+`)

// causeOf returns a text that is equal for records of the same cause.
func (h handler) causeOf(r *slog.Record) string {
	var topic, failure string
	r.Attrs(func(a slog.Attr) bool {
		switch a.Key {
		case "topic":
			topic = a.Value.String()
		case "error", "err":
			failure = number.ReplaceAllLiteralString(a.Value.String(), "0")
		}
		return true
	})
	return strings.Join([]string{h.scope, r.Message, topic, failure}, "\x00")
}

// limiter decides which records are passed on. Its methods are safe for concurrent use. mu protects causes and the
// values in it.
type limiter struct {
	mu     sync.Mutex
	causes map[string]*cause // by the result of causeOf; at most maxCauses
}

type cause struct {
	passed   time.Time // when a record was last passed on
	repeated int       // number of records dropped since
}

// pass reports whether a record of a cause may be written at the time now. If so, it also returns how many records of
// the cause were dropped since the last one was written.
func (l *limiter) pass(text string, now time.Time) (repeated int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.causes[text]
	if c == nil {
		l.makeRoom(now)
		l.causes[text] = &cause{passed: now}
		return 0, true
	}
	if now.Sub(c.passed) < every {
		c.repeated++
		return 0, false
	}
	repeated = c.repeated
	*c = cause{passed: now}
	return repeated, true
}

// makeRoom makes room for a new cause. It forgets the causes of which no record would be dropped now, and all causes
// if there are still too many.
func (l *limiter) makeRoom(now time.Time) {
	if len(l.causes) < maxCauses {
		return
	}
	for text, c := range l.causes {
		if now.Sub(c.passed) >= every {
			delete(l.causes, text)
		}
	}
	if len(l.causes) >= maxCauses {
		clear(l.causes)
	}
}
