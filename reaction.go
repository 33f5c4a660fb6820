package tidings

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"regexp"
	"slices"
	"sync/atomic"
	"time"

	"tidings.dev/internal/delivery"
)

var (
	reactionName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$`)
	errBadName   = errors.New("a name is 1 to 100 of a-z, A-Z, 0-9, '.', '_' and '-', and begins with a letter or digit")
)

const (
	defaultConcurrency = 16
	defaultWindow      = 16384
)

// reaction is what an app does about some facts under one name: one consumer group. It is set up before Run and
// unchanged from then on, but for the counters.
type reaction struct {
	app  *App
	name string
	log  *slog.Logger

	handlers map[string]*handler  // by type
	folds    map[string][]*folder // by type
	folders  []*folder
	topics   map[string]*definition // one definition of each topic, for its partitions

	start       *startPoint
	concurrency int
	window      int // -1: not said

	consumer atomic.Pointer[consumer]
	counts   struct{ handled, retried, skipped, duplicates, unhandled, emitted atomic.Int64 }
}

// handler is what is done about one type. handle gets the number of the partition to find the subject's state.
type handler struct {
	topic   string
	backoff delivery.Backoff
	handle  func(ctx context.Context, e Any, partition int32) error
}

// folder is the state of one ReactWith.
type folder struct {
	fold func(e Any)
	drop func(partition int32)
}

type startKind int

const (
	startEnd startKind = iota
	startBeginning
	startTime
)

type startPoint struct {
	kind startKind
	at   time.Time
}

func newReaction(a *App, name string) *reaction {
	return &reaction{
		app: a, name: name, log: a.log.With("reaction", name), window: -1,
		handlers: make(map[string]*handler), folds: make(map[string][]*folder), topics: make(map[string]*definition),
	}
}

// configure takes over what a call says of the whole reaction, and panics when two calls disagree.
func (r *reaction) configure(o reactOptions) {
	if o.start != nil {
		if r.start != nil && (r.start.kind != o.start.kind || !r.start.at.Equal(o.start.at)) {
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
	if o.window >= 0 {
		if r.window >= 0 && r.window != o.window {
			panic(fmt.Sprintf("tidings: reaction %q is given two values of Window", r.name))
		}
		r.window = o.window
	}
}

func (r *reaction) handle(d *definition, o reactOptions, h func(context.Context, Any, int32) error) {
	if r.handlers[d.name] != nil {
		panic(fmt.Sprintf("tidings: reaction %q handles %s twice: name one of the two with tidings.Named, and each gets every event", r.name, d.name))
	}
	r.handlers[d.name] = &handler{topic: d.topic, backoff: o.backoff, handle: h}
	r.listen(d)
}

func (r *reaction) fold(d *definition, f *folder) {
	r.folds[d.name] = append(r.folds[d.name], f)
	if !slices.Contains(r.folders, f) {
		r.folders = append(r.folders, f)
	}
	r.listen(d)
}

func (r *reaction) listen(d *definition) {
	if have := r.topics[d.topic]; have == nil || have.partitions == 0 {
		r.topics[d.topic] = d
	}
}

// handlerFor finds the handler of an event; nil when this reaction does not handle it. A type on another topic than its
// definition says is none of ours.
func (r *reaction) handlerFor(e *Any) *handler {
	if h := r.handlers[e.Type]; h != nil && h.topic == e.Topic {
		return h
	}
	return nil
}

// types are the types handled on a topic, sorted.
func (r *reaction) types(topic string) []string {
	var types []string
	for t, h := range r.handlers {
		if h.topic == topic {
			types = append(types, t)
		}
	}
	slices.Sort(types)
	return types
}

func (r *reaction) topicNames() []string { return slices.Sorted(maps.Keys(r.topics)) }

func (r *reaction) stateful() bool { return len(r.folders) > 0 }

func (r *reaction) stats() ReactionStats {
	s := ReactionStats{
		Handled:    r.counts.handled.Load(),
		Retried:    r.counts.retried.Load(),
		Skipped:    r.counts.skipped.Load(),
		Duplicates: r.counts.duplicates.Load(),
		Unhandled:  r.counts.unhandled.Load(),
		Emitted:    r.counts.emitted.Load(),
	}
	if c := r.consumer.Load(); c != nil {
		s.Waiting, s.Retrying = c.load()
	}
	return s
}
