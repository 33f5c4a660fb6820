package group_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	. "tidings.dev/internal/group"
)

// fakeEngine runs a Coordinator and performs its effects as the engine does, with a clock and a journal of its own. A
// record is durable at once unless hold is set. A crash loses the records that are not durable.
type fakeEngine struct {
	t       tester
	o       Options
	now     time.Time
	c       *Coordinator
	ids     int
	hold    bool        // records become durable only by sync and syncOne
	waiting []Persist   // records that are not durable yet, in order
	disk    [][]byte    // durable records since base
	base    []byte      // a snapshot from before the first record of disk; nil if there is none
	tickets int         // the last ticket that was used
	answers map[int]any // responses by ticket
}

// tester is implemented by testing.TB and by rapid.T.
type tester interface {
	Helper()
	Fatalf(format string, args ...any)
}

// newFakeEngine returns a fakeEngine with an empty coordinator. Member ids end in 1, 2, 3, … in place of random UUIDs.
func newFakeEngine(t tester, o Options) *fakeEngine {
	w := &fakeEngine{t: t, o: o, now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), answers: make(map[int]any)}
	w.o.NewID = func() string { w.ids++; return fmt.Sprint(w.ids) }
	w.c = New(w.o)
	return w
}

// step passes an event to the coordinator and performs the effects.
func (w *fakeEngine) step(ev Event) { w.perform(w.c.Step(w.now, ev)) }

// perform performs effects. It fails the test if a request is answered twice.
func (w *fakeEngine) perform(effects []Effect) {
	w.t.Helper()
	for _, ef := range effects {
		switch ef := ef.(type) {
		case Reply:
			id := ef.Ticket.(int)
			if old, twice := w.answers[id]; twice {
				w.t.Fatalf("request %d is answered twice: %+v and %+v", id, old, ef.Response)
			}
			w.answers[id] = ef.Response
		case Persist:
			w.waiting = append(w.waiting, ef)
			if !w.hold {
				w.sync(nil)
			}
		}
	}
}

// sync makes all waiting records durable or, if err is not nil, makes them fail with err.
func (w *fakeEngine) sync(err error) {
	w.t.Helper()
	for len(w.waiting) > 0 {
		w.syncOne(err)
	}
}

// syncOne makes the first waiting record durable, or makes it fail with err.
func (w *fakeEngine) syncOne(err error) {
	w.t.Helper()
	p := w.waiting[0]
	w.waiting = w.waiting[1:]
	if err == nil {
		w.disk = append(w.disk, p.Record)
	}
	effects := w.c.Step(w.now, Persisted{ID: p.ID, Err: err})
	for _, ef := range effects {
		if _, ok := ef.(Persist); ok {
			w.t.Fatalf("Persisted asks for another Persist")
		}
	}
	w.perform(effects)
}

// crash discards the records that are not durable, and restarts the coordinator from the snapshot and the durable
// records.
func (w *fakeEngine) crash() {
	w.t.Helper()
	w.waiting = nil
	w.c = New(w.o)
	if w.base != nil {
		if err := w.c.Load(w.base); err != nil {
			w.t.Fatalf("Load: %v", err)
		}
	}
	for _, r := range w.disk {
		if err := w.c.ApplyRecord(r); err != nil {
			w.t.Fatalf("ApplyRecord: %v", err)
		}
	}
	w.perform(w.c.Resume(w.now))
}

// checkpoint takes a snapshot, and discards the records that it includes.
func (w *fakeEngine) checkpoint() { w.base, w.disk = w.c.Snapshot(), nil }

// advance moves the clock by d, and sends a Tick at each deadline on the way.
func (w *fakeEngine) advance(d time.Duration) {
	w.t.Helper()
	end := w.now.Add(d)
	for i := 0; ; i++ {
		at, ok := w.c.NextDeadline()
		if !ok || at.After(end) {
			break
		}
		if i > 10_000 {
			w.t.Fatalf("time does not pass: the deadline stays at %v", at)
		}
		if at.After(w.now) {
			w.now = at
		}
		w.step(Tick{})
	}
	w.now = end
}

// ticket returns a new ticket.
func (w *fakeEngine) ticket() int { w.tickets++; return w.tickets }

// take returns the response to the request with this ticket, or false if there is none yet.
func take[R any](w *fakeEngine, ticket int) (R, bool) {
	r, ok := w.answers[ticket]
	if !ok {
		var none R
		return none, false
	}
	return r.(R), true
}

// must returns the response to the request with this ticket, and fails the test if there is none yet.
func must[R any](w *fakeEngine, ticket int) R {
	w.t.Helper()
	r, ok := take[R](w, ticket)
	if !ok {
		w.t.Fatalf("request %d has no answer yet", ticket)
	}
	return r
}

// wantWaiting fails the test if a request with one of these tickets has a response.
func (w *fakeEngine) wantWaiting(tickets ...int) {
	w.t.Helper()
	for _, ticket := range tickets {
		if r, ok := w.answers[ticket]; ok {
			w.t.Fatalf("request %d is answered already: %+v", ticket, r)
		}
	}
}

// Timeouts of the members in these tests.
const (
	session   = 10 * time.Second
	rebalance = 30 * time.Second
)

// joining returns the JoinRequest of a consumer that subscribes to "orders". id is empty for a new member.
func joining(group string, id MemberID) JoinRequest {
	return JoinRequest{
		Group: group, Member: id, ClientID: "c", ClientHost: "/127.0.0.1", ProtocolType: "consumer",
		Protocols:      []Protocol{{"range", subscription("orders")}, {"sticky", subscription("orders")}},
		SessionTimeout: session, RebalanceTimeout: rebalance,
	}
}

// subscription returns the encoding of a ConsumerProtocolSubscription, version 0.
func subscription(topics ...string) []byte {
	b := []byte{0, 0}
	b = binary.BigEndian.AppendUint32(b, uint32(len(topics)))
	for _, t := range topics {
		b = binary.BigEndian.AppendUint16(b, uint16(len(t)))
		b = append(b, t...)
	}
	return binary.BigEndian.AppendUint32(b, 0xffffffff)
}

// join sends a JoinRequest and returns its ticket.
func (w *fakeEngine) join(r JoinRequest) int {
	ticket := w.ticket()
	w.step(Join{Ticket: ticket, JoinRequest: r})
	return ticket
}

// sync1 sends a SyncRequest of the member that got j, and returns its ticket.
func (w *fakeEngine) sync1(group string, j JoinResponse, assignments map[MemberID][]byte) int {
	ticket := w.ticket()
	w.step(Sync{Ticket: ticket, SyncRequest: SyncRequest{Group: group, Member: j.Member, Generation: j.Generation, Assignments: assignments}})
	return ticket
}

// heartbeat sends a heartbeat and returns the error in its response.
func (w *fakeEngine) heartbeat(group string, id MemberID, g Generation) error {
	w.t.Helper()
	ticket := w.ticket()
	w.step(Heartbeat{Ticket: ticket, HeartbeatRequest: HeartbeatRequest{Group: group, Member: id, Generation: g}})
	return must[HeartbeatResponse](w, ticket).Err
}

// leave removes members from a group, and returns the error or nil for each.
func (w *fakeEngine) leave(group string, leavers ...LeavingMember) []error {
	w.t.Helper()
	ticket := w.ticket()
	w.step(Leave{Ticket: ticket, LeaveRequest: LeaveRequest{Group: group, Members: leavers}})
	r := must[LeaveResponse](w, ticket)
	if r.Err != nil {
		w.t.Fatalf("leave: %v", r.Err)
	}
	return r.Members
}

// commit sends a commit and returns its ticket. offsets are pairs of a TopicPartition and an offset.
func (w *fakeEngine) commit(group string, id MemberID, g Generation, offsets ...any) int {
	r := CommitRequest{Group: group, Member: id, Generation: g, Offsets: make(map[TopicPartition]Committed)}
	for i := 0; i < len(offsets); i += 2 {
		r.Offsets[offsets[i].(TopicPartition)] = Committed{Offset: int64(offsets[i+1].(int)), LeaderEpoch: -1}
	}
	ticket := w.ticket()
	w.step(Commit{Ticket: ticket, CommitRequest: r})
	return ticket
}

// tp returns a TopicPartition.
func tp(topic string, partition int32) TopicPartition { return TopicPartition{topic, partition} }

// stableGroup forms a stable group of n new members, and returns the responses to their joins, the leader's first. The
// assignment of each member is its index among the leader's Members.
func (w *fakeEngine) stableGroup(group string, n int) []JoinResponse {
	w.t.Helper()
	var ids []MemberID
	for range n {
		r := joining(group, "")
		r.RequireKnownMember = true
		ids = append(ids, must[JoinResponse](w, w.join(r)).Member)
	}
	return w.regenerate(group, ids...)
}

// regenerate makes the members with these ids join and sync, and returns the responses to their joins, the leader's
// first.
func (w *fakeEngine) regenerate(group string, ids ...MemberID) []JoinResponse {
	w.t.Helper()
	var tickets []int
	for _, id := range ids {
		tickets = append(tickets, w.join(joining(group, id)))
	}
	var joins []JoinResponse
	for _, ticket := range tickets {
		j := must[JoinResponse](w, ticket)
		if j.Err != nil {
			w.t.Fatalf("join: %v", j.Err)
		}
		joins = append(joins, j)
	}
	slices.SortStableFunc(joins, func(a, b JoinResponse) int { return len(b.Members) - len(a.Members) })
	assignments := make(map[MemberID][]byte)
	for i, m := range joins[0].Members {
		assignments[m.Member] = []byte{byte(i)}
	}
	for _, j := range joins {
		w.sync1(group, j, assignments)
	}
	if s := w.c.Describe(group).State; s != "Stable" && !w.hold {
		w.t.Fatalf("group is %s, not Stable", s)
	}
	return joins
}

// want fails the test unless err matches target. what names the request.
func want(t testing.TB, what string, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Fatalf("%s: %v, want %v", what, err, target)
	}
}

// wantState fails the test unless the group is in this state.
func wantState(t testing.TB, w *fakeEngine, group, state string) {
	t.Helper()
	if s := w.c.Describe(group).State; s != state {
		t.Fatalf("group %q is %s, want %s", group, s, state)
	}
}

// equal fails the test unless got and want print alike.
func equal(t testing.TB, what string, got, want any) {
	t.Helper()
	if g, w := fmt.Sprintf("%+v", got), fmt.Sprintf("%+v", want); g != w {
		t.Fatalf("%s:\n got %s\nwant %s", what, g, w)
	}
}
