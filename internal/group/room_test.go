package group_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	. "tidings.dev/internal/group"
)

// checkSizes fails the test unless the memory that the coordinator has counted is that of its groups.
func checkSizes(w *fakeEngine) {
	w.t.Helper()
	if m, p, wantM, wantP := w.c.Sizes(); m != wantM || p != wantP {
		w.t.Fatalf("%d bytes of members and %d of positions are counted; it are %d and %d", m, p, wantM, wantP)
	}
}

// Clients join with large metadata until they are refused. Small members must still be
// accepted, members that there are may join again, and when members leave there is room again.
func TestMembersHaveBoundedMemory(t *testing.T) {
	w := newFakeEngine(t, Options{MaxMemberBytes: 1 << 20})
	join := func(group string, member MemberID, metadataBytes int) JoinResponse {
		w.tickets++
		w.step(Join{Ticket: w.tickets, JoinRequest: JoinRequest{Group: group, Member: member, ClientID: "c", ProtocolType: "consumer",
			Protocols:      []Protocol{{Name: "range", Metadata: make([]byte, metadataBytes)}},
			SessionTimeout: 10 * time.Second, RebalanceTimeout: 10 * time.Second}})
		checkSizes(w)
		return w.answers[w.tickets].(JoinResponse)
	}
	var members []MemberID
	var refused error
	for n := 0; refused == nil; n++ {
		r := join(fmt.Sprint("large-", n), "", 50_000)
		if refused = r.Err; refused == nil {
			members = append(members, r.Member)
		}
		if n > 100 {
			t.Fatal("there is no bound")
		}
	}
	if !errors.Is(refused, ErrGroupFull) || len(members) != 5 { // 100 KB each, of half a MiB
		t.Errorf("%d members, then %v", len(members), refused)
	}
	for n := range 20 {
		if r := join(fmt.Sprint("small-", n), "", 1000); r.Err != nil {
			t.Errorf("a small member: %v", r.Err)
		}
	}
	if r := join("large-0", members[0], 50_000); r.Err != nil {
		t.Errorf("a member that joins again: %v", r.Err)
	}
	if r := join("large-0", members[0], 100_000); !errors.Is(r.Err, ErrGroupFull) {
		t.Errorf("a member that grows: %v", r.Err)
	}
	w.tickets++
	w.step(Sync{Ticket: w.tickets, SyncRequest: SyncRequest{Group: "large-1", Member: members[1], Generation: 1,
		Assignments: map[MemberID][]byte{members[1]: make([]byte, 500_000)}}})
	if r := w.answers[w.tickets].(SyncResponse); !errors.Is(r.Err, ErrGroupFull) {
		t.Errorf("a large assignment: %v", r.Err)
	}
	for n := 2; n < 4; n++ {
		w.tickets++
		w.step(Leave{Ticket: w.tickets, LeaveRequest: LeaveRequest{Group: fmt.Sprint("large-", n), Members: []LeavingMember{{Member: members[n]}}}})
		checkSizes(w)
	}
	if r := join("another", "", 50_000); r.Err != nil {
		t.Errorf("after a member has left: %v", r.Err)
	}
	w.now = w.now.Add(24 * time.Hour)
	for range 5 {
		w.step(Tick{})
		w.now = w.now.Add(24 * time.Hour)
	}
	if m, _, _, _ := w.c.Sizes(); m != 0 {
		t.Errorf("%d bytes of members are counted when all have gone", m)
	}
}

// TestPositionsHaveBoundedMemory commits positions with metadata until they are refused. Groups that have a position may
// commit it again, and a deleted group makes room.
func TestPositionsHaveBoundedMemory(t *testing.T) {
	w := newFakeEngine(t, Options{MaxPositionBytes: 100_000})
	tp := TopicPartition{Topic: "orders"}
	commit := func(group string, offset int64, metadataBytes int) error {
		w.tickets++
		w.step(Commit{Ticket: w.tickets, CommitRequest: CommitRequest{Group: group, Generation: -1,
			Offsets: map[TopicPartition]Committed{tp: {Offset: offset, Metadata: strings.Repeat("m", metadataBytes)}}}})
		checkSizes(w)
		r := w.answers[w.tickets].(CommitResponse)
		if r.Err != nil {
			return r.Err
		}
		return r.Partitions[tp]
	}
	n := 0
	var refused error
	for ; refused == nil && n < 1000; n++ {
		refused = commit(fmt.Sprint("g", n), 1, 4000)
	}
	if !errors.Is(refused, ErrNoRoom) || n < 15 || n > 30 {
		t.Errorf("%d groups, then %v", n, refused)
	}
	if err := commit("g0", 2, 4000); err != nil {
		t.Errorf("a position that there is: %v", err)
	}
	if err := commit("g0", 3, 10); err != nil {
		t.Errorf("with less metadata: %v", err)
	}
	w.tickets++
	w.step(DeleteGroup{Ticket: w.tickets, Group: "g1"})
	checkSizes(w)
	if err := commit("new", 1, 3000); err != nil {
		t.Errorf("after a group was deleted: %v", err)
	}
	w.step(TopicDeleted{Topic: "orders"})
	checkSizes(w)
	if _, p, _, _ := w.c.Sizes(); p != 0 {
		t.Errorf("%d bytes of positions are counted of a topic that is deleted", p)
	}
}

// Clients join one group until they are refused, long before all groups together have what they may. Other groups, and the
// members of this one, are not concerned.
func TestOneGroupHasBoundedMemory(t *testing.T) {
	w := newFakeEngine(t, Options{MaxMemberBytes: 8 << 20, MaxGroupBytes: 1 << 20})
	join := func(group string, member MemberID) JoinResponse {
		w.tickets++
		w.step(Join{Ticket: w.tickets, JoinRequest: JoinRequest{Group: group, Member: member, ClientID: "c", ProtocolType: "consumer",
			Protocols:      []Protocol{{Name: "range", Metadata: make([]byte, 10_000)}},
			SessionTimeout: 10 * time.Second, RebalanceTimeout: 10 * time.Second}})
		checkSizes(w)
		r, _ := w.answers[w.tickets].(JoinResponse) // the zero value if it waits for the first member to join again
		return r
	}
	first := join("one", "").Member
	accepted := 1
	for ; join("one", "").Err == nil; accepted++ {
		if accepted > 100 {
			t.Fatal("there is no bound")
		}
	}
	if accepted != 50 { // 20 KB each
		t.Errorf("%d members were accepted", accepted)
	}
	if r := join("another", ""); r.Err != nil {
		t.Errorf("a member of another group: %v", r.Err)
	}
	if r := join("one", first); r.Err != nil || len(r.Members) != accepted {
		t.Errorf("a member that joins again: %v, with %d members", r.Err, len(r.Members))
	}
}
