package tidings

import (
	"context"
	"fmt"
	"time"

	"tidings.dev/internal/delivery"
)

// React has h called for each fact f. All React and ReactWith calls of an app that are not Named make up one reaction,
// called like the app: one consumer group, with one position. Several instances of an app share its events by partition.
//
// h runs once for each event and again after each failure; it must be safe to run twice, and calls for different
// subjects run at the same time. What its errors mean is told at RetryAfter and Skip; a panic is an error. Its context
// ends when the partition has gone to another instance, or draining took too long.
//
// React panics after Run, and when the reaction handles f already.
func React[T any](app *App, f *Fact[T], h func(context.Context, Event[T]) error, opts ...ReactOption) {
	r, o := app.reaction(opts)
	r.handle(f.definition(), o, func(ctx context.Context, e Any, _ int32) error {
		ev, _, err := f.From(e)
		if err != nil {
			return err
		}
		return h(ctx, ev)
	})
}

// ReactOption is an option of React and ReactWith. Named, the start, Concurrency and Window belong to the whole
// reaction: say them in one of its calls, or the same in all. Retry belongs to the one call.
type ReactOption func(*reactOptions)

type reactOptions struct {
	name        string
	backoff     delivery.Backoff
	start       *startPoint
	concurrency int
	window      int
}

// Named makes the call part of the reaction called name, in place of the one called like the app. The name is the
// consumer group; it is kept for ever, so choose it for what is done, not for where it runs.
func Named(name string) ReactOption { return func(o *reactOptions) { o.name = name } }

// Retry says how long to wait before a failed event is tried again. The default is Backoff(100ms, 1min).
func Retry(p BackoffPolicy) ReactOption { return func(o *reactOptions) { o.backoff = p.b } }

// FromEnd lets a new reaction begin with what comes after it has joined. It is the default. Like all starts it counts
// once, when the reaction is first seen; from then on the reaction has a position of its own, and a partition that is
// added later is read from its beginning.
func FromEnd() ReactOption { return startAt(startPoint{kind: startEnd}) }

// FromBeginning lets a new reaction begin with the oldest event that is kept.
func FromBeginning() ReactOption { return startAt(startPoint{kind: startBeginning}) }

// FromTime lets a new reaction begin with the first record written at or after t (by the record's timestamp).
func FromTime(t time.Time) ReactOption { return startAt(startPoint{kind: startTime, at: t}) }

func startAt(s startPoint) ReactOption { return func(o *reactOptions) { o.start = &s } }

// Concurrency is how many handlers of the reaction may run at a time in this process. The default is 16.
func Concurrency(n int) ReactOption {
	if n < 1 {
		panic("tidings: Concurrency: at least one handler must be able to run")
	}
	return func(o *reactOptions) { o.concurrency = n }
}

// Window is over how many records of a partition copies of an event are told by their ids. The default is 16384; 0
// means that no copy is dropped.
func Window(n int) ReactOption {
	if n < 0 || n > delivery.MaxWindow {
		panic(fmt.Sprintf("tidings: Window(%d): 0 to %d records", n, delivery.MaxWindow))
	}
	return func(o *reactOptions) { o.window = n }
}
