package tidings

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"sync/atomic"
	"time"

	"tidings.dev/internal/jsonfields"
	"tidings.dev/internal/reactor"
)

// reactionName matches the names that apps, reactions and instances may have.
var (
	reactionName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$`)
	errBadName   = errors.New("a name is 1 to 100 of a-z, A-Z, 0-9, '.', '_' and '-', and begins with a letter or digit")
)

const (
	defaultConcurrency = 16
	defaultWindow      = 16384
	defaultSlow        = 10 * time.Second
	defaultBuffer      = 64 << 20
)

// reaction is what an app does about some facts under one name: one consumer group. Calls of React and ReactWith set
// it up before Run; after that it does not change, except for the reactor, which Run sets.
type reaction struct {
	app  *App
	name string
	log  *slog.Logger

	handlers map[string]*handler    // by type
	folders  []*folder              // those of the handlers, each once
	topics   map[string]*definition // one definition of each topic, for its number of partitions

	start       *reactor.Start // nil means the default
	concurrency int            // 0 means the default
	window      int            // -1 means the default
	buffer      int64          // 0 means the default

	mismatches *mismatches

	reactor atomic.Pointer[reactor.Reactor] // nil before Run
}

// handler says how a reaction handles the events of one type.
type handler struct {
	topic   string
	backoff reactor.Backoff
	timeout time.Duration // 0 means none
	slow    time.Duration
	folder  *folder           // nil without state
	shape   *jsonfields.Shape // the fields of the type; nil if they are not known
	// handle handles one event, which it must neither change nor keep. folded is the result of folder.fold for the event; nil
	// without state.
	handle func(ctx context.Context, e *Any, folded any) error
}

// folder is the state that one call of ReactWith keeps, as the handlers of its facts use it.
type folder struct {
	// fold folds e into the state of its subject, and returns a result that handle needs to read that state.
	fold func(e Any) any
	// drop forgets what was folded from events of partitions with this number.
	drop func(partition int32)
}

// newReaction returns a reaction without handlers.
func newReaction(a *App, name string) *reaction {
	r := &reaction{
		app: a, name: name, log: a.log.With("reaction", name), window: -1,
		handlers: make(map[string]*handler), topics: make(map[string]*definition),
	}
	r.mismatches = &mismatches{reaction: r, from: make(map[sender]*sent)}
	return r
}

// configure applies the options of one call of React that hold for the whole reaction. It panics if they contradict
// those of another call.
func (r *reaction) configure(o reactOptions) {
	if o.start != nil {
		if r.start != nil && !r.start.Equal(*o.start) {
			panic(fmt.Sprintf("tidings: reaction %q is given two different starts", r.name))
		}
		r.start = o.start
	}
	if o.concurrency > 0 {
		if r.concurrency > 0 && r.concurrency != o.concurrency {
			panic(fmt.Sprintf("tidings: reaction %q is given two values of Concurrency", r.name))
		}
		r.concurrency = o.concurrency
	}
	if o.buffer > 0 {
		if r.buffer > 0 && r.buffer != o.buffer {
			panic(fmt.Sprintf("tidings: reaction %q is given two values of Buffer", r.name))
		}
		r.buffer = o.buffer
	}
	if o.window >= 0 {
		if r.window >= 0 && r.window != o.window {
			panic(fmt.Sprintf("tidings: reaction %q is given two values of Window", r.name))
		}
		r.window = o.window
	}
}

// handle adds h as the handler of a fact. folder is the state that events of the fact are folded into before h is
// called; nil without state. It panics if the reaction handles the fact already.
func (r *reaction) handle(d *definition, o reactOptions, folder *folder, h func(context.Context, *Any, any) error) {
	if r.handlers[d.name] != nil {
		panic(fmt.Sprintf("tidings: reaction %q handles %s twice: name one of the two with tidings.Named, and each gets every event", r.name, d.name))
	}
	r.handlers[d.name] = &handler{topic: d.topic, backoff: o.backoff, timeout: o.timeout, slow: o.slow, folder: folder, shape: d.shape, handle: h}
	if folder != nil && !slices.Contains(r.folders, folder) {
		r.folders = append(r.folders, folder)
	}
	if have := r.topics[d.topic]; have == nil || have.partitions == 0 {
		r.topics[d.topic] = d
	}
}

// stats returns the reaction's counts since the process started. All of them are zero before Run.
func (r *reaction) stats() ReactionStats {
	run := r.reactor.Load()
	if run == nil {
		return ReactionStats{}
	}
	stats := statsOf(run.Stats())
	stats.Mismatches = r.mismatches.stats()
	return stats
}
