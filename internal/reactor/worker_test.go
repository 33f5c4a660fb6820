package reactor

import (
	"context"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"tidings.dev/internal/cloudevent"
)

// subjects returns n events of as many subjects, whose ids are their offsets.
func subjects(n int) (events []cloudevent.Event) {
	for i := range n {
		events = append(events, cloudevent.Event{ID: strconv.Itoa(i), Subject: "s" + strconv.Itoa(i)})
	}
	return events
}

// inTurns makes the scheduler give out turns of several items, as after many handlers that have succeeded in no time.
func (r *Reactor) inTurns() *Reactor {
	r.scheduler.pace = 0
	return r
}

// TestWhatIsBehindASlowHandlerIsGivenToOthers has the first handler of a turn not return. All other events must be
// handled in the meantime, those of its turn included.
func TestWhatIsBehindASlowHandlerIsGivenToOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		over := make(chan struct{})
		r := newTestReactor(t, func(_ context.Context, e *cloudevent.Event, _ any) Outcome {
			if e.ID == "0" {
				<-over
			}
			return Outcome{}
		}).inTurns()
		r.receive(subjects(200)...)
		time.Sleep(10 * cutAfter)
		if s := r.Stats(); s.Handled != 199 || s.Waiting != 1 || s.Running != 1 || r.workers() != 1 {
			t.Errorf("%+v, %d workers", s, r.workers())
		}
		close(over)
		synctest.Wait()
		if s := r.Stats(); s.Handled != 200 || s.Waiting != 0 || s.Running != 0 || r.workers() != 0 {
			t.Errorf("%+v, %d workers", s, r.workers())
		}
	})
}

// TestWhatATurnHasHandledIsReportedBeforeASlowHandlerReturns has the second handler of a turn not return. The next event of
// the first one's subject must not wait for it.
func TestWhatATurnHasHandledIsReportedBeforeASlowHandlerReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		over := make(chan struct{})
		defer close(over)
		r := newTestReactor(t, func(_ context.Context, e *cloudevent.Event, _ any) Outcome {
			if e.ID == "slow" {
				<-over
			}
			return Outcome{}
		}).inTurns()
		r.scheduler.concurrency = 1
		r.receive(cloudevent.Event{ID: "1", Subject: "a"}, cloudevent.Event{ID: "slow", Subject: "b"}, cloudevent.Event{ID: "2", Subject: "a"}, cloudevent.Event{ID: "3", Subject: "c"})
		synctest.Wait()
		if s := r.Stats(); s.Handled != 0 || s.Waiting != 4 {
			t.Errorf("the events were not given out together: %+v", s)
		}
		time.Sleep(2 * cutAfter)
		if s := r.Stats(); s.Handled != 1 || s.Waiting != 3 {
			t.Errorf("%+v", s)
		}
	})
}

// TestATurnStopsWhenItsPartitionIsGivenUp revokes a partition while the first handler of a turn runs. The others of the turn
// must not be begun, and their offsets must stay open.
func TestATurnStopsWhenItsPartitionIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		over := make(chan struct{})
		var begun atomic.Int64
		r := newTestReactor(t, func(context.Context, *cloudevent.Event, any) Outcome {
			begun.Add(1)
			<-over
			return Outcome{}
		}).inTurns()
		r.receive(subjects(100)...)
		synctest.Wait()
		r.mu.Lock()
		r.stepLocked(revoke{[]incarnation{1}})
		idle := r.owned[1].idle
		r.mu.Unlock()
		close(over)
		<-idle
		synctest.Wait()
		if s := r.Stats(); begun.Load() != 2 || s.Handled != 2 || s.Waiting != 0 || r.workers() != 0 {
			t.Errorf("%d handlers were begun; %+v, %d workers", begun.Load(), s, r.workers())
		}
		if tr := r.scheduler.partitions[orders].tracker; tr.open != 98 {
			t.Errorf("%d offsets are open, want 98", tr.open)
		}
	})
}

// TestATurnGoesOnAfterAHandlerThatEndsItsGoroutine has handlers in the middle of turns fail, skip and end their goroutines.
// All others must be handled once.
func TestATurnGoesOnAfterAHandlerThatEndsItsGoroutine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		calls := make(map[string]int)
		reason := "not this one"
		r := newTestReactor(t, func(_ context.Context, e *cloudevent.Event, _ any) Outcome {
			mu.Lock()
			defer mu.Unlock()
			calls[e.ID]++
			switch n, _ := strconv.Atoi(e.ID); {
			case n%7 == 3 && calls[e.ID] == 1:
				defer runtime.Goexit()
			case n%7 == 4 && calls[e.ID] == 1:
				return Outcome{Err: context.DeadlineExceeded}
			case n%7 == 5:
				return Outcome{Skip: &reason}
			}
			return Outcome{}
		}).inTurns()
		r.receive(subjects(140)...)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if s := r.Stats(); s.Handled != 120 || s.Retried != 40 || s.Skipped != 20 || s.Waiting != 0 || r.workers() != 0 {
			t.Errorf("%+v, %d workers", s, r.workers())
		}
		for id, n := range calls {
			if i, _ := strconv.Atoi(id); n != 1 && i%7 != 3 && i%7 != 4 || n > 2 {
				t.Errorf("event %s was handled %d times", id, n)
			}
		}
		if tr := r.scheduler.partitions[orders].tracker; tr.position != 140 || tr.open != 0 {
			t.Errorf("position %d, %d open", tr.position, tr.open)
		}
	})
}

// TestEachTaskIsClaimedOnce claims tasks while others take them away.
func TestEachTaskIsClaimedOnce(t *testing.T) {
	for range 500 {
		const n = 4096
		var c claims
		c.reset(n)
		var claimed []int
		var cut [2]int
		var group sync.WaitGroup
		group.Go(func() {
			for i := c.next(); i >= 0; i = c.next() {
				claimed = append(claimed, i)
			}
		})
		for i := range cut {
			group.Go(func() {
				for c.claimed() < n/8 {
					runtime.Gosched()
				}
				cut[i] = c.cut()
			})
		}
		group.Wait()
		if end := min(cut[0], cut[1]); end < 1 || len(claimed) != end || !slices.IsSorted(claimed) || c.claimed() != end || c.limit() != end {
			t.Fatalf("claimed %v, cut at %v", claimed, cut)
		}
	}
}
