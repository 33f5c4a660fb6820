package tidings

import (
	"context"
	"fmt"
	"time"

	"tidings.dev/internal/reactor"
)

// React registers h as the handler of fact f: h is called with each event of f. All calls of React and [ReactWith] on
// one app without [Named] make up one reaction, which has the app's name: one consumer group, with one position per
// partition. Several instances of an app share the partitions, and with them the events.
//
// h is called once for each event, and again after each failure. A crash may make it be called again after it has
// succeeded, so its effects must be idempotent. Calls for events of different subjects run at the same time. If h
// returns an error, panics or ends its goroutine ([runtime.Goexit], which FailNow of package testing calls), the event
// is tried again; [RetryAfter] and [Skip] return errors that change this. The context that h gets ends when the
// partition has gone to another instance, when [Timeout] is over, or when draining takes longer than [DrainTimeout].
//
// React is meant for set-up: it panics if an argument is nil, if [App.Run] or [App.Close] has been called, or if the
// reaction handles f already.
func React[T any](app *App, f *Fact[T], h func(context.Context, Event[T]) error, opts ...ReactOption) {
	switch {
	case app == nil:
		panic("tidings: React: the app is nil: pass the one that tidings.Open returned")
	case f == nil:
		panic(fmt.Sprintf("tidings: app %q: React: the fact is nil: pass one that tidings.Define returned", app.name))
	case h == nil:
		panic(fmt.Sprintf("tidings: app %q: React to %s: the handler is nil", app.name, f.def.name))
	}
	r, o := app.reaction(opts)
	r.handle(f.definition(), o, nil, func(ctx context.Context, e *Any, _ any) error {
		data, err := f.decode(e)
		if err != nil {
			return o.undecodable(ctx, *e, err)
		}
		return h(ctx, Event[T]{Meta: e.Meta, Data: data})
	})
}

// ReactOption is an option of [React] and [ReactWith]. [Named], [FromEnd], [FromBeginning], [FromTime], [Concurrency],
// [Buffer] and [Window] hold for the whole reaction: give them in one of its calls, or the same in several. [Retry],
// [Timeout], [SlowAfter] and [OnUndecodable] hold for the facts of one call.
type ReactOption func(*reactOptions)

// reactOptions has what the options of one call have set. A nil start, a concurrency or buffer of 0, and a window of
// -1 mean that the call does not set them.
type reactOptions struct {
	name        string
	backoff     reactor.Backoff
	timeout     time.Duration
	slow        time.Duration
	undecodable func(context.Context, Any, error) error
	start       *reactor.Start
	concurrency int
	window      int
	buffer      int64
}

// Named makes a call of [React] or [ReactWith] add its handler to the reaction called name, instead of the one that
// has the app's name. The name is also that of the reaction's consumer group, whose position is kept for ever, so name
// the reaction after what it does rather than where it runs. A name is 1 to 100 letters, digits, '.', '_' and '-', the
// first of which is a letter or a digit.
func Named(name string) ReactOption { return func(o *reactOptions) { o.name = name } }

// Retry sets how long to wait before a failed event is tried again. The default is Backoff(100ms, 1min). The number of
// attempts is not limited.
func Retry(p BackoffPolicy) ReactOption { return func(o *reactOptions) { o.backoff = p.b } }

// Timeout sets how long one call of the handler may take. After that its context ends, and another handler may run in
// its place (see [Concurrency]). Go cannot stop a function from outside, so the event stays open, and later events of
// its subject wait, until the handler returns. What the handler returns then counts as if it had been in time, so a
// handler should pass on its context and return an error when that ends.
//
// By default there is no timeout, since only the author of a handler knows how long it may take. Set one: a handler
// that never returns keeps one of the reaction's places for ever, and [Concurrency] of them stop the reaction.
// [App.Stats] and the log name handlers that run for long ([SlowAfter]). Timeout panics unless d > 0.
func Timeout(d time.Duration) ReactOption {
	if d <= 0 {
		panic(fmt.Sprintf("tidings: Timeout(%v): leave it out for no timeout", d))
	}
	return func(o *reactOptions) { o.timeout = d }
}

// SlowAfter sets how long a call of the handler runs before [App.Stats] and the log name it. The default is 10
// seconds. The log names the call again whenever it has been running for twice as long, and at least once an hour.
// SlowAfter panics unless d > 0.
func SlowAfter(d time.Duration) ReactOption {
	if d <= 0 {
		panic(fmt.Sprintf("tidings: SlowAfter(%v): a handler is slow after some time", d))
	}
	return func(o *reactOptions) { o.slow = d }
}

// FromEnd makes a new reaction begin with the events that are appended after it has joined its group. It is the
// default. Like the other starts, it only counts when the reaction is run for the first time; after that the reaction
// has a position of its own. A partition that is added to the topic later is read from its beginning.
func FromEnd() ReactOption { return startAt(reactor.Start{Kind: reactor.FromEnd}) }

// FromBeginning makes a new reaction begin with the oldest event that the log has.
func FromBeginning() ReactOption { return startAt(reactor.Start{Kind: reactor.FromBeginning}) }

// FromTime makes a new reaction begin with the first record whose timestamp is t or later.
func FromTime(t time.Time) ReactOption { return startAt(reactor.Start{Kind: reactor.FromTime, At: t}) }

// startAt returns the option that sets the start of a reaction.
func startAt(s reactor.Start) ReactOption {
	return func(o *reactOptions) {
		if o.start != nil {
			panic(fmt.Sprintf("tidings: reaction %q: two starts are given in one call: choose one of FromEnd, FromBeginning and FromTime", o.name))
		}
		o.start = &s
	}
}

// Concurrency sets how many handlers of the reaction may run at the same time in this process. The default is 16.
// Concurrency panics if n is less than 1.
func Concurrency(n int) ReactOption {
	if n < 1 {
		panic("tidings: Concurrency: at least one handler must be able to run")
	}
	return func(o *reactOptions) { o.concurrency = n }
}

// Buffer sets how many bytes of events this process may keep in memory for the reaction: events that it has received
// and not finished. The default is 64 MiB. The Kafka client needs up to 8 MiB more for each broker. When the limit is
// near, the reaction drops the payloads of events that wait behind one that fails or takes long, and reads them again
// when it is their turn. At the limit it takes in no more until some are finished. Buffer panics unless bytes is at least
// 64 KiB.
func Buffer(bytes int64) ReactOption {
	if bytes < minBuffer {
		panic(fmt.Sprintf("tidings: Buffer(%d): at least %d bytes, so that some events fit", bytes, minBuffer))
	}
	return func(o *reactOptions) { o.buffer = bytes }
}

// minBuffer is the smallest Buffer, in bytes.
const minBuffer = 64 << 10

// Window sets how many events of each partition the reaction remembers so that it can drop copies of them: later
// events of the same source, type and id. The default is 16384; 0 means that no copies are dropped. Each remembered
// event takes about 40 bytes. When a partition is assigned, its window is filled by reading at most about 16 MiB of
// the log again. Window panics if n is negative or larger than 1<<31 - 1.
func Window(n int) ReactOption {
	if n < 0 || n > reactor.MaxWindow {
		panic(fmt.Sprintf("tidings: Window(%d): 0 to %d records", n, reactor.MaxWindow))
	}
	return func(o *reactOptions) { o.window = n }
}
