//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"
)

// trial is a run of two instances that are disturbed.
type trial struct {
	settings   settings
	feed       feed
	killBroker bool
}

// drainTimeout is how long the instances may take to handle the remaining events.
const drainTimeout = 1 * time.Minute

// run runs the trial and returns the notes and the findings. The disturbances end with the feed; then the two
// instances must handle the remaining events undisturbed.
func (t trial) run(ctx context.Context, b *broker) (*tally, *findings, error) {
	n := namesOf(t.settings.Trial)
	if err := n.create(ctx, b.address); err != nil {
		return nil, nil, err
	}
	all := newTally()
	slots := make([]*slot, 3) // the third slot is for the instance that joins and leaves
	for at := range slots {
		s := t.settings
		s.Seed = t.settings.Seed*1000 + uint64(at)*100
		slots[at] = &slot{settings: s, random: newRandom(s.Seed), tally: all}
	}
	errs := make(chan error, len(slots)+1)
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	harm, end := context.WithCancel(ctx)
	defer end()
	for _, s := range slots[:2] {
		if err := s.start(); err != nil {
			return nil, nil, err
		}
		go func() { errs <- s.harm(harm) }()
	}
	go func() { errs <- slots[2].visit(harm) }()
	go func() {
		err := t.harmBroker(harm, b, all)
		if err != nil {
			fail(err) // otherwise the feed would wait for the broker
		}
		errs <- err
	}()
	if err := t.feed.run(ctx, b.address, n, newRandom(t.settings.Seed)); err != nil {
		return nil, nil, errors.Join(err, context.Cause(ctx))
	}
	end()
	for range cap(errs) {
		if err := <-errs; err != nil {
			return nil, nil, err
		}
	}
	began := time.Now()
	if err := drain(ctx, b.address, n, t.feed.events); err != nil {
		all.add(note{What: noteBroken, Why: err.Error()})
	}
	all.add(note{What: "drained", N: int(time.Since(began).Seconds())})
	for _, s := range slots[:2] {
		s.instance.quit(all)
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	f, err := judge(ctx, b.address, n, t.settings.Mode == modeTransactions)
	return all, f, err
}

// harmBroker kills the broker once, in the middle of the feed, if the trial is to do that.
func (t trial) harmBroker(ctx context.Context, b *broker, all *tally) error {
	if !t.killBroker || !sleep(ctx, time.Duration(t.feed.events)*time.Second/time.Duration(t.feed.perS)/2) {
		return nil
	}
	all.add(note{What: "did: kill", Why: "the broker"})
	b.kill()
	return b.start(context.WithoutCancel(ctx))
}

// drain waits until the positions of the group add up to the number of events.
func drain(ctx context.Context, address string, n names, events int) error {
	var sum int64
	for deadline := time.Now().Add(drainTimeout); time.Now().Before(deadline); {
		positions, err := positionsOf(ctx, address, n)
		sum = 0
		for at := range maps.Values(positions) {
			sum += at
		}
		if err == nil && sum == int64(events) {
			return nil
		}
		if !sleep(ctx, 200*time.Millisecond) {
			return ctx.Err()
		}
	}
	return fmt.Errorf("the positions add up to %d of %d events", sum, events)
}
