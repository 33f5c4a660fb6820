package group_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	. "tidings.dev/internal/group"
)

// offset returns the durable offset of a group in a partition.
func offset(w *fakeEngine, group string, p TopicPartition) int64 {
	o, ok := w.c.FetchOffsets(group, nil)[p]
	if !ok {
		return -1
	}
	return o.Offset
}

func TestCommitIsVisibleWhenDurable(t *testing.T) {
	w := newFakeEngine(t, Options{})
	p := tp("orders", 0)
	must[CommitResponse](w, w.commit("g", "", -1, p, 1))
	w.hold = true
	second := w.commit("g", "", -1, p, 2)
	third := w.commit("g", "", -1, p, 3)
	// Case: until then it is neither answered nor read nor in a snapshot.
	w.wantWaiting(second, third)
	equal(t, "offset", offset(w, "g", p), 1)
	before := w.c.Snapshot()
	w.syncOne(nil)
	equal(t, "answer", must[CommitResponse](w, second), CommitResponse{Partitions: map[TopicPartition]error{p: nil}})
	w.wantWaiting(third)
	equal(t, "offset", offset(w, "g", p), 2)
	// Case: a power cut takes back what was not durable, and nothing else.
	w.crash()
	equal(t, "offset after a crash", offset(w, "g", p), 2)
	old := New(Options{})
	if err := old.Load(before); err != nil {
		t.Fatal(err)
	}
	equal(t, "offset in the snapshot", old.FetchOffsets("g", []TopicPartition{p, tp("orders", 1)})[p].Offset, 1)
	// Case: a fenced log: the whole commit is told why, and nothing changes.
	fourth := w.commit("g", "", -1, p, 4)
	w.sync(ErrCorruptRecord)
	want(t, "commit", must[CommitResponse](w, fourth).Err, ErrCorruptRecord)
	equal(t, "offset", offset(w, "g", p), 2)
}

func TestWhoMayCommit(t *testing.T) {
	w := newFakeEngine(t, Options{})
	p := tp("orders", 0)
	want(t, "of a generation of nothing", must[CommitResponse](w, w.commit("g", "m", 3, p, 1)).Err, ErrIllegalGeneration)
	j := w.stableGroup("g", 1)[0]
	want(t, "plain, in a group with members", must[CommitResponse](w, w.commit("g", "", -1, p, 1)).Err, ErrUnknownMember)
	want(t, "stranger", must[CommitResponse](w, w.commit("g", "x", 1, p, 1)).Err, ErrUnknownMember)
	want(t, "member", must[CommitResponse](w, w.commit("g", j.Member, 1, p, 1)).Err, nil)
	// Case: commits are signs of life.
	for i := range 10 {
		w.advance(session / 2)
		want(t, "member", must[CommitResponse](w, w.commit("g", j.Member, 1, p, 2+i)).Err, nil)
	}
	w.leave("g", LeavingMember{Member: j.Member})
	want(t, "after leaving", must[CommitResponse](w, w.commit("g", j.Member, 1, p, 1)).Err, ErrUnknownMember)
	want(t, "plain, when empty", must[CommitResponse](w, w.commit("g", "", -1, p, 100)).Err, nil)
	equal(t, "offset", offset(w, "g", p), 100)
}

func TestCommitMetadata(t *testing.T) {
	w := newFakeEngine(t, Options{})
	ticket := w.ticket()
	w.step(Commit{ticket, CommitRequest{Group: "g", Generation: -1, Offsets: map[TopicPartition]Committed{
		tp("a", 0): {Offset: 1, LeaderEpoch: 7, Metadata: strings.Repeat("x", 4096)},
		tp("a", 1): {Offset: 2, Metadata: strings.Repeat("x", 4097)},
	}}})
	r := must[CommitResponse](w, ticket)
	want(t, "as long as allowed", r.Partitions[tp("a", 0)], nil)
	want(t, "too long", r.Partitions[tp("a", 1)], ErrOffsetMetadataTooLarge)
	// Case: metadata and epoch round-trip, also over a restart (trap 15).
	w.crash()
	got := w.c.FetchOffsets("g", nil)
	equal(t, "offsets", got, map[TopicPartition]Committed{tp("a", 0): {1, 7, strings.Repeat("x", 4096), w.now.Local()}})
}

func TestOffsetsOfEmptyGroupsExpire(t *testing.T) {
	day := 24 * time.Hour
	w := newFakeEngine(t, Options{})
	j := w.stableGroup("g", 1)[0]
	must[CommitResponse](w, w.commit("g", j.Member, 1, tp("orders", 0), 1, tp("unheard", 0), 1))
	must[CommitResponse](w, w.commit("plain", "", -1, tp("orders", 0), 1))
	beats := func(d time.Duration) {
		for range int(d / (session / 2)) {
			w.advance(session / 2)
			want(t, "heartbeat", w.heartbeat("g", j.Member, 1), nil)
		}
	}
	beats(6 * day)
	must[CommitResponse](w, w.commit("plain", "", -1, tp("orders", 1), 1))
	// Case: seven days after the commit, offsets in use stay. Offsets of topics that no member subscribes to are
	// removed, and so are those of a group that never had members.
	beats(day + time.Minute)
	equal(t, "offsets", []int64{offset(w, "g", tp("orders", 0)), offset(w, "g", tp("unheard", 0)), offset(w, "plain", tp("orders", 0)), offset(w, "plain", tp("orders", 1))},
		[]int64{1, -1, -1, 1})
	// Case: retention begins when the group becomes empty (trap 15), and a restart does not begin it anew.
	w.leave("g", LeavingMember{Member: j.Member})
	w.advance(4 * day)
	w.crash()
	w.advance(3*day - time.Second)
	equal(t, "offset", offset(w, "g", tp("orders", 0)), 1)
	w.advance(2 * time.Second)
	equal(t, "offset", offset(w, "g", tp("orders", 0)), -1)
	// Case: of groups with no member and no offset nothing is left, not even a timer.
	w.crash()
	equal(t, "groups", w.c.List(), []Description{})
	if at, ok := w.c.NextDeadline(); ok {
		t.Fatalf("a deadline is left: %v", at)
	}
}

func TestExpiryDoesNotTakeACommitUnderWay(t *testing.T) {
	w := newFakeEngine(t, Options{OffsetRetention: time.Hour})
	p := tp("orders", 0)
	must[CommitResponse](w, w.commit("g", "", -1, p, 1))
	w.advance(time.Hour - time.Second)
	w.hold = true
	ticket := w.commit("g", "", -1, p, 2)
	w.advance(time.Minute)
	w.hold = false
	w.sync(nil)
	must[CommitResponse](w, ticket)
	w.advance(time.Minute)
	equal(t, "offset", offset(w, "g", p), 2)
}

func TestNothingExpiresWhenKeptForEver(t *testing.T) {
	w := newFakeEngine(t, Options{OffsetRetention: -1})
	must[CommitResponse](w, w.commit("g", "", -1, tp("orders", 0), 1))
	w.advance(10 * 365 * 24 * time.Hour)
	equal(t, "offset", offset(w, "g", tp("orders", 0)), 1)
}

func TestDeleteGroup(t *testing.T) {
	w := newFakeEngine(t, Options{})
	del := func(group string) int {
		ticket := w.ticket()
		w.step(DeleteGroup{ticket, group})
		return ticket
	}
	want(t, "unknown", must[DeleteGroupResponse](w, del("g")).Err, ErrGroupNotFound)
	j := w.stableGroup("g", 1)[0]
	must[CommitResponse](w, w.commit("g", j.Member, 1, tp("orders", 0), 1))
	want(t, "with members", must[DeleteGroupResponse](w, del("g")).Err, ErrGroupNotEmpty)
	w.leave("g", LeavingMember{Member: j.Member})
	w.hold = true
	ticket := del("g")
	w.wantWaiting(ticket)
	// Case: a client commits before the deletion is durable. In the journal the commit comes after the deletion, and
	// stays.
	commit := w.commit("g", "", -1, tp("orders", 1), 5)
	w.sync(nil)
	want(t, "deleted", must[DeleteGroupResponse](w, ticket).Err, nil)
	want(t, "commit", must[CommitResponse](w, commit).Err, nil)
	w.crash()
	equal(t, "offsets", []int64{offset(w, "g", tp("orders", 0)), offset(w, "g", tp("orders", 1))}, []int64{-1, 5})
}

func TestDeleteOffsets(t *testing.T) {
	w := newFakeEngine(t, Options{})
	del := func(group string, tps ...TopicPartition) DeleteOffsetsResponse {
		ticket := w.ticket()
		w.step(DeleteOffsets{ticket, group, tps})
		return must[DeleteOffsetsResponse](w, ticket)
	}
	want(t, "unknown", del("g", tp("orders", 0)).Err, ErrGroupNotFound)
	j := w.stableGroup("g", 1)[0]
	must[CommitResponse](w, w.commit("g", j.Member, 1, tp("orders", 0), 1, tp("old", 0), 1))
	r := del("g", tp("orders", 0), tp("old", 0), tp("old", 0), tp("old", 9))
	want(t, "subscribed", r.Partitions[tp("orders", 0)], ErrSubscribedToTopic)
	want(t, "not subscribed", r.Partitions[tp("old", 0)], nil)
	equal(t, "offsets", []int64{offset(w, "g", tp("orders", 0)), offset(w, "g", tp("old", 0))}, []int64{1, -1})
	w.leave("g", LeavingMember{Member: j.Member})
	want(t, "subscribed once", del("g", tp("orders", 0)).Partitions[tp("orders", 0)], nil)
	equal(t, "offset", offset(w, "g", tp("orders", 0)), -1)
	// Case: the members are not consumers, so that it is not known what they subscribe to.
	other := joining("h", "")
	other.ProtocolType = "connect"
	must[JoinResponse](w, w.join(other))
	want(t, "other protocol", del("h", tp("orders", 0)).Err, ErrGroupNotEmpty)
}

func TestTopicDeleted(t *testing.T) {
	w := newFakeEngine(t, Options{})
	w.hold = true
	w.commit("g", "", -1, tp("gone", 0), 1, tp("stays", 0), 1)
	w.commit("h", "", -1, tp("gone", 0), 1)
	w.step(TopicDeleted{"gone"})
	after := w.commit("h", "", -1, tp("gone", 1), 1) // of the topic's successor
	w.sync(nil)
	must[CommitResponse](w, after)
	w.crash()
	equal(t, "offsets", []int64{offset(w, "g", tp("gone", 0)), offset(w, "g", tp("stays", 0)), offset(w, "h", tp("gone", 0)), offset(w, "h", tp("gone", 1))},
		[]int64{-1, 1, -1, 1})
}

// Case: the disk is full, and removals are refused like everything else. What is still there is shown, and may be removed
// later; a deleted topic's offsets are owed until then.
func TestRemovalsAreRefused(t *testing.T) {
	full := errors.New("the disk is full")
	w := newFakeEngine(t, Options{OffsetRetention: time.Hour})
	must[CommitResponse](w, w.commit("g", "", -1, tp("orders", 0), 5))
	must[CommitResponse](w, w.commit("h", "", -1, tp("gone", 0), 7))

	w.hold = true
	ticket := w.ticket()
	w.step(DeleteGroup{ticket, "g"})
	w.step(TopicDeleted{"gone"})
	w.sync(full)
	want(t, "delete", must[DeleteGroupResponse](w, ticket).Err, full)
	wantState(t, w, "g", "Empty")
	topics, err := w.c.PendingTopicRemovals()
	equal(t, "owed", topics, []string{"gone"})
	want(t, "owed", err, full)

	w.step(TopicDeleted{"gone"})
	w.sync(nil)
	if topics, err := w.c.PendingTopicRemovals(); topics != nil || err != nil {
		t.Errorf("still owed: %v, %v", topics, err)
	}
	equal(t, "offsets", []int64{offset(w, "g", tp("orders", 0)), offset(w, "h", tp("gone", 0))}, []int64{5, -1})

	// Case: it is time for the group's offsets to expire; that is tried again until it has room.
	w.advance(2 * time.Hour)
	if len(w.waiting) == 0 {
		t.Fatal("nothing expires")
	}
	w.sync(full)
	wantState(t, w, "g", "Empty")
	w.advance(10 * time.Second)
	w.sync(nil)
	wantState(t, w, "g", "Dead")
	equal(t, "offset", offset(w, "g", tp("orders", 0)), -1)
	w.crash()
	wantState(t, w, "g", "Dead")
}
