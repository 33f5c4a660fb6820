// Package quietlog keeps a log readable, and small, while something fails repeatedly. It writes warnings of the same
// cause at most once a second, or once a minute for each peer that provokes them, and cuts long texts.
package quietlog

import (
	"context"
	"log/slog"
	"regexp"
	"strings"
	"sync"
	"time"
)

// maxCauses is the maximum number of causes that are remembered.
const maxCauses = 1024

// New returns a handler that passes records to next. It drops a warning or error if one of the same cause was passed
// within the last second. The next record of the cause that is passed has an attribute "repeated" with the number of
// records that were dropped.
//
// Two records have the same cause if they have the same message, the same attributes of their logger, and the same
// values of their own attributes "topic", "client", "error", "err" and "reason". Digits in the last three are ignored,
// because they are ports, offsets or attempts.
//
// In all records, texts that are longer than MaxText are cut. Many come from the code of an app's authors: the errors
// and panics of handlers.
func New(next slog.Handler) slog.Handler { return newHandler(next, time.Second, false) }

// NewForPeers returns a handler like that of New, for what remote peers provoke: it passes one record a minute of each
// cause. The attribute "client" of a record names the peer, without its port, so that each peer has causes of its own.
// Peers can be invented: once 1,024 causes were passed within a minute, all further ones with the same message count as
// one cause.
func NewForPeers(next slog.Handler) slog.Handler { return newHandler(next, time.Minute, true) }

func newHandler(next slog.Handler, every time.Duration, merge bool) slog.Handler {
	return handler{next: next, limiter: &limiter{every: every, merge: merge, causes: make(map[string]*cause), merged: make(map[string]*cause)}}
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
	repeated, pass := h.limiter.pass(h.causeOf(&r), r.Message, r.Time)
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
	var topic, client, failure string
	r.Attrs(func(a slog.Attr) bool {
		switch a.Key {
		case "topic":
			topic = a.Value.String()
		case "client":
			client = a.Value.String()
		case "error", "err", "reason":
			failure = number.ReplaceAllLiteralString(a.Value.String(), "0")
		}
		return true
	})
	return strings.Join([]string{h.scope, r.Message, topic, client, failure}, "\x00")
}

// limiter decides which records are passed on. Its methods are safe for concurrent use. mu protects causes, merged and
// the values in them.
type limiter struct {
	every time.Duration // minimum time between two records of the same cause
	merge bool          // when there is no room for a new cause, it counts as one with others of its message

	mu     sync.Mutex
	causes map[string]*cause // by the result of causeOf; at most maxCauses
	merged map[string]*cause // by message, which the program has a fixed number of
	full   time.Time         // until then no cause can be forgotten, if merge is set
}

type cause struct {
	passed   time.Time // when a record was last passed on
	repeated int       // number of records dropped since
}

// pass reports whether a record of a cause may be written at the time now. If so, it also returns how many records of
// the cause were dropped since the last one was written.
func (l *limiter) pass(text, message string, now time.Time) (repeated int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c, causes := l.causes[text], l.causes
	if c == nil && !l.makeRoom(now) {
		text, causes = message, l.merged
		c = l.merged[message]
	}
	if c == nil {
		causes[text] = &cause{passed: now}
		return 0, true
	}
	if now.Sub(c.passed) < l.every {
		c.repeated++
		return 0, false
	}
	repeated = c.repeated
	*c = cause{passed: now}
	return repeated, true
}

// makeRoom makes room for a new cause, and reports whether there is. It forgets the causes of which no record would be
// dropped now and, unless merge is set, all causes if there are still too many.
func (l *limiter) makeRoom(now time.Time) bool {
	if len(l.causes) < maxCauses {
		return true
	}
	if now.Before(l.full) {
		return false
	}
	l.full = now.Add(l.every)
	for text, c := range l.causes {
		if until := c.passed.Add(l.every); !now.Before(until) {
			delete(l.causes, text)
		} else if l.merge && until.Before(l.full) {
			l.full = until
		}
	}
	if !l.merge {
		l.full = time.Time{}
		if len(l.causes) >= maxCauses {
			clear(l.causes)
		}
	}
	return len(l.causes) < maxCauses
}
