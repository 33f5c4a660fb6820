package reactor

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	// revokeTimeout is how long giving up partitions waits for running handlers at most, so that all of it is over
	// within rebalanceTimeout.
	revokeTimeout = rebalanceTimeout * 5 / 6
	// cancelledTimeout is how much longer it waits for handlers whose contexts it has cancelled. It also bounds how
	// long leaving the group takes.
	cancelledTimeout = 2 * time.Second
	// lostPatience is how long losing partitions waits for running handlers. Until it is over the instance does not join again.
	lostPatience = time.Second
	// emissionPatience is how long losing partitions waits for the acknowledgements of what handlers have emitted that have returned,
	// counted from the moment when the log is back. The client may wait for seconds before it sends again what was not acknowledged while
	// the log was away.
	emissionPatience = 10 * time.Second
	// lostRoundTimeout bounds the commit round of partitions that are lost. The log may be away, and then nobody can join.
	lostRoundTimeout = 30 * time.Second
	// lastRoundTimeout bounds the commit round that gives partitions up. lastRoundRetry is the time after which that
	// round is tried again while the group rebalances.
	lastRoundTimeout = 2 * time.Second
	lastRoundRetry   = 20 * time.Millisecond
)

// onRevoked is called by kgo when the group moves partitions to other instances. It lets running handlers finish and
// commits their marks and positions, and blocks until then. The group waits for it, for rebalanceTimeout.
func (r *Reactor) onRevoked(_ context.Context, _ *kgo.Client, revoked map[string][]int32) {
	r.moves.Lock()
	r.mu.Lock()
	r.membership = r.currentMembership()
	going := r.incarnationsOf(revoked)
	for _, i := range going {
		r.owned[i].leaving = true
	}
	r.mu.Unlock()
	r.moves.Unlock()
	r.revoked(going)
}

// revoked gives up partitions that the group moves to other instances, which wait meanwhile. If the reactor drains at
// the same time, as may happen in a rolling restart, it does not wait longer than the drain does.
func (r *Reactor) revoked(going []incarnation) {
	until := time.Now().Add(min(r.spec.DrainTimeout, revokeTimeout))
	r.mu.Lock()
	if drained := r.drained; !drained.IsZero() && drained.Before(until) {
		until = drained
	}
	r.mu.Unlock()
	r.giveUp(going, until)
	r.step(lost{going})
}

// drain takes in no more records, and gives up all partitions.
func (r *Reactor) drain() {
	until := time.Now().Add(r.spec.DrainTimeout)
	r.mu.Lock()
	r.drained = until
	r.stepLocked(drain{})
	r.mu.Unlock()
	r.giveUp(r.incarnations(), until)
	r.step(lost{r.incarnations()})
}

// drainIsOver ends the time limit of drain, so that it does not hold for the next session.
func (r *Reactor) drainIsOver() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.drained = time.Time{}
}

// onLost is called by kgo when this instance is not a member of the group any more, as after a restart of the broker: other instances may
// already own the partitions that it had. It begins no more handlers of them and commits no positions, but it waits a moment for those
// that run, and for what they have emitted to be durable, and writes the marks of what was handled: they are true whoever owns the partitions. Whoever takes the partitions up
// reads them, perhaps this instance itself.
func (r *Reactor) onLost(_ context.Context, _ *kgo.Client, gone map[string][]int32) {
	r.moves.Lock()
	r.mu.Lock()
	going := r.incarnationsOf(gone)
	var owned []*ownership
	for _, i := range going {
		o := r.owned[i]
		o.leaving, o.lost = true, true
		owned = append(owned, o)
	}
	r.stepLocked(revoke{going})
	r.mu.Unlock()
	r.moves.Unlock()
	if len(going) > 0 {
		r.awaitAll(r.client.Life(), owned, time.Now().Add(lostPatience))
		r.awaitEmissions(going)
		r.rounds.Lock()
		ctx, cancel := context.WithTimeout(r.client.Life(), lostRoundTimeout)
		r.commitRound(ctx, going)
		cancel()
		r.rounds.Unlock()
	}
	r.step(lost{going})
}

// incarnations returns the incarnations of all partitions that are owned.
func (r *Reactor) incarnations() []incarnation {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Collect(maps.Keys(r.owned))
}

// incarnationsOf returns the incarnations of those of the partitions that are owned. r.mu must be held.
func (r *Reactor) incarnationsOf(partitions map[string][]int32) (found []incarnation) {
	for topic, numbers := range partitions {
		for _, n := range numbers {
			if p := r.scheduler.partitions[topicPartition{topic, n}]; p != nil {
				found = append(found, p.incarnation)
			}
		}
	}
	return found
}

// giveUp begins no more handlers of the given partitions, waits until the time until for those that run, and writes
// the last marks and positions. The partitions are still owned afterwards.
func (r *Reactor) giveUp(going []incarnation, until time.Time) {
	if len(going) == 0 {
		return
	}
	r.mu.Lock()
	r.stepLocked(revoke{going})
	var owned []*ownership
	for _, i := range going {
		if o := r.owned[i]; o != nil { // otherwise it was lost meanwhile
			owned = append(owned, o)
		}
	}
	r.mu.Unlock()
	r.awaitIdle(r.client.Life(), owned, until)
	r.lastRound(r.client.Life(), going)
}

// awaitIdle waits until no handler of the partitions runs, or ctx is done. At the time until it cancels the contexts of
// handlers that still run, and waits for cancelledTimeout more.
func (r *Reactor) awaitIdle(ctx context.Context, going []*ownership, until time.Time) {
	began := time.Now()
	if r.awaitAll(ctx, going, until) {
		return
	}
	if ctx.Err() != nil {
		return
	}
	r.spec.Log.Warn("handlers did not finish in time: their contexts are cancelled, and their events will be handled again", "after", time.Since(began).Round(time.Millisecond))
	for _, o := range going {
		o.cancel()
	}
	r.awaitAll(ctx, going, time.Now().Add(cancelledTimeout))
}

// awaitEmissions waits until all that handlers of the partitions have emitted is durable or has failed, but not for handlers that run. While
// the log is away nobody else can have taken the partitions up, so it waits until the log is back, and then for emissionPatience, unless
// the reaction drains.
func (r *Reactor) awaitEmissions(going []incarnation) {
	r.mu.Lock()
	draining := r.present
	r.mu.Unlock()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	until := time.Now().Add(emissionPatience)
	for r.emitting(going) && time.Now().Before(until) {
		if r.client.Away() && draining.Err() == nil {
			until = time.Now().Add(emissionPatience)
		}
		select {
		case <-tick.C:
		case <-r.bound.Load().Life().Done():
			return
		}
	}
}

// emitting reports whether handlers of the partitions have returned, and what they have emitted is not durable.
func (r *Reactor) emitting(of []incarnation) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	running := make(map[*partition]int)
	for w := range r.working {
		if !w.emits.Load() {
			running[r.callOf(w).item.partition]++
		}
	}
	return slices.ContainsFunc(of, func(i incarnation) bool {
		p := r.scheduler.owned(i)
		return p != nil && p.out > running[p]
	})
}

// awaitAll waits until all partitions are idle or lost. It returns false if that is not so at the time until, or when
// ctx is done.
func (r *Reactor) awaitAll(ctx context.Context, going []*ownership, until time.Time) bool {
	ctx, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	for _, o := range going {
		select {
		case <-o.idle:
			continue
		default: // a partition that is idle counts, even if the time is over
		}
		select {
		case <-o.idle:
		case <-ctx.Done():
			return false
		}
	}
	return true
}
