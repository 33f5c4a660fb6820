package reactor

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"tidings.dev/internal/logclient"
	"tidings.dev/internal/obligation"
)

// A seek of a reaction that runs is a command on tidings.control for each partition (docs/adr/0027). The instance that owns the
// partition carries it out: at the assignment, before it handles anything (obeyAtAssignment), or later (obeyCommands), by the
// same steps:
//
//	claim     appends that it has taken the command up; the log's time of that says whether the command has expired
//	halt      begins nothing more of the partition, waits for what runs, and writes its marks; not at the assignment
//	decide    reads what tidings.reactions has of the partition, and decides (decide.go)
//	record    appends the seek, and the marks by which what is not meant stays done
//	commit    commits the new position
//	move      takes the partition up there, as another incarnation
//	answer    appends the result, which closes the command
//
// Wherever it ends early, the command is still open, and whoever owns the partition next goes on: a seek with the id of the command
// is on tidings.reactions once it is recorded.

// followControl carries out commands for the partitions that this instance owns, until ctx is done.
func (r *Reactor) followControl(ctx context.Context) {
	tick := time.NewTicker(controlEvery)
	defer tick.Stop()
	failing := false
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		err := r.obeyCommands(ctx)
		if err != nil && !failing && ctx.Err() == nil {
			r.spec.Log.Warn("commands for the reaction cannot be read or carried out; trying again", "error", err)
		}
		failing = err != nil
	}
}

// obeyCommands carries out the open commands for the partitions that this instance owns. Without any it costs one request.
func (r *Reactor) obeyCommands(ctx context.Context) error {
	if err := r.control.refresh(ctx); err != nil {
		return err
	}
	due := r.control.open(r.movable)
	if len(due) == 0 {
		return nil
	}
	r.mu.Lock()
	member := r.membership.member
	r.mu.Unlock()
	due, err := r.control.claim(ctx, due, member)
	if err != nil {
		return err
	}
	seeking, err := r.beginSeeking(ctx, due)
	if err != nil {
		return err
	}
	// What is decided without a halt: that nothing is done.
	for tp := range due {
		point, owned := r.pointOf(tp)
		d := decide(due[tp], seeking.past[tp], point.position, point.epoch, seeking.bounds.starts[tp.topic][tp.partition], seeking.bounds.ends[tp.topic][tp.partition])
		if !owned || d.moved {
			continue
		}
		if err := r.answer(ctx, d.results); err != nil {
			return err
		}
		delete(due, tp)
	}
	if len(due) == 0 {
		return nil
	}
	halted := r.halt(ctx, due)
	return seeking.carryOut(ctx, due, halted)
}

// movable reports whether a partition is owned, and is not being given up.
func (r *Reactor) movable(tp topicPartition) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.scheduler.partitions[tp]
	return p != nil && !p.revoking && !r.owned[p.incarnation].leaving
}

// pointOf returns where a partition stands that is owned.
func (r *Reactor) pointOf(tp topicPartition) (at assignment, owned bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.scheduler.partitions[tp]
	if p == nil {
		return at, false
	}
	return p.retaken(), true
}

// halt stops the partitions that are to be moved: no further handler begins for them, the handlers that run are waited
// for as on a revocation, what is done is committed, and then the partitions are sealed (see seal). If the reaction keeps
// state, halt also stops the partitions with the same numbers of its other topics. It returns the incarnations that it
// has sealed; nil if ctx has ended or all partitions were lost before.
func (r *Reactor) halt(ctx context.Context, due map[topicPartition][]obligation.Commanded) (sealed []incarnation) {
	numbers := make(map[int32]bool)
	for tp := range due {
		numbers[tp.partition] = true
	}
	r.mu.Lock()
	var going []incarnation
	var owned []*ownership
	for tp, p := range r.scheduler.partitions {
		if o := r.owned[p.incarnation]; due[tp] != nil && !o.leaving || r.stateful && numbers[tp.partition] && !o.leaving {
			going, owned = append(going, p.incarnation), append(owned, o)
		}
	}
	r.stepLocked(revoke{going})
	r.mu.Unlock()
	r.awaitIdle(ctx, owned, time.Now().Add(min(r.spec.DrainTimeout, revokeTimeout)))
	for ctx.Err() == nil {
		r.rounds.Lock()
		r.commitRound(ctx, going)
		sealed = r.seal(going)
		r.rounds.Unlock()
		if sealed != nil || !r.ownsAny(going) {
			return sealed
		}
		pause(ctx, commitRetryAfter)
	}
	return nil
}

// seal seals the partitions in going that are still owned: until they are taken up again at their new positions, no
// round commits anything of them. It returns their incarnations. If something that is done is not committed yet, seal
// seals none and returns nil. r.rounds must be held.
func (r *Reactor) seal(going []incarnation) (sealed []incarnation) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, i := range going {
		p := r.scheduler.owned(i)
		if p == nil || r.owned[i].leaving {
			continue
		}
		if p.dirty() {
			return nil
		}
		sealed = append(sealed, i)
	}
	r.stepLocked(seal{sealed})
	return sealed
}

// ownsAny reports whether one of some incarnations is owned, and the group has not begun to take it away.
func (r *Reactor) ownsAny(of []incarnation) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.ContainsFunc(of, func(i incarnation) bool { o := r.owned[i]; return o != nil && !o.leaving })
}

// pause waits, or until ctx is done.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// seeking is what is needed to decide about commands and to carry them out.
type seeking struct {
	*Reactor
	past   map[topicPartition]*past
	read   int64 // the offset of tidings.reactions below which past knows all
	bounds bounds
	wrote  int64 // the offset of tidings.reactions below which all is known to the decisions: past has it, or record has appended it
}

// beginSeeking reads what tidings.reactions has of the partitions of commands.
func (r *Reactor) beginSeeking(ctx context.Context, due map[topicPartition][]obligation.Commanded) (*seeking, error) {
	k := &seeking{Reactor: r, past: make(map[topicPartition]*past)}
	var topics []string
	for tp, commands := range due {
		k.past[tp] = newPast(topicID(r.topics[tp.topic].ID), commands)
		if !slices.Contains(topics, tp.topic) {
			topics = append(topics, tp.topic)
		}
	}
	var err error
	if k.bounds, err = r.boundsOf(ctx, topics...); err != nil {
		return nil, err
	}
	starts, err := r.client.Starts(ctx, obligation.ReactionsTopic)
	if err != nil {
		return nil, err
	}
	k.read = starts[obligation.ReactionsTopic][0]
	return k, k.refresh(ctx)
}

// refresh reads what is new on tidings.reactions.
func (k *seeking) refresh(ctx context.Context) error {
	ends, err := k.client.Ends(ctx, obligation.ReactionsTopic)
	if err != nil {
		return err
	}
	for rec, err := range k.client.Read(ctx, logclient.Offsets{obligation.ReactionsTopic: {0: k.read}}, ends) {
		if err != nil {
			return err
		}
		k.read = rec.Offset + 1
		f, err := obligation.Decode(rec.Value)
		if err != nil {
			continue // of a later version, or not ours
		}
		switch f := f.(type) {
		case *obligation.Marks:
			if p := k.past[topicPartition{f.Topic, f.Partition}]; p != nil && f.Reaction == k.spec.Name {
				p.add(f.TopicID, f)
			}
		case *obligation.Seek:
			if p := k.past[topicPartition{f.Topic, f.Partition}]; p != nil && f.Reaction == k.spec.Name {
				p.add(f.TopicID, f)
			}
		}
	}
	k.read = max(k.read, ends[obligation.ReactionsTopic][0])
	return nil
}

// record decides about commands of partitions that stand at the given points, and appends the facts.
func (k *seeking) record(ctx context.Context, due map[topicPartition][]obligation.Commanded, points map[topicPartition]assignment) (map[topicPartition]decision, error) {
	decisions := make(map[topicPartition]decision)
	var records []*kgo.Record
	for tp, at := range points {
		if due[tp] == nil {
			continue
		}
		start, end := k.bounds.of(tp)
		d := decide(due[tp], k.past[tp], at.position, at.epoch, start, end)
		decisions[tp] = d
		for _, f := range d.facts {
			records = append(records, recordOfFact(f))
		}
	}
	if err := k.client.ProduceSync(ctx, records...); err != nil {
		return nil, err
	}
	k.wrote = max(k.wrote, k.read)
	for _, rec := range records {
		k.wrote = max(k.wrote, rec.Offset+1)
	}
	return decisions, nil
}

// carryOut moves partitions that were halted. Those that have no command are taken up again where they are. An error means that the
// command is still open: of a partition that is still owned, all is tried again here.
func (k *seeking) carryOut(ctx context.Context, due map[topicPartition][]obligation.Commanded, sealed []incarnation) error {
	var decisions map[topicPartition]decision
	points := make(map[topicPartition]assignment) // as they were sealed
	k.mu.Lock()
	for _, i := range sealed {
		if p := k.scheduler.owned(i); p != nil {
			a := p.retaken()
			a.incarnation = i
			points[p.topicPartition] = a
		}
	}
	k.mu.Unlock()
	for told := false; ; told = true {
		err := k.refresh(ctx)
		if err == nil {
			decisions, err = k.record(ctx, due, points)
		}
		if err == nil {
			break
		}
		if ctx.Err() != nil || !k.ownsAny(sealed) {
			return err
		}
		if !told {
			k.spec.Log.Warn("a seek cannot be recorded; trying again", "error", err)
		}
		pause(ctx, commitRetryAfter)
	}
	var parts []finished
	var results []*obligation.Result
	var taken []assignment
	for tp, a := range points {
		if d := decisions[tp]; d.moved {
			at := resumePoint{position: d.position, epoch: d.epoch, topic: a.topicID, ahead: d.ahead, marksFrom: k.wrote}
			part := at.asCommit(tp)
			part.incarnation = a.incarnation
			parts = append(parts, part)
			a.position, a.epoch, a.ahead, a.marksFrom = d.position, d.epoch, d.ahead, k.wrote
			for o := range a.failing {
				if o < a.position || a.ahead.Contains(o) {
					delete(a.failing, o)
				}
			}
		}
		results = append(results, decisions[tp].results...)
		taken = append(taken, a)
	}
	if !k.commitMoves(ctx, parts) {
		return nil // lost: the next owner goes on
	}
	if !k.move(ctx, taken) {
		return nil
	}
	return k.answer(ctx, results)
}

// commitMoves commits the positions of partitions until that has succeeded, and returns true, or they are owned no more.
func (r *Reactor) commitMoves(ctx context.Context, parts []finished) bool {
	for len(parts) > 0 {
		var olds []incarnation
		for _, f := range parts {
			olds = append(olds, f.incarnation)
		}
		if ctx.Err() != nil || !r.ownsAny(olds) {
			return false
		}
		r.mu.Lock()
		open := round{membership: r.membership, parts: parts, owned: r.owns}
		r.mu.Unlock()
		r.rounds.Lock()
		result, err := r.committer.commit(ctx, open)
		r.rounds.Unlock()
		if err == nil {
			parts = slices.DeleteFunc(parts, func(f finished) bool {
				return !slices.ContainsFunc(result.failed, func(u uncommitted) bool { return u.incarnation == f.incarnation })
			})
		}
		if len(parts) > 0 {
			pause(ctx, commitRetryAfter)
		}
	}
	return true
}

// errNotFetched means that kgo does not fetch a partition yet that was assigned.
var errNotFetched = errors.New("the partition is not fetched yet")

// move takes partitions up where the assignments say, in place of their incarnations, and returns true; false if none of them is
// owned any more.
func (r *Reactor) move(ctx context.Context, taken []assignment) bool {
	for ctx.Err() == nil {
		moving, err := r.replayed(ctx, taken)
		if err == nil {
			var done bool
			if done, err = r.tryMove(moving); err == nil {
				return done
			}
		}
		if !errors.Is(err, errNotFetched) && ctx.Err() == nil {
			r.spec.Log.Warn("a partition whose position was moved cannot be taken up; trying again", "error", err)
		}
		pause(ctx, metadataPause)
	}
	return false
}

// metadataPause is how soon it is tried again to take up a partition.
const metadataPause = 50 * time.Millisecond

// replayed returns assignments with where fetching begins.
func (r *Reactor) replayed(ctx context.Context, taken []assignment) ([]assignment, error) {
	taken = slices.Clone(taken)
	var topics []string
	for _, a := range taken {
		if !slices.Contains(topics, a.topic) {
			topics = append(topics, a.topic)
		}
	}
	bounds, err := r.boundsOf(ctx, topics...)
	if err != nil {
		return nil, err
	}
	for i := range taken {
		start, _ := bounds.of(taken[i].topicPartition)
		r.replayFrom(&taken[i], start)
	}
	return taken, r.boundReplays(ctx, taken)
}

// replayFrom sets where the fetching of a partition begins, whose log begins at start.
func (r *Reactor) replayFrom(a *assignment, start int64) {
	a.replayFrom = min(a.position, max(start, a.position-int64(r.spec.Window)))
	if r.stateful {
		a.replayFrom = min(a.position, start)
	}
}

// tryMove is move, once. The incarnations of taken are those that are replaced.
func (r *Reactor) tryMove(taken []assignment) (done bool, err error) {
	r.moves.Lock()
	defer r.moves.Unlock()
	taken = slices.DeleteFunc(taken, func(a assignment) bool { return !r.ownsAny([]incarnation{a.incarnation}) })
	if len(taken) == 0 {
		return false, nil
	}
	// Nothing of them is in flight or buffered, from when kgo has their new offsets until they are resumed: so what kgo receives
	// before it is of the old incarnations, and what it receives then is of the new ones (fetched.go).
	paused := make(map[string][]int32)
	for _, a := range taken {
		paused[a.topic] = append(paused[a.topic], a.partition)
	}
	r.group.PauseFetchPartitions(paused)
	defer r.resumeMoved(paused)
	// kgo drops what it has buffered only if the offset differs from where it is; of two that differ, one does.
	r.setOffsets(taken, 1)
	r.setOffsets(taken, 0)
	have := r.group.CommittedOffsets()
	for _, a := range taken {
		if at, ok := have[a.topic][a.partition]; !ok || at.Offset != a.replayFrom || at.Epoch != -1 {
			return false, errNotFetched
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	taken = slices.DeleteFunc(taken, func(a assignment) bool { return r.owned[a.incarnation] == nil })
	r.beginIncarnations(taken)
	r.stepLocked(moved{taken})
	return len(taken) > 0, nil
}

// setOffsets makes kgo go on at replayFrom of assignments, or some offsets after it.
func (r *Reactor) setOffsets(taken []assignment, after int64) {
	to := make(map[string]map[int32]kgo.EpochOffset)
	for _, a := range taken {
		if to[a.topic] == nil {
			to[a.topic] = make(map[int32]kgo.EpochOffset)
		}
		to[a.topic][a.partition] = kgo.EpochOffset{Epoch: -1, Offset: a.replayFrom + after}
	}
	r.group.SetOffsets(to)
}

// resumeMoved makes kgo fetch partitions again, but those that the scheduler wants to be paused. r.mu must not be held.
func (r *Reactor) resumeMoved(paused map[string][]int32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for topic, numbers := range paused {
		paused[topic] = slices.DeleteFunc(numbers, func(n int32) bool {
			p := r.scheduler.partitions[topicPartition{topic, n}]
			return p != nil && p.paused
		})
	}
	r.group.ResumeFetchPartitions(paused)
}

// obeyAtAssignment carries out the open commands for partitions that are being taken up at these points: it records them, and
// sets the points. The caller commits these, takes the partitions up, and then appends the results.
func (r *Reactor) obeyAtAssignment(ctx context.Context, found map[topicPartition]resumePoint, bounds bounds) ([]*obligation.Result, error) {
	if err := r.control.refresh(ctx); err != nil {
		return nil, err
	}
	due := r.control.open(func(tp topicPartition) bool { _, ok := found[tp]; return ok })
	if len(due) == 0 {
		return nil, nil
	}
	due, err := r.control.claim(ctx, due, r.currentMembership().member)
	if err != nil {
		return nil, err
	}
	k, err := r.beginSeeking(ctx, due)
	if err != nil {
		return nil, err
	}
	points := make(map[topicPartition]assignment)
	for tp := range due {
		points[tp] = assignment{topicPartition: tp, position: found[tp].position, epoch: found[tp].epoch}
	}
	decisions, err := k.record(ctx, due, points)
	if err != nil {
		return nil, err
	}
	var results []*obligation.Result
	for tp, d := range decisions {
		if at := found[tp]; d.moved {
			at.position, at.epoch, at.ahead, at.marksFrom = d.position, d.epoch, d.ahead, k.wrote
			at.failing, at.committed, at.untouched = nil, false, false
			found[tp] = at
		}
		results = append(results, d.results...)
	}
	return results, nil
}
