//go:build linux

package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"syscall"
	"time"
)

// slot keeps one instance running and disturbs it at random.
type slot struct {
	settings settings
	random   *rand.Rand
	tally    *tally
	instance *process
	starts   uint64
}

// start starts a new instance with a new seed.
func (s *slot) start() (err error) {
	s.starts++
	given := s.settings
	given.Seed += s.starts
	s.instance, err = startInstance(given, s.tally)
	return err
}

// harm disturbs the instance at random intervals until ctx is done. It leaves the instance running.
func (s *slot) harm(ctx context.Context) error {
	for {
		if !sleep(ctx, s.between(500*time.Millisecond, 3*time.Second)) {
			return nil
		}
		if err := s.once(); err != nil {
			return err
		}
	}
}

// between returns a random duration in [low, high).
func (s *slot) between(low, high time.Duration) time.Duration {
	return low + time.Duration(s.random.Int64N(int64(high-low)))
}

// points are the points of a round at which an instance can be killed or stopped, by mode.
var points = map[string][]string{
	modeAtLeastOnce:  {pointBegun, pointProduced, pointMarked, pointOffsets},
	modeTransactions: {pointBegun, pointProduced, pointOffsets, pointEnded},
}

// cuts are the keys of the requests at which connections can be cut, by mode: Produce, and the requests that end a
// round.
var cuts = map[string][]int16{
	modeAtLeastOnce:  {0, 8},
	modeTransactions: {0, 28, 26, 26, 26},
}

// once disturbs the instance once: it kills, stops or cuts off the instance, or makes it leave. If the instance has
// ended, once starts another.
func (s *slot) once() error {
	point := points[s.settings.Mode][s.random.IntN(4)]
	// longer than the session timeout, and sometimes longer than the transaction timeout
	frozen := s.between(time.Second, 12*time.Second)
	down := s.between(0, 1500*time.Millisecond)
	switch n := s.random.IntN(100); {
	case n < 20:
		s.did("kill", "")
		s.instance.signal(syscall.SIGKILL)
	case n < 42:
		s.instance.tell("die " + point)
		if !s.instance.wait(5 * time.Second) {
			s.did("kill at a point", "not reached")
			s.instance.signal(syscall.SIGKILL)
		} else {
			s.did("kill at a point", point)
		}
	case n < 56:
		s.did("leave", "")
		s.instance.quit(s.tally)
	case n < 66:
		s.did("stop", "")
		s.instance.signal(syscall.SIGSTOP)
		time.Sleep(frozen)
		s.instance.signal(syscall.SIGCONT)
		return nil
	case n < 82:
		s.instance.tell("stop " + point)
		if !s.instance.stopped(5 * time.Second) {
			s.did("stop at a point", "not reached")
			s.instance.tell("stop never")
			s.instance.signal(syscall.SIGCONT) // the instance may have stopped just now
			return nil
		}
		s.did("stop at a point", point)
		time.Sleep(frozen)
		s.instance.signal(syscall.SIGCONT)
		return nil
	default:
		keys := cuts[s.settings.Mode]
		key, when := keys[s.random.IntN(len(keys))], []string{"before", "after"}[s.random.IntN(2)]
		s.did("cut", fmt.Sprintf("request %d, %s it is written", key, when))
		s.instance.tell(fmt.Sprint("cut ", key, " ", when, " ", s.between(0, 4*time.Second).Seconds()))
		return nil
	}
	<-s.instance.ended
	time.Sleep(down)
	return s.start()
}

// did counts a disturbance in the tally.
func (s *slot) did(what, why string) { s.tally.add(note{What: "did: " + what, Why: why}) }

// visit repeatedly starts a third instance and makes it leave in order, which causes rebalances of the others.
func (s *slot) visit(ctx context.Context) error {
	for sleep(ctx, s.between(4*time.Second, 12*time.Second)) {
		s.did("visit", "")
		if err := s.start(); err != nil {
			return err
		}
		sleep(ctx, s.between(2*time.Second, 8*time.Second))
		s.instance.quit(s.tally)
	}
	return nil
}

// sleep blocks for d and returns true. If ctx is done before that, it returns false.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
