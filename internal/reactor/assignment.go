package reactor

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// When the group assigns partitions, kgo calls onAssigned. If some of the partitions are new to this instance, it then
// calls onOffsetsFetched and onOffsets, and fetches from them only after onOffsets has returned. kgo makes one
// callback at a time.

// onAssigned records the member id and generation that this instance has in the group from now on. If the assignment
// adds no partition, it tells the scheduler so.
func (r *Reactor) onAssigned(_ context.Context, _ *kgo.Client, added map[string][]int32) {
	<-r.joined
	r.mu.Lock()
	defer r.mu.Unlock()
	r.membership = r.currentMembership()
	if len(added) == 0 {
		r.stepLocked(assigned{})
	}
}

// onOffsetsFetched keeps the group's committed offsets and their metadata for onOffsets, which kgo calls next, and to
// which it does not pass the metadata.
func (r *Reactor) onOffsetsFetched(_ context.Context, _ *kgo.Client, resp *kmsg.OffsetFetchResponse) error {
	r.resume.keep(resp)
	return nil
}

// onOffsets takes up the partitions that were just assigned. It returns the offset from which kgo fetches each of
// them. If it returns an error, kgo joins the group again.
func (r *Reactor) onOffsets(ctx context.Context, offsets map[string]map[int32]kgo.Offset) (map[string]map[int32]kgo.Offset, error) {
	topics := make([]string, 0, len(offsets))
	for topic := range offsets {
		topics = append(topics, topic)
	}
	ids, err := r.resume.topicIDs(ctx, offsets)
	if err != nil {
		return nil, err
	}
	if err := r.checkTopics(ids, topics); err != nil {
		return nil, err
	}
	bounds, err := r.boundsOf(ctx, topics...)
	if err != nil {
		return nil, err
	}
	found, err := r.resume.find(ctx, offsets, ids)
	if err != nil {
		return nil, err
	}
	results, err := r.obeyAtAssignment(ctx, found, bounds)
	if err != nil {
		return nil, fmt.Errorf("commands for the reaction: %w", err)
	}
	var taken []assignment
	var uncommitted []finished
	for tp, at := range found {
		start, end := bounds.of(tp)
		if at.position < start {
			memory, err := r.keptInMemory(ctx, tp.topic)
			if err != nil {
				return nil, err
			}
			if memory {
				at = r.skipToStart(tp, at, start)
				found[tp] = at
			}
		}
		if err := r.checkPosition(tp, at.position, &at.ahead, start, end); err != nil {
			r.fail(err)
			return nil, err
		}
		a := assignment{topicPartition: tp, position: at.position, epoch: at.epoch, leader: r.resume.leaderOf(tp, at), ahead: at.ahead, topicID: at.topic, marksFrom: at.marksFrom, failing: at.failing}
		r.replayFrom(&a, start)
		taken = append(taken, a)
		if !at.committed {
			uncommitted = append(uncommitted, at.asCommit(tp))
		}
	}
	if err := r.boundReplays(ctx, taken); err != nil {
		return nil, fmt.Errorf("how large events are: %w", err)
	}
	for _, a := range taken {
		offsets[a.topic][a.partition] = kgo.NewOffset().At(a.replayFrom).WithEpoch(-1)
	}
	if err := r.derived.resolve(ctx, taken, found, bounds); err != nil {
		return nil, fmt.Errorf("which ids are derived from events: %w", err)
	}
	if len(uncommitted) > 0 {
		first := round{membership: r.currentMembership(), parts: uncommitted, marksEnd: r.resume.marksEnd}
		result, err := r.committer.commit(ctx, first)
		if err == nil && len(result.failed) > 0 {
			err = result.failed[0].err
		}
		if err != nil {
			return nil, fmt.Errorf("commit of the starting positions: %w", err)
		}
	}
	r.own(taken)
	if err := r.answer(ctx, results); err != nil {
		r.spec.Log.Warn("the result of a command was not written; it will be written again", "error", err)
	}
	return offsets, nil
}

// own begins a new incarnation of each partition in taken, and sets its incarnation field.
func (r *Reactor) own(taken []assignment) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.marksKnown = max(r.marksKnown, r.resume.marksEnd)
	r.beginIncarnations(taken)
	r.stepLocked(assigned{taken})
}

// beginIncarnations sets the incarnations of assignments that are about to be stepped. r.mu must be held.
func (r *Reactor) beginIncarnations(taken []assignment) {
	for i := range taken {
		a := &taken[i]
		r.last++
		a.incarnation = r.last
		ctx, cancel := context.WithCancel(r.base)
		r.owned[a.incarnation] = &ownership{topicPartition: a.topicPartition, ctx: ctx, cancel: cancel, idle: make(chan struct{})}
	}
	r.fetched.newest.Store(&fetchTag{context.Background(), r.last})
}

// owns reports whether the incarnation i is still owned. It is while its partition is being given up, and is not once
// the partition is lost.
func (r *Reactor) owns(i incarnation) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	o := r.owned[i]
	return o != nil && !o.lost
}
