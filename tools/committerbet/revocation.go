//go:build linux

package main

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// lastRoundTimeout is how long a revocation retries its last round.
const lastRoundTimeout = 2 * time.Second

// onRevoked drains and releases revoked partitions. The rebalance waits until it returns.
func (i *instance) onRevoked(ctx context.Context, _ *kgo.Client, revoked map[string][]int32) {
	member, generation := i.client.GroupMetadata()
	i.mu.Lock()
	i.member, i.generation = member, generation
	i.mu.Unlock()
	going := i.partitionsOf(revoked[i.names.source])
	began := time.Now()
	i.giveUp(ctx, going)
	i.lose(going)
	say(note{What: noteRevoked, N: len(going), Took: time.Since(began)})
}

// onLost drops partitions that other instances may already own.
func (i *instance) onLost(_ context.Context, _ *kgo.Client, lost map[string][]int32) {
	going := i.partitionsOf(lost[i.names.source])
	i.lose(going)
	say(note{What: noteLost, N: len(going)})
}

func (i *instance) partitionsOf(numbers []int32) (found []*partition) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, n := range numbers {
		if p := i.owned[n]; p != nil {
			found = append(found, p)
		}
	}
	return found
}

// giveUp starts no more handlers for the given partitions, waits for running ones, and does their last round. This
// instance owns the partitions until lose is called.
func (i *instance) giveUp(ctx context.Context, going []*partition) {
	i.mu.Lock()
	for _, p := range going {
		p.revoking = true
	}
	i.mu.Unlock()
	running := func() (n int) {
		i.mu.Lock()
		defer i.mu.Unlock()
		for _, p := range going {
			n += p.running
		}
		return n
	}
	for deadline := time.Now().Add(revokeTimeout); running() > 0 && time.Now().Before(deadline); {
		time.Sleep(5 * time.Millisecond)
	}
	if n := running(); n > 0 {
		say(note{What: noteLate, N: n})
	}
	i.rounds.Lock() // waits until the current round has ended
	defer i.rounds.Unlock()
	for deadline := time.Now().Add(lastRoundTimeout); !i.doRound(ctx, going) && time.Now().Before(deadline); {
		time.Sleep(20 * time.Millisecond)
	}
}

// lose drops partitions, and with them all invocations that have finished but are in no round.
func (i *instance) lose(going []*partition) {
	i.mu.Lock()
	defer i.mu.Unlock()
	dropped := 0
	for _, p := range going {
		p.lost = true
		if i.owned[p.number] == p {
			delete(i.owned, p.number)
		}
		for _, l := range p.lanes {
			i.queued -= len(l.items)
		}
		p.lanes = nil
	}
	var kept []*invocation
	for _, f := range i.finished {
		if f.item.partition.lost {
			dropped++
		} else {
			kept = append(kept, f)
		}
	}
	i.finished = kept
	if dropped > 0 {
		say(note{What: noteDropped, N: dropped})
	}
}
