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

// world performs a coordinator's effects as the engine does, with a clock and a disk of its own. The disk is instant unless
// held; a crash loses what is held.
type world struct {
	t       tester
	o       Options
	now     time.Time
	c       *Coordinator
	ids     int
	hold    bool
	waiting []Persist // given out, not durable
	disk    [][]byte  // durable records since the beginning, or since base
	base    []byte    // a snapshot taken before disk's first record; nil: none
	tickets int
	answers map[int]any
}

type tester interface {
	Helper()
	Fatalf(format string, args ...any)
}

func newWorld(t tester, o Options) *world {
	w := &world{t: t, o: o, now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), answers: make(map[int]any)}
	w.o.NewID = func() string { w.ids++; return fmt.Sprint(w.ids) }
	w.c = New(w.o)
	return w
}

func (w *world) step(ev Event) { w.perform(w.c.Step(w.now, ev)) }

func (w *world) perform(effects []Effect) {
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

// sync makes everything durable that waits, or fails it.
func (w *world) sync(err error) {
	w.t.Helper()
	for len(w.waiting) > 0 {
		w.syncOne(err)
	}
}

func (w *world) syncOne(err error) {
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

// crash loses what is not durable, and begins anew from the disk.
func (w *world) crash() {
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

// checkpoint replaces the disk's records by a snapshot.
func (w *world) checkpoint() { w.base, w.disk = w.c.Snapshot(), nil }

// pass lets time go by, with a tick at each deadline.
func (w *world) pass(d time.Duration) {
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

func (w *world) ticket() int { w.tickets++; return w.tickets }

// take returns the answer to a request as an R; false: it waits.
func take[R any](w *world, ticket int) (R, bool) {
	r, ok := w.answers[ticket]
	if !ok {
		var none R
		return none, false
	}
	return r.(R), true
}

func must[R any](w *world, ticket int) R {
	w.t.Helper()
	r, ok := take[R](w, ticket)
	if !ok {
		w.t.Fatalf("request %d has no answer yet", ticket)
	}
	return r
}

func (w *world) wantWaiting(tickets ...int) {
	w.t.Helper()
	for _, ticket := range tickets {
		if r, ok := w.answers[ticket]; ok {
			w.t.Fatalf("request %d is answered already: %+v", ticket, r)
		}
	}
}

const (
	session   = 10 * time.Second
	rebalance = 30 * time.Second
)

// joining is a usual join of a consumer that subscribes to "orders".
func joining(group string, id MemberID) JoinRequest {
	return JoinRequest{
		Group: group, Member: id, ClientID: "c", ClientHost: "/127.0.0.1", ProtocolType: "consumer",
		Protocols:      []Protocol{{"range", subscription("orders")}, {"sticky", subscription("orders")}},
		SessionTimeout: session, RebalanceTimeout: rebalance,
	}
}

// subscription is a ConsumerProtocolSubscription v0.
func subscription(topics ...string) []byte {
	b := []byte{0, 0}
	b = binary.BigEndian.AppendUint32(b, uint32(len(topics)))
	for _, t := range topics {
		b = binary.BigEndian.AppendUint16(b, uint16(len(t)))
		b = append(b, t...)
	}
	return binary.BigEndian.AppendUint32(b, 0xffffffff)
}

func (w *world) join(r JoinRequest) int {
	ticket := w.ticket()
	w.step(Join{Ticket: ticket, JoinRequest: r})
	return ticket
}

func (w *world) sync1(group string, j JoinResponse, assignments map[MemberID][]byte) int {
	ticket := w.ticket()
	w.step(Sync{Ticket: ticket, SyncRequest: SyncRequest{Group: group, Member: j.Member, Generation: j.Generation, Assignments: assignments}})
	return ticket
}

func (w *world) heartbeat(group string, id MemberID, g Generation) error {
	w.t.Helper()
	ticket := w.ticket()
	w.step(Heartbeat{Ticket: ticket, HeartbeatRequest: HeartbeatRequest{Group: group, Member: id, Generation: g}})
	return must[HeartbeatResponse](w, ticket).Err
}

func (w *world) leave(group string, leavers ...Leaver) []error {
	w.t.Helper()
	ticket := w.ticket()
	w.step(Leave{Ticket: ticket, LeaveRequest: LeaveRequest{Group: group, Members: leavers}})
	r := must[LeaveResponse](w, ticket)
	if r.Err != nil {
		w.t.Fatalf("leave: %v", r.Err)
	}
	return r.Members
}

func (w *world) commit(group string, id MemberID, g Generation, offsets ...any) int {
	r := CommitRequest{Group: group, Member: id, Generation: g, Offsets: make(map[TopicPartition]Committed)}
	for i := 0; i < len(offsets); i += 2 {
		r.Offsets[offsets[i].(TopicPartition)] = Committed{Offset: int64(offsets[i+1].(int)), LeaderEpoch: -1}
	}
	ticket := w.ticket()
	w.step(Commit{Ticket: ticket, CommitRequest: r})
	return ticket
}

func tp(topic string, partition int32) TopicPartition { return TopicPartition{topic, partition} }

// stableGroup makes a stable group of n members, each assigned its own number, and returns their joins, leader first.
func (w *world) stableGroup(group string, n int) []JoinResponse {
	w.t.Helper()
	var ids []MemberID
	for range n {
		r := joining(group, "")
		r.RequireKnownMember = true
		ids = append(ids, must[JoinResponse](w, w.join(r)).Member)
	}
	return w.regenerate(group, ids...)
}

// regenerate lets members join and sync.
func (w *world) regenerate(group string, ids ...MemberID) []JoinResponse {
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

func want(t testing.TB, what string, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Fatalf("%s: %v, want %v", what, err, target)
	}
}

func wantState(t testing.TB, w *world, group, state string) {
	t.Helper()
	if s := w.c.Describe(group).State; s != state {
		t.Fatalf("group %q is %s, want %s", group, s, state)
	}
}

func equal(t testing.TB, what string, got, want any) {
	t.Helper()
	if g, w := fmt.Sprintf("%+v", got), fmt.Sprintf("%+v", want); g != w {
		t.Fatalf("%s:\n got %s\nwant %s", what, g, w)
	}
}
