package group_test

import (
	"testing"

	. "tidings.dev/internal/group"
)

// static returns the JoinRequest of a static member.
func static(group, instance string) JoinRequest {
	r := joining(group, "")
	r.InstanceID = &instance
	r.RequireKnownMember = true
	return r
}

// instance returns a pointer to s.
func instance(s string) *string { return &s }

// twoStatic forms a stable group "g" of the static members a, the leader, and b.
func twoStatic(w *fakeEngine) (a, b JoinResponse) {
	w.t.Helper()
	a = must[JoinResponse](w, w.join(static("g", "a")))
	jb := w.join(static("g", "b"))
	again := static("g", "a")
	again.Member = a.Member
	a = must[JoinResponse](w, w.join(again))
	b = must[JoinResponse](w, jb)
	w.sync1("g", a, map[MemberID][]byte{a.Member: {0}, b.Member: {1}})
	w.sync1("g", b, nil)
	return a, b
}

// TestStaticMemberRestarts checks static membership (KIP-345): a member that restarts within its session timeout takes
// its place again without a rebalance.
func TestStaticMemberRestarts(t *testing.T) {
	w := newFakeEngine(t, Options{})
	a, b := twoStatic(w)

	// Case: a follower restarts. It gets a new id and its old assignment, once the id is durable.
	w.hold = true
	ticket := w.join(static("g", "b"))
	w.wantWaiting(ticket)
	w.sync(nil)
	w.hold = false
	b2 := must[JoinResponse](w, ticket)
	equal(t, "joined", []any{b2.Err, b2.Generation, b2.Leader, len(b2.Members)}, []any{nil, 2, a.Member, 0})
	if b2.Member == b.Member {
		t.Fatal("it kept its member id: a zombie could not be told from it")
	}
	equal(t, "assignment", must[SyncResponse](w, w.sync1("g", b2, nil)).Assignment, []byte{1})
	wantState(t, w, "g", "Stable")

	// Case: a client that still uses the old id is fenced.
	beat := w.ticket()
	w.step(Heartbeat{beat, HeartbeatRequest{Group: "g", Member: b.Member, InstanceID: instance("b"), Generation: 2}})
	want(t, "zombie's heartbeat", must[HeartbeatResponse](w, beat).Err, ErrFencedInstance)
	commit := w.ticket()
	w.step(Commit{commit, CommitRequest{Group: "g", Member: b.Member, InstanceID: instance("b"), Generation: 2}})
	want(t, "zombie's commit", must[CommitResponse](w, commit).Err, ErrFencedInstance)
	equal(t, "zombie's leave", w.leave("g", LeavingMember{b.Member, instance("b")}), []error{ErrFencedInstance})
	zombie := static("g", "b")
	zombie.Member = b.Member
	want(t, "zombie's join", must[JoinResponse](w, w.join(zombie)).Err, ErrFencedInstance)

	// Case: the leader restarts with an old client: it is not told that it leads, or it would assign again.
	a2 := must[JoinResponse](w, w.join(static("g", "a")))
	equal(t, "old client", []any{a2.Leader, len(a2.Members), a2.SkipAssignment}, []any{a.Member, 0, false})
	// Case: with a new client (KIP-814) it is, and told to skip.
	r := static("g", "a")
	r.CanSkipAssignment = true
	a3 := must[JoinResponse](w, w.join(r))
	equal(t, "new client", []any{a3.Leader, len(a3.Members), a3.SkipAssignment}, []any{a3.Member, 2, true})
	equal(t, "assignment", must[SyncResponse](w, w.sync1("g", a3, nil)).Assignment, []byte{0})
	equal(t, "generation", a3.Generation, 2)

	// Case: one that restarts with other protocols makes the group choose again.
	r = static("g", "b")
	r.Protocols = r.Protocols[1:]
	ticket = w.join(r)
	w.wantWaiting(ticket)
	wantState(t, w, "g", "PreparingRebalance")
}

func TestStaticMemberIsFencedWhileItWaits(t *testing.T) {
	w := newFakeEngine(t, Options{})
	a, _ := twoStatic(w)
	// Case: two processes with one instance id; the first waits for a rebalance when the second comes.
	w.join(joining("g", "")) // a dynamic member starts a rebalance; static and dynamic ones mix (trap 16)
	first := w.join(static("g", "b"))
	w.wantWaiting(first)
	second := w.join(static("g", "b"))
	want(t, "first", must[JoinResponse](w, first).Err, ErrFencedInstance)
	again := static("g", "a")
	again.Member = a.Member
	j := must[JoinResponse](w, w.join(again))
	equal(t, "members", []any{j.Err, len(j.Members)}, []any{nil, 3})
	want(t, "second", must[JoinResponse](w, second).Err, nil)
}

func TestAbsentStaticMemberKeepsItsPlace(t *testing.T) {
	w := newFakeEngine(t, Options{})
	a, b := twoStatic(w)
	// Case: a rebalance that b misses goes on with b in it, for its session may be longer than the rebalance.
	r := static("g", "a")
	r.Member, r.SessionTimeout, r.RebalanceTimeout = a.Member, session, session/2
	ticket := w.join(r)
	for range 12 {
		w.advance(rebalance / 12)
		beat := w.ticket()
		w.step(Heartbeat{beat, HeartbeatRequest{Group: "g", Member: b.Member, InstanceID: instance("b"), Generation: 2}})
	}
	j := must[JoinResponse](w, ticket)
	equal(t, "members", []any{len(j.Members), *j.Members[1].InstanceID}, []any{2, "b"})
	// Case: an administrator takes it out by its instance id alone.
	equal(t, "leave", w.leave("g", LeavingMember{InstanceID: instance("b")}, LeavingMember{InstanceID: instance("nobody")}), []error{nil, ErrUnknownMember})
	// Case: when only static members are left and none joins, the group waits for their sessions to end.
	w.advance(2 * rebalance)
	wantState(t, w, "g", "Empty")
}

func TestStaticMemberRestartsIntoARebalance(t *testing.T) {
	w := newFakeEngine(t, Options{})
	a, _ := twoStatic(w)
	// Case: b's new id is on its way to the disk when a third member starts a rebalance: b takes part in that, and is answered
	// once, by it.
	w.hold = true
	ticket := w.join(static("g", "b"))
	third := w.join(joining("g", ""))
	w.sync(nil)
	w.wantWaiting(ticket, third)
	again := static("g", "a")
	again.Member = a.Member
	must[JoinResponse](w, w.join(again))
	equal(t, "generation", must[JoinResponse](w, ticket).Generation, 3)

	// Case: the log is fenced instead: b is told why.
	w = newFakeEngine(t, Options{})
	twoStatic(w)
	w.hold = true
	ticket = w.join(static("g", "b"))
	w.sync(ErrCorruptRecord) // any error will do
	want(t, "join", must[JoinResponse](w, ticket).Err, ErrCorruptRecord)
}
