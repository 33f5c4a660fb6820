package reactor

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"tidings.dev/internal/cloudevent"
)

// TestEventsBehindAFailureTakeNoMemoryAndStopNobody has the handlers of two subjects fail, with thousands of events
// behind them. The payloads of those events must be dropped, the partition must not be paused, and events of other
// subjects must run. When the first event of a failing subject has been handled, its other events must be read again in
// order, some at a time.
func TestEventsBehindAFailureTakeNoMemoryAndStopNobody(t *testing.T) {
	s := newScript(t, config{concurrency: 2, budget: 100_000})
	s.assign(0, 0, "becomeReady")
	s.do(arrived{orders, []record{rec(plain, 0, "bad"), rec(plain, 1, "worse")}}, "run:orders/0@0 run:orders/0@1")
	s.do(failed{attempt: s.out(0), wait: time.Minute}, "armRetry:1m0s armFlush")
	s.do(failed{attempt: s.out(1), wait: time.Minute}, "armRetry:1m0s")
	for o := int64(2); o < 5002; o += 100 {
		var batch []record
		for i := range int64(100) {
			batch = append(batch, rec(plain, o+i, []string{"bad", "worse"}[i%2]))
		}
		s.do(arrived{orders, batch}, "")
		if s.bytes > 100_000 {
			t.Fatalf("%d bytes are taken", s.bytes)
		}
	}
	if s.inBacklogs < 4900 {
		t.Errorf("%d events are dropped", s.inBacklogs)
	}
	s.do(arrived{orders, []record{rec(plain, 5002, "good"), rec(plain, 5003, "fine")}}, "run:orders/0@5002 run:orders/0@5003")
	s.do(handled{attempt: s.out(5002)}, "wantRound")
	s.do(handled{attempt: s.out(5003)}, "wantRound")

	// Case: one of the two subjects succeeds. Its events in memory are handled first, then those in its backlog.
	next := int64(0)
	s.do(retryDue{s.out(0).item}, "run:orders/0@0")
	for {
		effects := s.step(handled{attempt: s.out(next)})
		words := make([]string, 0)
		for _, e := range effects {
			words = append(words, s.word(e))
		}
		next += 2
		if slices.Contains(words, "wantRefetch") {
			break
		}
	}
	asked := s.step(refetchBegun{})[0].(refetch)
	part := asked.parts[0]
	if len(asked.parts) != 1 || len(part.offsets) != refetchPerLane || part.offsets[0] != next || part.offsets[1] != next+2 {
		t.Fatalf("%+v; next is %d", asked, next)
	}
	s.do(refetched{part.incarnation, []record{rec(plain, next, "bad"), rec(plain, next+1, "worse"), rec(plain, next+4, "bad")}, next + 5}, "wantRound run:orders/0@"+itoa(next))
	s.do(refetchEnded{}, "")
	s.do(handled{attempt: s.out(next)}, "wantRound run:orders/0@"+itoa(next+4))
	s.do(handled{attempt: s.out(next + 4)}, "wantRefetch wantRound")

	// Case: the partition is lost, and its backlogs with it.
	s.do(lost{[]incarnation{1}}, "disarmRetry forget:1")
	s.do(refetchBegun{}, "")
	if s.bytes != 0 || s.inBacklogs != 0 || len(s.backlogs) != 0 {
		t.Errorf("left: %d bytes, %d events in %d backlogs", s.bytes, s.inBacklogs, len(s.backlogs))
	}
}

// itoa returns n in decimal digits.
func itoa(n int64) string { return cloudevent.ForeignID("", 0, n)[len("/0/"):] }

// TestMemoryStopsPolling fills the memory with events of one subject. Polling must stop over the budget, and go on at three
// quarters of it. No partition is paused: kgo would throw away what it has fetched.
func TestMemoryStopsPolling(t *testing.T) {
	s := newScript(t, config{concurrency: 1, budget: 40_000})
	s.do(assigned{[]assignment{{topicPartition: orders, incarnation: 1}, {topicPartition: returns, incarnation: 2}}}, "becomeReady")
	s.do(arrived{returns, []record{of(returns, big(0))}}, "run:returns/0@0")
	s.do(arrived{orders, []record{big(0), big(1), big(2)}}, "")
	s.do(arrived{returns, []record{of(returns, big(1))}}, "pausePolling")
	s.do(handled{attempt: attempt{item: s.items["returns/0@0"], freeWorker: true}}, "wantRound run:orders/0@0")
	s.do(handled{attempt: s.out(0)}, "wantRound run:orders/0@1 resumePolling")
}

// TestPollingStopsWhileThereIsEnoughToDo takes in events of many subjects. Above a quarter of the budget, polling must stop while
// more lanes are ready than workers need, and go on when they are fewer.
func TestPollingStopsWhileThereIsEnoughToDo(t *testing.T) {
	s := newScript(t, config{concurrency: 1, budget: 80_000})
	s.do(assigned{[]assignment{{topicPartition: orders, incarnation: 1}}}, "becomeReady")
	about := func(offset int64, subject string) record {
		r := big(offset)
		r.Subject = subject
		return r
	}
	s.do(arrived{orders, []record{about(0, "a"), about(1, "a"), about(2, "b")}}, "run:orders/0@0")
	s.do(arrived{orders, []record{about(3, "c")}}, "pausePolling")
	s.do(handled{attempt: s.out(0)}, "wantRound run:orders/0@2")
	s.do(handled{attempt: s.out(2)}, "wantRound run:orders/0@3 resumePolling")
	s.do(handled{attempt: s.out(3)}, "wantRound run:orders/0@1")
}

// TestWhatIsHeldBehindAGateStopsNoPolling fills the memory with events that wait until the states of their partitions are
// rebuilt. Polling must go on, or they never are; the partition that holds most of them is paused instead.
func TestWhatIsHeldBehindAGateStopsNoPolling(t *testing.T) {
	s := newScript(t, config{stateful: true, concurrency: 1, budget: 40_000})
	s.do(assigned{[]assignment{
		{topicPartition: orders, incarnation: 1},
		{topicPartition: returns, incarnation: 2, position: 10},
	}}, "")
	s.do(arrived{orders, []record{big(0), big(1), big(2)}}, "")
	s.do(arrived{orders, []record{big(3), big(4)}}, "pause:orders/0")
	s.do(arrived{returns, []record{of(returns, big(0))}}, "")
	// Case: the gate opens. What was held stops polling now, and the partition is resumed at half of the budget.
	s.do(arrived{returns, []record{of(returns, big(10))}}, "becomeReady run:orders/0@0 pausePolling")
	s.do(handled{attempt: s.out(0)}, "wantRound run:orders/0@1")
	s.do(handled{attempt: s.out(1)}, "wantRound run:orders/0@2")
	s.do(handled{attempt: s.out(2)}, "wantRound run:orders/0@3 resumePolling")
	s.do(handled{attempt: s.out(3)}, "wantRound run:orders/0@4 resume:orders/0")

	// Case: a paused partition is lost. kgo remembers that it is paused, so it must be resumed for its next assignment.
	s = newScript(t, config{stateful: true, concurrency: 1, budget: 40_000})
	s.do(assigned{[]assignment{{topicPartition: orders, incarnation: 1}, {topicPartition: returns, incarnation: 2, position: 10}}}, "")
	s.do(arrived{orders, []record{big(0), big(1), big(2), big(3)}}, "pause:orders/0")
	s.do(lost{[]incarnation{1}}, "resume:orders/0 forget:1")
}

var returns = topicPartition{"returns", 0}

// big returns a record of orders, about a, that takes about 10,000 bytes of memory.
func big(offset int64) record {
	r := rec(plain, offset, "a")
	r.Data = make([]byte, 9_000)
	return r
}

// of returns the record in another topic.
func of(tp topicPartition, r record) record {
	r.Topic = tp.topic
	return r
}

// TestOffsetQueue compares an offsetQueue with a slice under random operations.
func TestOffsetQueue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var q offsetQueue
		var want []int64
		var bytes int64
		last := rapid.Int64Range(1<<30, 1<<40).Draw(t, "first")
		for range rapid.IntRange(0, 100).Draw(t, "steps") {
			switch n := rapid.IntRange(0, 5).Draw(t, "step"); {
			case n < 2 && len(want) > 0:
				bytes -= q.pop()
				want = want[1:]
			case n == 2 && len(want) > 0:
				before := want[0] - rapid.Int64Range(1, 1<<20).Draw(t, "before")
				bytes += q.unshift(before)
				want = slices.Insert(want, 0, before)
			default:
				bytes += q.push(last)
				want = append(want, last)
				last += rapid.Int64Range(1, 1<<20).Draw(t, "delta")
			}
			if q.n != len(want) || len(want) > 0 && q.first() != want[0] || !slices.Equal(q.head(1000), want) || !slices.Equal(q.head(2), want[:min(2, len(want))]) || int64(len(q.deltas)) != bytes {
				t.Fatalf("%v, %d bytes; want %v, %d bytes", q.head(1000), len(q.deltas), want, bytes)
			}
		}
	})
}
