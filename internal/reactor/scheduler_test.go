package reactor

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"tidings.dev/internal/cloudevent"
	"tidings.dev/internal/obligation"
	"tidings.dev/internal/offsets"
)

// script runs a scheduler, and writes the effects of each step as a line of words.
type script struct {
	*scheduler
	t     *testing.T
	last  incarnation
	items map[string]*item // newest item of each event, by topic/partition@offset
	open  []finished       // parts of the last commit
}

// newScript returns a script with a scheduler, with defaults for concurrency (2), limits and budget.
func newScript(t *testing.T, c config) *script {
	c.limits = defaultLimits
	if c.budget == 0 {
		c.budget = 1 << 30
	}
	if c.concurrency == 0 {
		c.concurrency = 2
	}
	return &script{scheduler: newScheduler(c), t: t, items: make(map[string]*item)}
}

// A handler that is called for events of topic orders, and one that also folds them.
var (
	plain   = &Handler{Topic: "orders", Type: "placed"}
	folding = &Handler{Topic: "orders", Type: "placed", Fold: func(*cloudevent.Event) any { return nil }}
)

// do passes an event to the scheduler, and fails the test unless the effects, as words in order and separated by
// spaces, are want.
func (s *script) do(ev event, want string) {
	s.t.Helper()
	var got []string
	for _, e := range s.step(ev) {
		got = append(got, s.word(e))
	}
	if words := strings.Join(got, " "); words != want {
		s.t.Fatalf("%T:\n got %q\nwant %q", ev, words, want)
	}
}

// word returns an effect as a word: its type, or a shorter name with its most important fields.
func (s *script) word(e effect) string {
	switch e := e.(type) {
	case run:
		name := fmt.Sprintf("%s@%d", e.item.partition, e.item.event.Offset)
		s.items[name] = e.item
		if e.fold {
			return "fold+run:" + name
		}
		return "run:" + name
	case fold:
		return fmt.Sprintf("fold:%s/%d@%d", e.event.Topic, e.event.Partition, e.event.Offset)
	case commit:
		s.open = slices.Clone(e.parts)
		var parts []string
		for _, f := range e.parts {
			parts = append(parts, fmt.Sprintf("%s=%d%v", f.topicPartition, f.position, f.done))
		}
		slices.Sort(parts)
		return "commit:" + strings.Join(parts, ",")
	case pauseFetch:
		return "pause:" + e.topicPartition.String()
	case resumeFetch:
		return "resume:" + e.topicPartition.String()
	case armRetry:
		return "armRetry:" + e.wait.String()
	case becomeIdle:
		return fmt.Sprintf("idle:%d", e.incarnation)
	case forget:
		return fmt.Sprintf("forget:%d", e.incarnation)
	case dropState:
		return fmt.Sprintf("dropState:%d", e.partition)
	}
	return strings.TrimPrefix(fmt.Sprintf("%T", e), "reactor.")
}

// assign assigns partition 0 of topic orders as the next incarnation, with this position and the start of its replay,
// and returns the incarnation. want are the effects.
func (s *script) assign(replayFrom, position int64, want string) incarnation {
	s.t.Helper()
	s.last++
	s.do(assigned{[]assignment{{topicPartition: orders, incarnation: s.last, position: position, replayFrom: replayFrom}}}, want)
	return s.last
}

// orders is partition 0 of topic orders.
var orders = topicPartition{"orders", 0}

// rec returns a record of partition 0 of topic orders, with its offset as the event's id.
func rec(h *Handler, offset int64, subject string) record {
	return newRecord(cloudevent.Event{ID: fmt.Sprint(offset), Topic: "orders", Type: "placed", Offset: offset, Subject: subject}, h)
}

// out returns the attempt of the item that was last given out for this offset of orders.
func (s *script) out(offset int64) attempt {
	return attempt{item: s.items[fmt.Sprintf("%s@%d", orders, offset)], freeWorker: true}
}

func TestSubjectsRunSideBySideAndEachInOrder(t *testing.T) {
	s := newScript(t, config{})
	s.assign(0, 0, "becomeReady")
	s.do(arrived{orders, []record{rec(plain, 0, "a"), rec(plain, 1, "a"), rec(plain, 2, "b"), rec(plain, 3, "c")}}, "run:orders/0@0 run:orders/0@2")

	// Case: b's event finishes before a's. Its offset is done ahead, and the free worker takes c's event.
	s.do(handled{attempt: s.out(2)}, "wantRound run:orders/0@3")
	s.do(roundBegun{}, "commit:orders/0=0[{2 3}]")
	s.do(roundEnded{marked: true}, "")

	// Case: a's event fails. The next event of a waits, too; c goes on.
	s.do(failed{attempt: s.out(0), err: "no", wait: time.Second}, "armRetry:1s armFlush")
	s.do(handled{attempt: s.out(3)}, "wantRound")
	s.do(retryDue{s.out(0).item}, "run:orders/0@0")
	s.do(handled{attempt: s.out(0)}, "wantRound run:orders/0@1")
	s.do(handled{attempt: s.out(1)}, "wantRound")
	s.do(roundBegun{}, "commit:orders/0=4[{0 2} {3 4}]")
	if r := s.open[0].retried; len(r) != 1 || r[0].Offset != 0 || r[0].Attempts != 2 || r[0].Error != "no" {
		t.Errorf("retried: %+v", r)
	}
}

// TestALaneStaysShutUntilEmissionsAreDurable frees a worker before the events that its handler has emitted are durable.
// Another subject must run meanwhile, and the next event of the same subject must not.
func TestALaneStaysShutUntilEmissionsAreDurable(t *testing.T) {
	s := newScript(t, config{concurrency: 1})
	s.assign(0, 0, "becomeReady")
	s.do(arrived{orders, []record{rec(plain, 0, "a"), rec(plain, 1, "a"), rec(plain, 2, "b")}}, "run:orders/0@0")
	a := s.out(0)
	s.do(workerFree{a.item}, "run:orders/0@2")
	b := s.out(2)
	s.do(workerFree{b.item}, "")
	a.freeWorker, b.freeWorker = false, false
	s.do(handled{attempt: b, emitted: 1}, "wantRound")
	s.do(handled{attempt: a, emitted: 2}, "wantRound run:orders/0@1")
	if s.counts.emitted != 3 || s.counts.handled != 2 {
		t.Errorf("%+v", s.counts)
	}
}

// TestAHandlerPastItsTimeoutKeepsItsSubjectAndNoWorker has handlers run past their timeouts. Other events must run in
// their place, their own subjects must wait, and nothing may be counted twice when they return.
func TestAHandlerPastItsTimeoutKeepsItsSubjectAndNoWorker(t *testing.T) {
	s := newScript(t, config{concurrency: 1})
	s.assign(0, 0, "becomeReady")
	s.do(arrived{orders, []record{rec(plain, 0, "a"), rec(plain, 1, "a"), rec(plain, 2, "b"), rec(plain, 3, "c")}}, "run:orders/0@0")
	a := s.out(0)
	s.do(timedOut{a.item}, "run:orders/0@2")
	b := s.out(2)
	s.do(timedOut{b.item}, "run:orders/0@3")
	s.do(timedOut{b.item}, "")
	s.do(handled{attempt: b}, "wantRound")
	s.do(workerFree{a.item}, "")
	s.do(handled{attempt: s.out(3)}, "wantRound")
	a.freeWorker = false
	s.do(handled{attempt: a, emitted: 1}, "wantRound run:orders/0@1")
	s.do(handled{attempt: s.out(1)}, "wantRound")
	if s.workers != 0 || s.lanes.queued != 0 {
		t.Errorf("%d workers, %d queued", s.workers, s.lanes.queued)
	}
}

// TestWhatNeedsNoHandlerIsDoneOnArrival checks that copies, control records and events without a handler run no
// handler, and that events without a subject run in parallel.
func TestWhatNeedsNoHandlerIsDoneOnArrival(t *testing.T) {
	s := newScript(t, config{window: 10})
	s.assign(0, 0, "becomeReady")
	again := rec(plain, 2, "a")
	again.identity = rec(plain, 0, "a").identity
	control := record{control: true, Event: cloudevent.Event{Offset: 4}}
	s.do(arrived{orders, []record{rec(plain, 0, ""), rec(plain, 1, ""), again, rec(nil, 3, "a"), control}}, "wantRound run:orders/0@0 run:orders/0@1")
	s.pass()
	s.do(roundBegun{}, "commit:orders/0=0[{3 5}]")
	if c := s.open[0].copies; !slices.Equal(c, []obligation.Copy{{Offset: 2, Of: 0}}) || s.counts.duplicates != 1 || s.counts.unhandled != 1 {
		t.Errorf("copies %v, %+v", c, s.counts)
	}

	// Case: only events without a handler arrive. They are marked, but not at once.
	s = newScript(t, config{})
	s.assign(0, 0, "becomeReady")
	s.do(arrived{orders, []record{rec(nil, 0, "a")}}, "armFlush")
	s.do(arrived{orders, []record{rec(nil, 1, "a")}}, "")
	s.do(roundBegun{}, "")
	s.do(flushDue{}, "wantRound")
	s.pass()
	s.do(roundBegun{}, "commit:orders/0=2[{0 2}]")
	if u := s.open[0].unhandled.Ranges(); !slices.Equal(u, []offsets.Range{{Lo: 0, Hi: 2}}) {
		t.Errorf("unhandled: %v", u)
	}
}

// pass makes a look at the subscriptions, which name no type without a handler.
func (s *script) pass() {
	s.t.Helper()
	s.do(passBegun{}, "checkTypes")
	s.do(passEnded{func(string, string) bool { return false }}, "")
}

// TestEventsWaitForOneOfTheirSubjectThatIsWithheld checks that events wait while an earlier event of their subject,
// which has no handler here, is withheld, since another instance may have to handle that one first. Events of other
// subjects must not wait.
func TestEventsWaitForOneOfTheirSubjectThatIsWithheld(t *testing.T) {
	s := newScript(t, config{})
	s.assign(0, 0, "becomeReady")
	other := rec(nil, 1, "a")
	other.Type = "new"
	s.do(arrived{orders, []record{rec(plain, 0, "a"), other, rec(plain, 2, "b"), rec(plain, 3, "a")}}, "wantRound run:orders/0@0 run:orders/0@2")
	s.do(handled{attempt: s.out(0)}, "wantRound")
	s.do(handled{attempt: s.out(2)}, "wantRound")
	s.do(passBegun{}, "checkTypes")
	s.do(arrived{orders, []record{rec(plain, 4, "a")}}, "wantRound")
	if n := s.waiting(); n != 2 {
		t.Errorf("%d events are said to wait, and there are two", n)
	}

	// Case: the first look at the subscriptions fails, and the second does not find the type.
	s.do(passEnded{}, "armFlush")
	s.do(passBegun{}, "checkTypes")
	s.do(passEnded{func(string, string) bool { return false }}, "run:orders/0@3")
	s.do(handled{attempt: s.out(3)}, "wantRound run:orders/0@4")
	s.do(handled{attempt: s.out(4)}, "wantRound")

	// Case: the look finds the type. No event of the subject is begun any more, and the waiting events are dropped with
	// the partition.
	other.Offset = 5
	s.do(arrived{orders, []record{other, rec(plain, 6, "a")}}, "wantRound")
	s.do(passBegun{}, "checkTypes")
	s.do(passEnded{func(_, typ string) bool { return typ == "new" }}, "standDown")
	s.do(roundBegun{}, "commit:orders/0=5[{0 5}]")
	s.do(roundEnded{marked: true}, "")
	s.do(lost{[]incarnation{s.last}}, "forget:1")
	if s.bytes != 0 {
		t.Errorf("%d bytes are taken", s.bytes)
	}
}

// TestEventsFromBeforeTheirTypeWasSubscribedToAreNotHandled checks that events of a type that was added to a
// subscription later are not handled if they were in the log before, unless the position was moved back by hand.
func TestEventsFromBeforeTheirTypeWasSubscribedToAreNotHandled(t *testing.T) {
	s := newScript(t, config{})
	s.assign(0, 0, "becomeReady")
	early, owed := rec(folding, 0, "a"), rec(folding, 1, "a")
	early.since, owed.since = 1, 1
	s.do(arrived{orders, []record{early, owed}}, "fold:orders/0@0 armFlush fold+run:orders/0@1")
	s.do(handled{attempt: s.out(1)}, "wantRound")
	s.do(roundBegun{}, "commit:orders/0=2[{0 2}]")
	if u := s.open[0].unhandled.Ranges(); !slices.Equal(u, []offsets.Range{{Lo: 0, Hi: 1}}) {
		t.Errorf("unhandled: %v", u)
	}
	s.do(roundEnded{marked: true}, "")
	s.last++
	s.do(assigned{[]assignment{{topicPartition: orders, incarnation: s.last, epoch: 1}}}, "forget:1")
	s.do(arrived{orders, []record{early}}, "fold+run:orders/0@0")
}

// TestAnEventThatANewerVersionHandlesIsNotPassedOver checks that an event without a handler is done only after a look
// at the subscriptions, begun after the event arrived, has not found its type. If it is found, neither the event nor
// any later one is committed, and no more records are taken.
func TestAnEventThatANewerVersionHandlesIsNotPassedOver(t *testing.T) {
	s := newScript(t, config{})
	s.assign(0, 0, "becomeReady")
	typed := func(offset int64, typ string) record {
		r := rec(nil, offset, "a")
		r.Type = typ
		return r
	}
	s.do(arrived{orders, []record{typed(0, "old")}}, "armFlush")
	s.do(passBegun{}, "checkTypes")
	s.do(arrived{orders, []record{typed(1, "old"), rec(plain, 2, "b")}}, "run:orders/0@2")
	s.do(handled{attempt: s.out(2)}, "wantRound")

	// Case: the look fails. It is repeated later, also for events that have arrived since.
	s.do(passEnded{}, "")
	s.do(roundBegun{}, "commit:orders/0=0[{2 3}]")
	s.do(roundEnded{marked: true}, "")
	s.do(flushDue{}, "wantRound")
	s.do(passBegun{}, "checkTypes")

	// Case: events that arrive during the look wait for the next one.
	s.do(arrived{orders, []record{typed(3, "new")}}, "wantRound")
	s.do(passEnded{func(_, typ string) bool { return typ == "new" }}, "")
	s.do(roundBegun{}, "commit:orders/0=3[{0 2}]")
	s.do(roundEnded{marked: true}, "")
	s.do(passBegun{}, "checkTypes")
	s.do(passEnded{func(topic, typ string) bool { return topic == "orders" && typ == "new" }}, "standDown")
	s.do(arrived{orders, []record{rec(plain, 4, "b")}}, "")
	s.do(passBegun{}, "")
	s.do(roundBegun{}, "")

	// Case: the instance rejoins, and the partition is assigned again.
	s.do(lost{[]incarnation{s.last}}, "forget:1")
	s.do(rejoin{}, "")
	s.assign(3, 3, "")
	s.do(arrived{orders, []record{typed(3, "new")}}, "armFlush")
	s.pass()
	s.do(roundBegun{}, "commit:orders/0=4[{3 4}]")
}

// TestHandlersWaitUntilTheirStatesAreRebuilt replays events into states. No handler may run before the replay is
// finished, neither in the partition itself nor in the other topic's partition with the same number.
func TestHandlersWaitUntilTheirStatesAreRebuilt(t *testing.T) {
	s := newScript(t, config{stateful: true, window: 10})
	returns := topicPartition{"returns", 0}
	s.do(assigned{[]assignment{
		{topicPartition: orders, incarnation: 1, position: 2},
		{topicPartition: returns, incarnation: 2},
	}}, "")
	r := rec(folding, 0, "a")
	r.Topic, r.ID = "returns", "r0"
	r.identity = r.Identity()
	s.do(arrived{returns, []record{r}}, "")
	if n := s.waiting(); n != 1 {
		t.Errorf("%d events are said to wait, and one is held", n)
	}
	s.do(arrived{orders, []record{rec(folding, 0, "a"), rec(folding, 1, "a"), rec(folding, 2, "b")}},
		"fold:orders/0@0 fold:orders/0@1 becomeReady fold+run:returns/0@0 fold+run:orders/0@2")
	// Case: another attempt of an event does not fold it again.
	s.do(failed{attempt: s.out(2), wait: time.Second}, "armRetry:1s armFlush")
	s.do(retryDue{s.out(2).item}, "run:orders/0@2")
	s.do(lost{[]incarnation{1}}, "forget:1")
	s.do(lost{[]incarnation{2}}, "forget:2 dropState:0")
}

func TestRevocationBeginsNothingAndKeepsWhatFinishes(t *testing.T) {
	s := newScript(t, config{concurrency: 3})
	i := s.assign(0, 0, "becomeReady")
	s.do(arrived{orders, []record{rec(plain, 0, "a"), rec(plain, 1, "a"), rec(plain, 2, "b"), rec(plain, 3, "c")}},
		"run:orders/0@0 run:orders/0@2 run:orders/0@3")
	s.do(failed{attempt: s.out(2), wait: time.Minute}, "armRetry:1m0s armFlush")
	s.do(revoke{[]incarnation{i}}, "disarmRetry")
	s.do(arrived{orders, []record{rec(plain, 4, "d")}}, "")
	s.do(retryDue{s.out(2).item}, "") // the timer had fired before the revocation
	s.do(handled{attempt: s.out(0)}, "")
	s.do(failed{attempt: s.out(3), wait: time.Second}, "idle:1")
	s.do(revoke{[]incarnation{i}}, "") // a second time: by the group, and by a drain
	s.do(roundBegun{of: []incarnation{i}}, "commit:orders/0=1[{0 1}]")
	s.do(roundEnded{marked: true}, "")
	s.do(lost{[]incarnation{i}}, "forget:1")
	if s.lanes.queued != 0 || s.retrying != 0 || s.workers != 0 {
		t.Errorf("left: %d queued, %d retrying, %d workers", s.lanes.queued, s.retrying, s.workers)
	}
}

// TestALaneGoesOnWhenWhatItWaitsForIsLost loses a partition whose event, the first of its lane, waits for another
// attempt. Another partition has an event of the same subject. The lane must not wait for the attempt, which will not
// come, also if the partition comes back.
func TestALaneGoesOnWhenWhatItWaitsForIsLost(t *testing.T) {
	for _, goes := range []struct {
		ev   func(incarnation) event
		want string
	}{
		{func(i incarnation) event { return lost{[]incarnation{i}} }, "disarmRetry forget:1 run:returns/0@0"},
		{func(i incarnation) event { return revoke{[]incarnation{i}} }, "disarmRetry idle:1 run:returns/0@0"},
		{func(i incarnation) event { return assigned{[]assignment{{topicPartition: orders, incarnation: 3}}} }, "disarmRetry forget:1 run:returns/0@0"},
	} {
		s := newScript(t, config{})
		s.do(assigned{[]assignment{{topicPartition: orders, incarnation: 1}, {topicPartition: topicPartition{"returns", 0}, incarnation: 2}}}, "becomeReady")
		s.do(arrived{orders, []record{rec(plain, 0, "a"), rec(plain, 1, "a")}}, "run:orders/0@0")
		r := rec(plain, 0, "a")
		r.Topic, r.ID = "returns", "r0"
		s.do(arrived{topicPartition{"returns", 0}, []record{r}}, "")
		s.do(failed{attempt: s.out(0), wait: time.Minute}, "armRetry:1m0s armFlush")
		first := s.out(0).item
		s.do(goes.ev(1), goes.want)
		if s.partitions[orders] == nil || s.partitions[orders].revoking {
			s.do(assigned{[]assignment{{topicPartition: orders, incarnation: 3}}}, map[bool]string{true: "forget:1"}[s.partitions[orders] != nil])
		}
		s.do(retryDue{first}, "") // the timer had fired before the loss
		s.do(arrived{orders, []record{rec(plain, 0, "a"), rec(plain, 1, "a")}}, "")
		other := attempt{item: s.items["returns/0@0"], freeWorker: true}
		s.do(handled{attempt: other}, "wantRound run:orders/0@0")
		s.do(handled{attempt: s.out(0)}, "wantRound run:orders/0@1")
	}
}

// TestACommitRefusedWhileItsPartitionIsGivenUpIsRepeated refuses a commit, because its generation is over, while its
// partition is being given up. The last round must commit the position once more; otherwise the next owner of the
// partition would handle the events again.
func TestACommitRefusedWhileItsPartitionIsGivenUpIsRepeated(t *testing.T) {
	s := newScript(t, config{})
	i := s.assign(0, 0, "becomeReady")
	s.do(arrived{orders, []record{rec(plain, 0, "a")}}, "run:orders/0@0")
	s.do(handled{attempt: s.out(0)}, "wantRound")
	s.do(roundBegun{}, "commit:orders/0=1[{0 1}]")
	s.do(revoke{[]incarnation{i}}, "idle:1")
	s.do(roundEnded{marked: true, uncommitted: []incarnation{i}}, "")
	s.do(roundBegun{of: []incarnation{i}}, "commit:orders/0=1[]")
	s.do(roundEnded{marked: true}, "")
	s.do(roundBegun{of: []incarnation{i}}, "")
}

// TestARoundThatFailsBelongsToTheNext fails to write marks. The next round must contain all of them.
func TestARoundThatFailsBelongsToTheNext(t *testing.T) {
	s := newScript(t, config{})
	s.assign(0, 0, "becomeReady")
	s.do(arrived{orders, []record{rec(plain, 0, "a"), rec(plain, 1, "b")}}, "run:orders/0@0 run:orders/0@1")
	s.do(skipped{attempt: s.out(0), reason: "no customer"}, "wantRound")
	s.do(roundBegun{}, "commit:orders/0=1[{0 1}]")
	s.do(skipped{attempt: s.out(1), reason: "no address"}, "wantRound")
	s.do(roundEnded{}, "")
	s.do(roundBegun{}, "commit:orders/0=2[{0 2}]")
	if got := s.open[0].skipped; len(got) != 2 || got[0].Reason != "no customer" || got[1].Reason != "no address" {
		t.Errorf("skipped: %+v", got)
	}
}

// TestALostPartitionDoomsItsPartOfTheOpenRound loses a partition during a round. The partition comes back at an older
// position, as another instance had it meanwhile. The end of the round must change nothing in the second incarnation.
func TestALostPartitionDoomsItsPartOfTheOpenRound(t *testing.T) {
	for _, ended := range []roundEnded{{}, {marked: true, uncommitted: []incarnation{1}}} {
		s := newScript(t, config{})
		first := s.assign(0, 0, "becomeReady")
		s.do(arrived{orders, []record{rec(plain, 0, "a"), rec(plain, 1, "b")}}, "run:orders/0@0 run:orders/0@1")
		s.do(handled{attempt: s.out(0)}, "wantRound")
		s.do(roundBegun{}, "commit:orders/0=1[{0 1}]")
		s.do(lost{[]incarnation{first}}, "forget:1")
		second := s.assign(0, 0, "")
		s.do(ended, "")
		s.do(roundBegun{of: []incarnation{first, second}}, "")

		// Case: a handler of the first incarnation is still running. The event runs again in the second, but only after
		// that handler has returned.
		s.do(arrived{orders, []record{rec(plain, 0, "a"), rec(plain, 1, "b")}}, "run:orders/0@0")
		old := s.out(1)
		s.do(handled{attempt: old}, "run:orders/0@1")
		s.do(roundBegun{of: []incarnation{second}}, "")
		s.do(handled{attempt: s.out(1)}, "wantRound")
		s.do(roundBegun{}, "commit:orders/0=0[{1 2}]")
	}
}

// TestMuchThatIsDoneAheadStopsFetching lets events overtake the slowest subject until the offsets done ahead would take
// too much memory: the partition must be paused. Offsets that do not fit into the metadata of a commit must be written
// as progress: in the first such round of an incarnation, and later only in rounds that ask for it.
func TestMuchThatIsDoneAheadStopsFetching(t *testing.T) {
	s := newScript(t, config{concurrency: 1})
	s.maxAhead, s.resumeAhead = 1500, 700
	i := s.assign(0, 0, "becomeReady")
	s.do(arrived{orders, []record{rec(plain, 0, "slow")}}, "run:orders/0@0")
	p := s.owned(i)
	for o := int64(2); o < 3200; o += 2 { // as if events had arrived and finished one by one, with gaps
		p.tracker.next = o + 1
		p.tracker.done(o, o+1)
	}
	p.urgent = true
	want := s.step(roundBegun{})
	if len(want) != 2 || s.word(want[0]) != "pause:orders/0" || !want[0].(pauseFetch).full {
		t.Fatalf("%d effects", len(want))
	}
	first := want[1].(commit).parts[0]
	if !first.draft.partial || len(first.chunks) != 1 || first.chunks[0].done.Len() != 1599 {
		t.Fatalf("partial: %v, %d chunks", first.draft.partial, len(first.chunks))
	}
	s.do(roundEnded{marked: true, marksEnd: 77}, "")
	p.recommit = true
	for _, progress := range []bool{false, true} {
		p.tracker.done(1, 2) // changes the chunk
		p.recommit = true
		again := s.step(roundBegun{progress: progress})[0].(commit).parts[0]
		if len(again.chunks) > 0 != progress || again.marksFrom != 77 {
			t.Fatalf("progress %v: %d chunks, marks from %d", progress, len(again.chunks), again.marksFrom)
		}
		s.do(roundEnded{marked: true, marksEnd: 77}, "")
	}
	p.tracker.next = 3200
	p.tracker.done(1, 3200)
	s.do(handled{attempt: s.out(0)}, "wantRound")
	s.do(roundBegun{}, "resume:orders/0 "+s.lastCommit())
}

// lastCommit returns, as a word, the commit that a round would make now. It begins no round.
func (s *script) lastCommit() string {
	p := s.partitions[orders]
	return fmt.Sprintf("commit:%s=%d%v", orders, p.tracker.position, p.tracker.fresh.Ranges())
}
