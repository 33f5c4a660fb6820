package reactor

import (
	"context"
	"slices"
	"time"
)

// standbyCheck is the interval at which an instance that stands by checks whether it can go on.
const standbyCheck = time.Second

// confirmPassing reads the newest subscriptions if there are events without a handler that wait for that, and lets the
// scheduler pass over those events whose type no subscription has. r.rounds must be held.
func (r *Reactor) confirmPassing(ctx context.Context) {
	if !r.stepAsks() {
		return
	}
	var named func(topic, typ string) bool
	if err := r.subscribed.refresh(ctx); err == nil {
		named = r.subscribed.types()
	} else if ctx.Err() == nil {
		r.spec.Log.Warn("cannot read which types the reaction is subscribed to; trying again", "error", err)
	}
	r.step(passEnded{named})
}

// stepAsks reports passBegun to the scheduler and returns whether the subscriptions are to be read.
func (r *Reactor) stepAsks() (wanted bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	effects := r.scheduler.step(passBegun{})
	r.performAll(effects, nil)
	return slices.ContainsFunc(effects, func(e effect) bool { _, ok := e.(checkTypes); return ok })
}

// standDown performs a standDown effect: it makes the present session end. r.mu must be held.
func (r *Reactor) standDown(e standDown) {
	r.spec.Log.Error("the reaction stands by: it is subscribed to types for which this program has no handler. It goes on where a program runs that has, or when they are retired: tidings group retire "+
		r.spec.Name+" --topic "+e.topic+" --type TYPE",
		"topic", e.topic, "types", e.types, "version", r.spec.Version.String())
	select {
	case r.stood <- struct{}{}:
	default:
	}
}

// awaitTypes blocks until this program has a handler for every type that the reaction is subscribed to on its topics,
// or ctx is done.
func (r *Reactor) awaitTypes(ctx context.Context) {
	look := time.NewTicker(standbyCheck)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-look.C:
		}
		if err := r.subscribed.refresh(ctx); err == nil && r.handlesAll() {
			return
		}
	}
}

// handlesAll reports whether there is a handler for every type that the reaction is subscribed to on its topics.
func (r *Reactor) handlesAll() bool {
	for topic, s := range r.subscribed.all() {
		if _, listens := r.spec.Topics[topic]; !listens || s.Now.Retired {
			continue
		}
		for _, typ := range s.Now.Types {
			if h := r.handlers[typ]; h == nil || h.Topic != topic {
				return false
			}
		}
	}
	return true
}
