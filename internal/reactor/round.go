package reactor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"tidings.dev/internal/logclient"
	"tidings.dev/internal/obligation"
)

// A commit round writes what was finished since the last one. Emissions do not wait for rounds: they are durable
// before their event counts as handled. So a round follows at once if there was none within commitEvery, and under
// load it gathers everything that finishes within commitEvery.
const (
	commitEvery      = 10 * time.Millisecond
	commitRetryAfter = 200 * time.Millisecond

	// renewEvery is how often all positions are committed again. What is committed says from where on marks must be read by the
	// next owner, so the marks of other reactions would be many after a long time without events.
	renewEvery = 5 * time.Minute
)

// round is what a commit round writes, and the membership under which it commits positions. All of it is read in one
// critical section, so this member owned the parts in this generation. The commit is sent with these values, whatever
// has changed since: if a partition has gone to another instance, that instance has a later generation, and the commit
// is refused.
type round struct {
	membership
	parts []finished
	// owned reports whether an incarnation is still owned; nil means that all are. The position of a part that is not
	// owned any more, because its partition was lost during the round, must not be committed.
	owned func(incarnation) bool
	// marksEnd is an offset of tidings.reactions. The marks of the parts that are below it were known when the round was
	// gathered; 0 if nothing is known of that.
	marksEnd int64
}

// commitRounds makes a commit round whenever one is wanted, until stop is closed. ctx ends a round that takes too long
// after that. Ending a round in the middle is a last resort, because a commit that is on its way could arrive after
// the next one.
func (r *Reactor) commitRounds(ctx context.Context, stop <-chan struct{}) {
	var last time.Time
	renew := time.NewTicker(renewEvery)
	defer renew.Stop()
	for {
		select {
		case <-r.dirty:
		case <-renew.C:
			r.renewCommits(ctx)
			continue
		case <-stop:
			return
		}
		if wait := commitEvery - time.Since(last); wait > 0 {
			select {
			case <-time.After(wait):
			case <-stop:
				return
			}
		}
		last = time.Now()
		r.rounds.Lock()
		failed := r.commitRound(ctx, nil)
		r.rounds.Unlock()
		if len(failed) == 0 || r.logLost() {
			continue
		}
		for _, f := range failed {
			if isGone(f.err) {
				r.watchTopic(f.topic)
				continue
			}
			if errors.Is(f.err, kerr.FencedInstanceID) {
				r.failOfGroup(f.err)
				continue
			}
			if !betweenGenerations(f.err) && !errors.Is(f.err, kerr.UnknownMemberID) {
				r.spec.Log.Warn("a position was not committed; trying again", "topic", f.topic, "partition", f.partition, "error", f.err)
			}
		}
		time.AfterFunc(commitRetryAfter, r.wakeCommitter)
	}
}

// renewCommits makes the next round commit the positions of all partitions.
func (r *Reactor) renewCommits(ctx context.Context) {
	ends, err := r.client.Ends(ctx, obligation.ReactionsTopic)
	if err != nil {
		return // the next time
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.marksKnown = max(r.marksKnown, ends[obligation.ReactionsTopic][0])
	r.stepLocked(renew{})
}

// lastRound writes what was finished of partitions that are being given up. It first waits for a round that is open.
// If the group rebalances, it tries again until that is over. A failure is only logged: the next owner goes on from
// the older position, and the copies that it emits are dropped downstream.
func (r *Reactor) lastRound(ctx context.Context, of []incarnation) {
	r.rounds.Lock()
	defer r.rounds.Unlock()
	ctx, cancel := context.WithTimeout(ctx, lastRoundTimeout)
	defer cancel()
	for {
		failed := r.commitRound(ctx, of)
		again := len(failed) > 0 && ctx.Err() == nil
		for _, f := range failed {
			again = again && betweenGenerations(f.err)
		}
		if again {
			select {
			case <-time.After(lastRoundRetry):
				continue
			case <-ctx.Done():
			}
		}
		for _, f := range failed {
			r.spec.Log.Debug("a last commit failed", "topic", f.topic, "partition", f.partition, "error", f.err)
		}
		return
	}
}

// commitRound makes one round, of the given partitions, or, if of is nil, of those with something urgent. It returns
// the partitions whose positions were not committed; the next round commits them again. It writes nothing if the log has lost something
// since the session began. r.rounds must be held.
func (r *Reactor) commitRound(ctx context.Context, of []incarnation) []uncommitted {
	if r.logLost() {
		return nil
	}
	r.confirmPassing(ctx)
	open, ok := r.beginRound(of)
	if !ok {
		return nil
	}
	result, err := r.committer.commit(ctx, open)
	ended := roundEnded{marked: err == nil, marksEnd: result.marksEnd}
	for _, f := range result.failed {
		ended.uncommitted = append(ended.uncommitted, f.incarnation)
	}
	r.step(ended)
	if err != nil && ctx.Err() == nil && !errors.Is(err, logclient.ErrClosed) {
		r.fail(fmt.Errorf("write marks: %w", err))
	}
	return result.failed
}

// beginRound gathers a round. ok is false if there is nothing to write.
func (r *Reactor) beginRound(of []incarnation) (open round, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	progress := of != nil || time.Since(r.progressed) >= progressEvery
	if progress {
		r.progressed = time.Now()
	}
	effects := r.scheduler.step(roundBegun{of, progress})
	for _, e := range effects {
		if c, isCommit := e.(commit); isCommit {
			open, ok = round{membership: r.membership, parts: c.parts, owned: r.owns, marksEnd: r.marksKnown}, true
		}
	}
	r.performAll(effects, nil)
	return open, ok
}

// betweenGenerations reports whether err says that a commit was refused because the group rebalances. The commit will
// be accepted in the next generation, if the partition is still owned.
func betweenGenerations(err error) bool {
	return errors.Is(err, kerr.RebalanceInProgress) || errors.Is(err, kerr.IllegalGeneration)
}
