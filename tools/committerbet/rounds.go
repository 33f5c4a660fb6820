//go:build linux

package main

import (
	"context"
	"slices"
	"time"
)

const (
	// maxInRound is the maximum number of invocations in a round, and retryAfter the pause after a round that was
	// incomplete.
	maxInRound = 500
	retryAfter = 50 * time.Millisecond
)

// roundsUntil does rounds until ctx is done.
func (i *instance) roundsUntil(ctx context.Context) {
	for {
		select {
		case <-i.dirty:
		case <-ctx.Done():
			return
		}
		began := time.Now()
		i.rounds.Lock()
		complete := i.doRound(ctx, nil)
		i.rounds.Unlock()
		pause := i.CommitEvery - time.Since(began)
		if !complete {
			time.AfterFunc(retryAfter, i.wake)
			pause = retryAfter
		}
		time.Sleep(max(pause, 0))
	}
}

// doRound does one round of the finished invocations of the partitions in only. If only is nil, it does so for all
// partitions that are not being revoked. It returns false if something must be retried. i.rounds must be held.
func (i *instance) doRound(ctx context.Context, only []*partition) (complete bool) {
	member, generation := i.client.GroupMetadata()
	i.mu.Lock()
	if member != i.member || generation != i.generation {
		// kgo has joined a generation but does not know its assignment yet, so the coordinator would refuse the
		// round. One of kgo's callbacks follows and wakes the next round.
		i.mu.Unlock()
		say(note{What: noteBetween})
		return false
	}
	concerned := func(p *partition) bool { return only == nil && !p.revoking || slices.Contains(only, p) }
	var taken, left []*invocation
	for _, f := range i.finished {
		if concerned(f.item.partition) && len(taken) < maxInRound {
			taken = append(taken, f)
		} else {
			left = append(left, f)
		}
	}
	i.finished = left
	var recommit []*partition
	for _, p := range i.owned {
		if p.recommit && concerned(p) {
			recommit = append(recommit, p)
		}
	}
	i.mu.Unlock()
	if len(taken) == 0 && len(recommit) == 0 {
		return true
	}
	return i.roundOf(ctx, taken, recommit)
}

// roundOf commits invocations. If the log refuses a record, roundOf splits the invocations in halves until the one at
// fault is alone. This is allowed because no two of them have the same subject, so their order does not matter.
func (i *instance) roundOf(ctx context.Context, taken []*invocation, recommit []*partition) (complete bool) {
	r, partitions := i.begin(taken, recommit)
	if len(r.parts) == 0 {
		return true
	}
	began := time.Now()
	got := i.committer.commit(ctx, r)
	took := time.Since(began)
	switch got.verdict {
	case committed:
		say(note{What: noteCommitted, N: r.invocations(), Took: took})
		if len(got.uncommitted) > 0 {
			say(note{What: noteUncommitted, Why: got.why, N: len(got.uncommitted)})
		}
		i.count(r, partitions, got)
		return len(got.uncommitted) == 0
	case refused:
		say(note{What: noteRefused, Why: got.why, N: r.invocations()})
		if len(taken) > 1 {
			half := len(taken) / 2
			first := i.roundOf(ctx, taken[:half], recommit)
			return i.roundOf(ctx, taken[half:], nil) && first
		}
		i.fail(taken[0])
		return true
	}
	say(note{What: noteAborted, Why: got.why, N: r.invocations(), Took: took})
	i.giveBack(taken)
	return false
}

// begin makes a round from the member id, the generation, the owned partitions and the finished invocations, all read
// in one critical section.
func (i *instance) begin(taken []*invocation, recommit []*partition) (round, map[int32]*partition) {
	i.mu.Lock()
	defer i.mu.Unlock()
	r := round{member: i.member, generation: i.generation, owned: i.owns}
	partitions := make(map[int32]*partition)
	index := make(map[int32]int)
	add := func(p *partition) *part {
		at, ok := index[p.number]
		if !ok {
			at = len(r.parts)
			index[p.number] = at
			partitions[p.number] = p
			after := p.tracker.clone()
			after.round++
			r.parts = append(r.parts, part{partition: p.number, incarnation: p.incarnation, after: after})
		}
		return &r.parts[at]
	}
	dropped := 0
	for _, f := range taken {
		if f.item.partition.lost {
			dropped++
			continue
		}
		p := add(f.item.partition)
		p.done = append(p.done, f)
		p.after.add(f.item.offset, p.after.floor)
	}
	if dropped > 0 {
		say(note{What: noteDropped, N: dropped})
	}
	for _, p := range recommit {
		if !p.lost {
			add(p)
		}
	}
	return r, partitions
}

// count updates the state in memory for a round that was committed.
func (i *instance) count(r round, partitions map[int32]*partition, got result) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, part := range r.parts {
		p := partitions[part.partition]
		if p.lost {
			continue
		}
		if at, ok := got.marks[part.partition]; ok {
			for _, f := range part.done {
				if _, ahead := part.after.ahead[f.item.offset]; ahead {
					part.after.ahead[f.item.offset] = at
				}
			}
			part.after.floor = max(part.after.floor, at)
		}
		p.tracker = part.after
		p.recommit = slices.Contains(got.uncommitted, part.partition)
		for _, f := range part.done {
			i.advance(f.item)
		}
	}
}

// giveBack queues the invocations of a round that was not committed for the next round; their handlers do not run
// again. Invocations of lost partitions are dropped.
func (i *instance) giveBack(taken []*invocation) {
	i.mu.Lock()
	defer i.mu.Unlock()
	kept := slices.DeleteFunc(slices.Clone(taken), func(f *invocation) bool { return f.item.partition.lost })
	if n := len(taken) - len(kept); n > 0 {
		say(note{What: noteDropped, N: n})
	}
	i.finished = append(kept, i.finished...)
}

// fail runs the handler again for an invocation whose record was refused.
func (i *instance) fail(f *invocation) {
	say(note{What: noteFailed})
	i.mu.Lock()
	defer i.mu.Unlock()
	f.item.attempt++
	if p := f.item.partition; !p.lost && !p.revoking {
		go i.run(f.item)
	}
}

// owns reports whether this instance still owns an incarnation.
func (i *instance) owns(n incarnation) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, p := range i.owned {
		if p.incarnation == n {
			return true
		}
	}
	return false
}
