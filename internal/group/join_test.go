package group_test

import (
	"testing"
	"time"

	. "tidings.dev/internal/group"
)

func TestOneMemberAlone(t *testing.T) {
	w := newFakeEngine(t, Options{})
	// Case: an old client (no MEMBER_ID_REQUIRED) is a member and leader at once, in generation 1.
	j := must[JoinResponse](w, w.join(joining("g", "")))
	equal(t, "join", []any{j.Err, j.Generation, j.Protocol, j.Leader, len(j.Members)}, []any{nil, 1, "range", j.Member, 1})
	wantState(t, w, "g", "CompletingRebalance")

	// Case: the assignment is given out only when it is durable.
	w.hold = true
	s := w.sync1("g", j, map[MemberID][]byte{j.Member: []byte("all")})
	w.wantWaiting(s)
	wantState(t, w, "g", "CompletingRebalance")
	w.sync(nil)
	equal(t, "sync", must[SyncResponse](w, s), SyncResponse{ProtocolType: "consumer", Protocol: "range", Assignment: []byte("all")})
	wantState(t, w, "g", "Stable")

	// Case: it leaves, and the group is empty at once.
	equal(t, "leave", w.leave("g", LeavingMember{Member: j.Member}), []error{nil})
	wantState(t, w, "g", "Empty")
	want(t, "heartbeat after leaving", w.heartbeat("g", j.Member, 1), ErrUnknownMember)
}

func TestTwoMembersRebalance(t *testing.T) {
	w := newFakeEngine(t, Options{})
	a := w.stableGroup("g", 1)[0]
	// Case: a second member joins. The first is told by the reply to its heartbeat, and joins again.
	jb := w.join(joining("g", ""))
	w.wantWaiting(jb)
	want(t, "heartbeat", w.heartbeat("g", a.Member, 1), ErrRebalanceInProgress)
	// The first member may still commit positions of its partitions.
	want(t, "commit while preparing", must[CommitResponse](w, w.commit("g", a.Member, 1, tp("orders", 0), 5)).Err, nil)
	ja := must[JoinResponse](w, w.join(joining("g", a.Member)))
	b := must[JoinResponse](w, jb)
	equal(t, "generations", []Generation{ja.Generation, b.Generation}, []Generation{2, 2})
	equal(t, "leader stays", []any{b.Leader, len(ja.Members), len(b.Members)}, []any{ja.Member, 2, 0})

	// Case: a commit while the partitions change hands is refused.
	want(t, "commit", must[CommitResponse](w, w.commit("g", a.Member, 2, tp("orders", 0), 6)).Err, ErrRebalanceInProgress)
	// Case: the follower's sync waits for the leader's.
	sb := w.sync1("g", b, nil)
	w.wantWaiting(sb)
	sa := w.sync1("g", ja, map[MemberID][]byte{ja.Member: {0}, b.Member: {1}})
	equal(t, "assignments", [][]byte{must[SyncResponse](w, sa).Assignment, must[SyncResponse](w, sb).Assignment}, [][]byte{{0}, {1}})

	// Case: requests of the old generation are refused.
	want(t, "heartbeat", w.heartbeat("g", a.Member, 1), ErrIllegalGeneration)
	want(t, "commit", must[CommitResponse](w, w.commit("g", a.Member, 1, tp("orders", 0), 6)).Err, ErrIllegalGeneration)
	want(t, "sync", must[SyncResponse](w, w.sync1("g", a, nil)).Err, ErrIllegalGeneration)
	// Case: a follower that did not get its answer joins again and gets the same generation; the leader starts another.
	equal(t, "same generation", must[JoinResponse](w, w.join(joining("g", b.Member))).Generation, 2)
	wantState(t, w, "g", "Stable")
	w.join(joining("g", ja.Member))
	wantState(t, w, "g", "PreparingRebalance")
}

func TestMemberIDRequired(t *testing.T) {
	w := newFakeEngine(t, Options{})
	r := joining("g", "")
	r.RequireKnownMember = true
	first := must[JoinResponse](w, w.join(r))
	want(t, "first join", first.Err, ErrMemberIDRequired)
	second := must[JoinResponse](w, w.join(r))
	// Case: the group waits for the client that was sent an id, but not for ever.
	ja := w.join(joining("g", first.Member))
	w.wantWaiting(ja)
	w.advance(session)
	equal(t, "members", len(must[JoinResponse](w, ja).Members), 1)
	want(t, "too late", must[JoinResponse](w, w.join(joining("g", second.Member))).Err, ErrUnknownMember)
	// Case: a client that leaves with its pending id is not waited for.
	third := must[JoinResponse](w, w.join(r))
	ja = w.join(joining("g", first.Member))
	w.wantWaiting() // first is leader of a completing generation: it may rejoin
	equal(t, "leave", w.leave("g", LeavingMember{Member: third.Member}), []error{nil})
	must[JoinResponse](w, ja)
	// Case: an id that was never given.
	want(t, "made up id", must[JoinResponse](w, w.join(joining("g", "x"))).Err, ErrUnknownMember)
	want(t, "made up group", must[JoinResponse](w, w.join(joining("other", "x"))).Err, ErrUnknownMember)
	equal(t, "no group came of it", len(w.c.List()), 1)
}

func TestJoinIsRefused(t *testing.T) {
	w := newFakeEngine(t, Options{MaxGroupSize: 2})
	for _, c := range []struct {
		name string
		edit func(*JoinRequest)
		want error
	}{
		{"no group id", func(r *JoinRequest) { r.Group = "" }, ErrInvalidGroup},
		{"session too short", func(r *JoinRequest) { r.SessionTimeout = time.Second }, ErrInvalidSessionTimeout},
		{"session too long", func(r *JoinRequest) { r.SessionTimeout = time.Hour }, ErrInvalidSessionTimeout},
		{"no protocol type", func(r *JoinRequest) { r.ProtocolType = "" }, ErrInconsistentProtocol},
		{"no protocols", func(r *JoinRequest) { r.Protocols = nil }, ErrInconsistentProtocol},
	} {
		r := joining("refused", "")
		c.edit(&r)
		want(t, c.name, must[JoinResponse](w, w.join(r)).Err, c.want)
	}
	equal(t, "groups that came of it", len(w.c.List()), 0)
	if _, ok := w.c.NextDeadline(); ok {
		t.Fatal("a timer is left behind by refused joins")
	}

	w.stableGroup("g", 2)
	r := joining("g", "")
	want(t, "third of two", must[JoinResponse](w, w.join(r)).Err, ErrGroupFull)
	w.stableGroup("h", 1)
	r = joining("h", "")
	r.Protocols = []Protocol{{"other", nil}}
	want(t, "nothing in common", must[JoinResponse](w, w.join(r)).Err, ErrInconsistentProtocol)
	r.ProtocolType, r.Protocols = "connect", joining("h", "").Protocols
	want(t, "another type", must[JoinResponse](w, w.join(r)).Err, ErrInconsistentProtocol)
	wantState(t, w, "h", "Stable")
}

func TestProtocolByVote(t *testing.T) {
	w := newFakeEngine(t, Options{})
	join := func(id MemberID, names ...string) int {
		r := joining("g", id)
		r.Protocols = nil
		for _, n := range names {
			r.Protocols = append(r.Protocols, Protocol{n, []byte(n)})
		}
		return w.join(r)
	}
	a := must[JoinResponse](w, join("", "eager", "sticky", "range"))
	jb := join("", "range", "sticky")
	jc := join("", "range", "sticky")
	a2 := must[JoinResponse](w, join(a.Member, "eager", "sticky", "range"))
	// Case: eager is not everyone's; two votes for range, one for sticky; metadata is that of the winner.
	equal(t, "protocol", []string{a2.Protocol, must[JoinResponse](w, jb).Protocol, must[JoinResponse](w, jc).Protocol}, []string{"range", "range", "range"})
	equal(t, "metadata", string(a2.Members[1].Metadata), "range")
}

func TestSilentMembers(t *testing.T) {
	w := newFakeEngine(t, Options{})
	joins := w.stableGroup("g", 3)
	a, b, c := joins[0].Member, joins[1].Member, joins[2].Member
	// Case: c is silent for a session; the others' heartbeats tell them to join again, and c is out.
	for range 3 {
		w.advance(4 * time.Second)
		w.heartbeat("g", a, 1)
		w.heartbeat("g", b, 1)
	}
	want(t, "heartbeat", w.heartbeat("g", a, 1), ErrRebalanceInProgress)
	want(t, "silent member", w.heartbeat("g", c, 1), ErrUnknownMember)
	joins = w.regenerate("g", a, b)
	equal(t, "members", len(joins[0].Members), 2)

	// Case: a rebalance that b sleeps through, but for heartbeats, goes on without it after the rebalance timeout; so long the
	// waiting member's own session does not run.
	ja := w.join(joining("g", a))
	for range 8 {
		w.wantWaiting(ja)
		w.heartbeat("g", b, 2)
		w.advance(rebalance / 8)
	}
	equal(t, "members", len(must[JoinResponse](w, ja).Members), 1)
	want(t, "b's heartbeat", w.heartbeat("g", b, 2), ErrUnknownMember)

	// Case: a member that joins and never syncs is out after the rebalance timeout, heartbeats or not.
	j := must[JoinResponse](w, ja)
	for range 8 {
		want(t, "heartbeat", w.heartbeat("g", a, j.Generation), nil)
		w.advance(rebalance / 8)
	}
	wantState(t, w, "g", "Empty")

	// Case: a new member's connection is lost while it waits for its generation. The member is removed after a while.
	w = newFakeEngine(t, Options{})
	r := joining("g", "")
	r.RequireKnownMember = true
	r.RebalanceTimeout = time.Hour
	pending := must[JoinResponse](w, w.join(r)).Member
	r.RequireKnownMember, r.SessionTimeout = false, 20*time.Minute
	w.join(r)
	wantState(t, w, "g", "PreparingRebalance")
	r.Member, r.SessionTimeout = pending, session
	must[JoinResponse](w, w.join(r))
}

func TestInitialRebalanceDelay(t *testing.T) {
	w := newFakeEngine(t, Options{InitialRebalanceDelay: 3 * time.Second})
	a := w.join(joining("g", ""))
	w.advance(2 * time.Second)
	b := w.join(joining("g", ""))
	w.advance(2 * time.Second)
	// Case: the delay began anew with b.
	w.wantWaiting(a, b)
	w.advance(time.Second)
	w.wantWaiting(a, b)
	w.advance(time.Second)
	equal(t, "members", len(must[JoinResponse](w, a).Members), 2)
	must[JoinResponse](w, b)

	// Case: a stream of joiners cannot extend it past the rebalance timeout.
	tickets := []int{w.join(joining("h", ""))}
	for range 14 {
		w.advance(2 * time.Second)
		w.wantWaiting(tickets...)
		tickets = append(tickets, w.join(joining("h", "")))
	}
	w.advance(2 * time.Second)
	equal(t, "members", len(must[JoinResponse](w, tickets[0]).Members), 15)
}

func TestRebalanceDuringSync(t *testing.T) {
	w := newFakeEngine(t, Options{})
	a := w.stableGroup("g", 1)[0]
	jb := w.join(joining("g", ""))
	a2 := must[JoinResponse](w, w.join(joining("g", a.Member)))
	b := must[JoinResponse](w, jb)
	// Case: the leader's assignment is on its way to the disk when a third member comes: the assignment is never given out.
	w.hold = true
	sa := w.sync1("g", a2, map[MemberID][]byte{})
	sb := w.sync1("g", b, nil)
	jc := w.join(joining("g", ""))
	want(t, "leader's sync", must[SyncResponse](w, sa).Err, ErrRebalanceInProgress)
	want(t, "follower's sync", must[SyncResponse](w, sb).Err, ErrRebalanceInProgress)
	w.sync(nil)
	wantState(t, w, "g", "PreparingRebalance")
	w.hold = false
	w.join(joining("g", a.Member))
	w.join(joining("g", b.Member))
	equal(t, "generation", must[JoinResponse](w, jc).Generation, 3)

	// Case: the log is fenced while the assignment is on its way: the sync is told why.
	w = newFakeEngine(t, Options{})
	j := must[JoinResponse](w, w.join(joining("g", "")))
	w.hold = true
	s := w.sync1("g", j, nil)
	broken := ErrCorruptRecord // any error will do
	w.sync(broken)
	want(t, "sync", must[SyncResponse](w, s).Err, broken)
	wantState(t, w, "g", "CompletingRebalance")
}

func TestDescribeAndList(t *testing.T) {
	w := newFakeEngine(t, Options{})
	joins := w.stableGroup("b", 2)
	w.commit("a", "", -1, tp("orders", 0), 1)
	equal(t, "list", w.c.List(), []Description{{Group: "a", State: "Empty"}, {Group: "b", State: "Stable", ProtocolType: "consumer"}})
	d := w.c.Describe("b")
	equal(t, "described", []any{d.Protocol, len(d.Members), d.Members[0].Member, d.Members[1].Assignment, d.Members[0].ClientID},
		[]any{"range", 2, joins[0].Member, []byte{1}, "c"})
	equal(t, "nobody", w.c.Describe("nobody"), Description{Group: "nobody", State: "Dead"})
}
