package reactor

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"tidings.dev/internal/cloudevent"
	"tidings.dev/internal/logclient"
)

// committerFunc makes a function a committer.
type committerFunc func(context.Context, round) (committed, error)

func (f committerFunc) commit(ctx context.Context, r round) (committed, error) { return f(ctx, r) }

// newTestReactor returns a reactor that owns partition 0 of topic orders as incarnation 1. There is no log behind it,
// so that handle must not emit events.
func newTestReactor(t *testing.T, handle func(context.Context, *cloudevent.Event, any) Outcome) *Reactor {
	client, err := logclient.New(logclient.Config{
		Addresses: []string{"nowhere:1"}, Logger: slog.New(slog.DiscardHandler),
		Dial: func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("there is no log") },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	r := New(client, Spec{
		Name: "email", Topics: map[string]int32{"orders": 1}, Concurrency: 2, Buffer: 1 << 20, Log: slog.New(slog.DiscardHandler),
		Handlers: []Handler{{Topic: "orders", Type: "placed", Handle: handle, Retry: func(error, int) time.Duration { return time.Minute }}},
	})
	r.base = t.Context()
	r.membership = membership{"m-1", 1}
	r.own([]assignment{{topicPartition: orders}})
	return r
}

// workers returns the number of workers that the scheduler counts.
func (r *Reactor) workers() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.scheduler.workers
}

// receive makes events arrive in partition 0 of topic orders, at offsets 0, 1, ….
func (r *Reactor) receive(events ...cloudevent.Event) {
	var records []record
	for i, e := range events {
		e.Topic, e.Type, e.Offset = "orders", "placed", int64(i)
		records = append(records, newRecord(e, r.handlerOf(&e)))
	}
	r.step(arrived{orders, records})
}

// TestARoundIsSentAsWhoGatheredIt moves the partition to another instance and back while the marks of a round are being
// written. The commit must be sent with the generation and the incarnation of the time when its position was gathered,
// not with the present ones.
func TestARoundIsSentAsWhoGatheredIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newTestReactor(t, func(context.Context, *cloudevent.Event, any) Outcome { return Outcome{} })
		var sent []round
		r.committer = committerFunc(func(_ context.Context, open round) (committed, error) {
			r.step(lost{[]incarnation{1}})
			r.mu.Lock()
			r.membership = membership{"m-1", 3}
			r.mu.Unlock()
			r.own([]assignment{{topicPartition: orders}})
			sent = append(sent, open)
			return committed{}, nil
		})
		r.receive(cloudevent.Event{ID: "1", Subject: "a"})
		synctest.Wait()
		r.rounds.Lock()
		r.commitRound(t.Context(), nil)
		r.rounds.Unlock()
		if len(sent) != 1 || sent[0].membership != (membership{"m-1", 1}) || sent[0].parts[0].incarnation != 1 || sent[0].parts[0].position != 1 {
			t.Fatalf("%+v", sent)
		}
		if sent[0].owned(1) || !sent[0].owned(2) {
			t.Error("the round's part is still owned, or its successor is not")
		}
	})
}

// TestGivingUpCancelsHandlersThatTakeTooLong checks that giving up a partition waits for its running handlers, and
// cancels a handler that does not return in time. The position must then be before the event of that handler, so that
// the next owner of the partition handles the event.
func TestGivingUpCancelsHandlersThatTakeTooLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var ended []time.Duration
		r := newTestReactor(t, func(ctx context.Context, e *cloudevent.Event, _ any) Outcome {
			if e.ID == "short" {
				time.Sleep(time.Second)
				return Outcome{}
			}
			<-ctx.Done()
			ended = append(ended, time.Since(began))
			return Outcome{Err: ctx.Err()}
		})
		var positions []int64
		r.committer = committerFunc(func(_ context.Context, open round) (committed, error) {
			positions = append(positions, open.parts[0].position)
			return committed{}, nil
		})
		r.receive(cloudevent.Event{ID: "short", Subject: "a"}, cloudevent.Event{ID: "long", Subject: "b"}, cloudevent.Event{ID: "late", Subject: "a"})
		r.giveUp([]incarnation{1}, began.Add(5*time.Second))
		if took := time.Since(began); took != 5*time.Second || len(ended) != 1 || ended[0] != took {
			t.Errorf("given up after %v; cancelled after %v", took, ended)
		}
		if len(positions) != 1 || positions[0] != 1 {
			t.Errorf("positions %v are committed, want 1: the first event alone was handled", positions)
		}
		r.step(lost{[]incarnation{1}})
		if s := r.Stats(); s.Waiting != 0 || s.Retrying != 0 || s.Handled != 1 {
			t.Errorf("%+v", s)
		}
	})
}

// TestRevocationAndDrainShareOnePatience does a rolling restart: while the reactor drains, the group revokes its
// partition, to give it to the new instance. The revocation must wait for the running handler, and must not cancel it
// before the drain would. Without a drain, the revocation waits as long as a drain would, but never longer than the
// group waits for its members.
func TestRevocationAndDrainShareOnePatience(t *testing.T) {
	for _, test := range []struct {
		name             string
		handler, timeout time.Duration
		drain            bool
		// since the beginning; 0 means never. The group revokes the partition after one second
		wantCancelled, wantRevoked time.Duration
	}{
		{"it ends in time", 15 * time.Second, 20 * time.Second, true, 0, 15 * time.Second},
		{"it takes too long", time.Hour, 20 * time.Second, true, 20 * time.Second, 22 * time.Second},
		{"without a drain", time.Hour, 20 * time.Second, false, 21 * time.Second, 23 * time.Second},
		{"a patience longer than the group's", time.Hour, time.Hour, true, 51 * time.Second, 53 * time.Second},
		{"no patience", time.Hour, 0, false, time.Second, 3 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			over := make(chan struct{})
			defer close(over)
			var cancelled time.Duration
			r := newTestReactor(t, func(ctx context.Context, _ *cloudevent.Event, _ any) Outcome {
				context.AfterFunc(ctx, func() { cancelled = time.Since(began) })
				select {
				case <-time.After(test.handler):
				case <-over:
				}
				return Outcome{}
			})
			r.spec.DrainTimeout = test.timeout
			r.committer = committerFunc(func(context.Context, round) (committed, error) { return committed{}, nil })
			r.receive(cloudevent.Event{ID: "1", Subject: "a"})
			if test.drain {
				go r.drain()
			}
			time.Sleep(time.Second)
			r.revoked([]incarnation{1})
			synctest.Wait()
			revoked := time.Since(began)
			// the context was cancelled before the partition was given up, and not because of that
			early := cancelled < revoked
			if early != (test.wantCancelled != 0) || early && cancelled != test.wantCancelled || revoked != test.wantRevoked {
				t.Errorf("%s: cancelled after %v, want %v; given up after %v, want %v", test.name, cancelled, test.wantCancelled, revoked, test.wantRevoked)
			}
		})
	}
}

// TestWorkersEndWhenNothingIsLeft checks that workers take one runnable event after another, that there are never more
// than the concurrency allows, and that they end when no event is left.
func TestWorkersEndWhenNothingIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		running, most := 0, 0
		r := newTestReactor(t, nil)
		r.handlers["placed"].Handle = func(context.Context, *cloudevent.Event, any) Outcome {
			r.mu.Lock()
			running++
			most = max(most, running)
			r.mu.Unlock()
			time.Sleep(time.Second)
			r.mu.Lock()
			running--
			r.mu.Unlock()
			return Outcome{}
		}
		began := time.Now()
		r.receive(cloudevent.Event{ID: "1"}, cloudevent.Event{ID: "2"}, cloudevent.Event{ID: "3"}, cloudevent.Event{ID: "4"})
		time.Sleep(2*time.Second + time.Millisecond)
		synctest.Wait()
		if s := r.Stats(); s.Handled != 4 || most != 2 || r.scheduler.workers != 0 {
			t.Errorf("after %v: %+v, at most %d at a time, %d workers", time.Since(began), s, most, r.scheduler.workers)
		}
	})
}

// TestAHandlerThatEndsItsGoroutineHasFailed checks that a handler which calls runtime.Goexit has failed: it is tried
// again, and its worker and its subject go on.
func TestAHandlerThatEndsItsGoroutineHasFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		attempts := 0
		r := newTestReactor(t, func(_ context.Context, e *cloudevent.Event, _ any) Outcome {
			if e.ID == "1" {
				if attempts++; attempts < 5 {
					runtime.Goexit()
				}
			}
			return Outcome{}
		})
		r.receive(cloudevent.Event{ID: "1", Subject: "a"}, cloudevent.Event{ID: "2", Subject: "a"}, cloudevent.Event{ID: "3", Subject: "b"}, cloudevent.Event{ID: "4", Subject: "c"})
		synctest.Wait()
		if s := r.Stats(); s.Handled != 2 || s.Retried != 1 || s.Retrying != 1 || r.workers() != 0 {
			t.Errorf("%+v, %d workers", s, r.workers())
		}
		time.Sleep(4*time.Minute + time.Second)
		synctest.Wait()
		if s := r.Stats(); s.Handled != 4 || s.Retried != 4 || s.Waiting != 0 || r.workers() != 0 {
			t.Errorf("%+v, %d workers", s, r.workers())
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		if it := r.scheduler.partitions[orders].summary.retried; len(it) != 1 || it[0].Error != errGoexit.Error() {
			t.Errorf("%+v", it)
		}
	})
}

// TestTheLogNamesASlowHandlerOnceAndThenRarely has a handler run for hours. It must be logged when it has become slow,
// and again after intervals that double up to an hour.
func TestTheLogNamesASlowHandlerOnceAndThenRarely(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		over := make(chan struct{})
		r := newTestReactor(t, func(context.Context, *cloudevent.Event, any) Outcome { <-over; return Outcome{} })
		r.handlers["placed"].Slow = 10 * time.Second
		var lines bytes.Buffer
		r.spec.Log = slog.New(slog.NewTextHandler(&lines, nil))
		r.receive(cloudevent.Event{ID: "1", Subject: "a"})
		began := time.Now()
		var named []time.Duration
		for after := time.Duration(0); after <= 4*time.Hour; after += watchEvery {
			if r.nameSlow(began.Add(after)); lines.Len() > 0 {
				if !strings.Contains(lines.String(), "placed of a: event 1 (orders/0 offset 0), attempt 1, for "+after.String()) {
					t.Error(lines.String())
				}
				lines.Reset()
				named = append(named, after)
			}
		}
		want := []time.Duration{10 * time.Second, 20 * time.Second, 40 * time.Second, 80 * time.Second, 160 * time.Second, 320 * time.Second, 640 * time.Second, 1280 * time.Second, 2560 * time.Second, 5120 * time.Second, 8720 * time.Second, 12320 * time.Second}
		if !slices.Equal(named, want) {
			t.Errorf("named after %v, want %v", named, want)
		}
		close(over)
		synctest.Wait()
		if s := r.Stats(); s.Running != 0 || len(s.Slow) != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// TestNothingIsFoldedOfAPartitionThatIsLost loses a partition after the scheduler has given one of its items to a
// worker and before the worker folds the event. The event must not be folded, since the partition and its states may
// have another owner by then.
func TestNothingIsFoldedOfAPartitionThatIsLost(t *testing.T) {
	r := newTestReactor(t, func(context.Context, *cloudevent.Event, any) Outcome { return Outcome{} })
	r.handlers["placed"].Fold = func(*cloudevent.Event) any { t.Error("folded"); return nil }
	e := cloudevent.Event{ID: "1", Subject: "a", Topic: "orders", Type: "placed"}
	r.mu.Lock()
	given := r.scheduler.step(arrived{orders, []record{{Event: e, handler: r.handlers["placed"]}}})[0].(run)
	given.fold = true
	late := new(worker)
	late.begin(given.turn)
	late.tasks = []task{{given.item, t.Context(), nil}}
	r.start(late, late)
	r.stepLocked(lost{[]incarnation{1}})
	r.mu.Unlock()
	r.work(late)
	if s := r.Stats(); s.Handled != 0 || s.Waiting != 0 || r.scheduler.workers != 0 {
		t.Errorf("%+v, %d workers", s, r.scheduler.workers)
	}
}

// TestAFoldThatEndsItsGoroutine folds several events at a time, and one before its handler is called. A Fold that calls
// runtime.Goexit costs no other event its fold, nor a worker its tasks; before a handler it is called once more.
func TestAFoldThatEndsItsGoroutine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex // protects handled
		var handled, folded []string
		r := newTestReactor(t, func(_ context.Context, e *cloudevent.Event, result any) Outcome {
			mu.Lock()
			defer mu.Unlock()
			handled = append(handled, e.ID+":"+result.(string))
			return Outcome{}
		})
		h := r.handlers["placed"]
		calls := 0
		h.Fold = func(e *cloudevent.Event) any {
			folded = append(folded, e.ID)
			if e.Subject == "bad" {
				if calls++; calls%2 == 1 {
					runtime.Goexit()
				}
			}
			return "of " + e.ID
		}
		var effects []effect
		for _, subject := range []string{"a", "bad", "b"} {
			effects = append(effects, fold{h, &cloudevent.Event{ID: subject, Subject: subject}})
		}
		r.mu.Lock()
		n := r.foldAll(append(effects, wantRound{}, fold{h, &cloudevent.Event{ID: "too much"}}))
		r.mu.Unlock()
		if n != 3 || !slices.Equal(folded, []string{"a", "bad", "b"}) {
			t.Errorf("%d folds: %q", n, folded)
		}
		calls, folded = 0, nil
		r.receive(cloudevent.Event{ID: "1", Subject: "bad"}, cloudevent.Event{ID: "2", Subject: "good"})
		synctest.Wait()
		slices.Sort(handled)
		if !slices.Equal(handled, []string{"1:of 1", "2:of 2"}) || r.Stats().Handled != 2 {
			t.Errorf("handled %q, folded %q, %+v", handled, folded, r.Stats())
		}
	})
}

// TestTheLastRoundWaitsForTheNextGeneration refuses commits as a group does between two generations. The round that
// gives up a partition must be repeated until the next generation is known, but not longer than lastRoundTimeout.
func TestTheLastRoundWaitsForTheNextGeneration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newTestReactor(t, func(context.Context, *cloudevent.Event, any) Outcome { return Outcome{} })
		r.receive(cloudevent.Event{ID: "1", Subject: "a"})
		synctest.Wait()
		rounds := 0
		r.committer = committerFunc(func(_ context.Context, open round) (committed, error) {
			rounds++
			if rounds == 3 {
				r.mu.Lock()
				r.membership.generation++
				r.mu.Unlock()
			}
			if open.generation == 1 {
				return committed{failed: []uncommitted{{orders, 1, kerr.IllegalGeneration}}}, nil
			}
			return committed{}, nil
		})
		r.lastRound(t.Context(), []incarnation{1})
		if rounds != 4 {
			t.Errorf("%d rounds, want 4", rounds)
		}

		r.committer = committerFunc(func(context.Context, round) (committed, error) {
			return committed{failed: []uncommitted{{orders, 1, kerr.IllegalGeneration}}}, nil
		})
		r.receive(cloudevent.Event{ID: "1"}, cloudevent.Event{ID: "2", Subject: "a"})
		synctest.Wait()
		began := time.Now()
		r.lastRound(t.Context(), []incarnation{1})
		if took := time.Since(began); took != lastRoundTimeout {
			t.Errorf("given up after %v", took)
		}

		// Case: a commit that is refused for another reason is not repeated.
		rounds = 0
		r.committer = committerFunc(func(context.Context, round) (committed, error) {
			rounds++
			return committed{failed: []uncommitted{{orders, 1, errors.New("no")}}}, nil
		})
		r.lastRound(t.Context(), []incarnation{1})
		if rounds != 1 {
			t.Errorf("%d rounds, want 1", rounds)
		}
	})
}

// TestRecordsOfAnEarlierAssignmentAreIgnored loses a partition after a poll has returned records of it and before they
// arrive; the partition is assigned again with an earlier position. The records must be ignored. Otherwise the offsets
// between the position and the first record would count as empty and done.
func TestRecordsOfAnEarlierAssignmentAreIgnored(t *testing.T) {
	r := newTestReactor(t, func(context.Context, *cloudevent.Event, any) Outcome { return Outcome{} })
	polled := &kgo.Record{Topic: "orders", Offset: 50}
	r.fetched.OnFetchRecordBuffered(polled)
	r.step(lost{[]incarnation{1}})
	r.own([]assignment{{topicPartition: orders, position: 10, replayFrom: 10}})
	r.arrive(orders, []record{{Event: cloudevent.Event{Topic: "orders", Offset: 50}, control: true}}, fetchedUnder(polled))
	if tr := r.scheduler.partitions[orders].tracker; tr.position != 10 || tr.next != 10 {
		t.Fatalf("position %d, next %d, want 10", tr.position, tr.next)
	}
	polled = &kgo.Record{Topic: "orders", Offset: 10}
	r.fetched.OnFetchRecordBuffered(polled)
	r.arrive(orders, []record{{Event: cloudevent.Event{Topic: "orders", Offset: 10}, control: true}}, fetchedUnder(polled))
	if tr := r.scheduler.partitions[orders].tracker; tr.position != 11 {
		t.Errorf("position %d, want 11", tr.position)
	}
}

// TestWhatIsNotUnderstoodIsLoggedOnceByAllGoroutines reads records that are not understood on several goroutines, as
// poll and refetch do. One of the records of a topic must be logged.
func TestWhatIsNotUnderstoodIsLoggedOnceByAllGoroutines(t *testing.T) {
	r := newTestReactor(t, func(context.Context, *cloudevent.Event, any) Outcome { return Outcome{} })
	var log bytes.Buffer
	r.spec.Log = slog.New(slog.NewTextHandler(&log, nil)) // its handler has a lock
	var reading sync.WaitGroup
	for range 2 {
		reading.Go(func() {
			for range 100 {
				var rec record
				r.reading("orders").read(&kgo.Record{Topic: "orders", Value: []byte("{"), Headers: []kgo.RecordHeader{
					{Key: "content-type", Value: []byte("application/cloudevents+json")}}}, &rec)
				if rec.NotUnderstood == "" {
					t.Error("the record is understood")
				}
			}
		})
	}
	reading.Wait()
	if n := strings.Count(log.String(), "not understood"); n != 1 {
		t.Errorf("it is logged %d times: %s", n, log.String())
	}
}
