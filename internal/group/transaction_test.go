package group_test

import (
	"testing"
	"time"

	. "tidings.dev/internal/group"
)

// commitIn commits an offset in the transaction of a producer.
func (w *fakeEngine) commitIn(p Producer, r CommitRequest) CommitResponse {
	w.t.Helper()
	ticket := w.ticket()
	w.step(TransactionalCommit{Ticket: ticket, CommitRequest: r, Producer: p})
	return must[CommitResponse](w, ticket)
}

// undecided returns the producers with undecided offsets in a group.
func undecided(c *Coordinator, group string) (n int) {
	c.Undecided(func(_ Producer, g string) {
		if g == group {
			n++
		}
	})
	return n
}

// TestTransactionalCommit checks that an offset of a transaction counts once it has committed, over restarts and with a
// snapshot in between.
func TestTransactionalCommit(t *testing.T) {
	w := newFakeEngine(t, Options{})
	a, b := tp("orders", 0), tp("orders", 1)
	one := func(p TopicPartition, o int64) CommitRequest {
		return CommitRequest{Group: "g", Generation: -1, Offsets: map[TopicPartition]Committed{p: {Offset: o, Metadata: "m"}}}
	}
	p, q := Producer{ID: 7, Epoch: 1}, Producer{ID: 8}
	want(t, "plain", must[CommitResponse](w, w.commit("g", "", -1, a, 1)).Err, nil)
	for range 2 {
		want(t, "in a transaction", w.commitIn(p, one(a, 10)).Err, nil) // the second replaces the first
	}
	want(t, "in another", w.commitIn(q, one(b, 20)).Err, nil)
	for range 3 {
		equal(t, "offset", offset(w, "g", a), 1)
		equal(t, "offset", offset(w, "g", b), -1)
		equal(t, "unstable", w.c.Unstable("g"), map[TopicPartition]bool{a: true, b: true})
		equal(t, "producers", undecided(w.c, "g"), 2)
		w.crash()
		w.base, w.disk = w.c.Snapshot(), nil
	}
	w.step(EndTransaction{Producer: Producer{ID: 7}, Commit: true, Groups: []string{"g"}}) // of another epoch
	equal(t, "offset", offset(w, "g", a), 1)
	w.step(EndTransaction{Producer: p, Commit: true, Groups: []string{"g", "unknown"}})
	w.step(EndTransaction{Producer: q, Commit: false, Groups: []string{"g"}})
	for range 2 {
		equal(t, "offset", offset(w, "g", a), 10)
		equal(t, "offset", offset(w, "g", b), -1)
		equal(t, "unstable", len(w.c.Unstable("g")), 0)
		w.crash()
	}
	// Case: what is committed after it, without a transaction, stays.
	want(t, "in a transaction", w.commitIn(p, one(a, 30)).Err, nil)
	w.advance(time.Millisecond)
	want(t, "plain", must[CommitResponse](w, w.commit("g", "", -1, a, 40)).Err, nil)
	w.step(EndTransaction{Producer: p, Commit: true, Groups: []string{"g"}})
	equal(t, "offset", offset(w, "g", a), 40)
	// Case: a deleted topic takes undecided offsets along.
	want(t, "in a transaction", w.commitIn(p, one(a, 50)).Err, nil)
	w.step(TopicDeleted{Topic: "orders"})
	w.step(EndTransaction{Producer: p, Commit: true, Groups: []string{"g"}})
	equal(t, "offset", offset(w, "g", a), -1)
	// Case: an aborted transaction leaves nothing of a group that had nothing else, also no memory.
	w = newFakeEngine(t, Options{})
	want(t, "in a transaction", w.commitIn(p, one(a, 1)).Err, nil)
	w.step(EndTransaction{Producer: p, Commit: false, Groups: []string{"g"}})
	w.advance(time.Hour)
	equal(t, "groups", len(w.c.List()), 0)
	equal(t, "bytes", w.c.Bytes(), 0)
}

// TestWhoMayCommitInTransactions checks that members commit in their generation only, as they do without transactions,
// and that clients that are not members may commit while there are some, as in Apache Kafka.
func TestWhoMayCommitInTransactions(t *testing.T) {
	w := newFakeEngine(t, Options{})
	p := Producer{ID: 7}
	r := CommitRequest{Group: "g", Member: "m", Generation: 3, Offsets: map[TopicPartition]Committed{tp("orders", 0): {Offset: 1}}}
	want(t, "of a generation of nothing", w.commitIn(p, r).Err, ErrIllegalGeneration)
	j := w.stableGroup("g", 1)[0]
	want(t, "stranger", w.commitIn(p, r).Err, ErrUnknownMember)
	r.Member = j.Member
	want(t, "wrong generation", w.commitIn(p, r).Err, ErrIllegalGeneration)
	r.Generation = 1
	want(t, "member", w.commitIn(p, r).Err, nil)
	r.Member, r.Generation = "", -1
	want(t, "no member", w.commitIn(p, r).Err, nil)
}

// TestUndecidedOffsetsDoNotExpire keeps a group with nothing but undecided offsets for longer than its retention (trap
// 15).
func TestUndecidedOffsetsDoNotExpire(t *testing.T) {
	w := newFakeEngine(t, Options{OffsetRetention: time.Hour})
	a := tp("orders", 0)
	p := Producer{ID: 7}
	want(t, "plain", must[CommitResponse](w, w.commit("g", "", -1, a, 1)).Err, nil)
	r := CommitRequest{Group: "g", Generation: -1, Offsets: map[TopicPartition]Committed{tp("orders", 1): {Offset: 2}}}
	want(t, "in a transaction", w.commitIn(p, r).Err, nil)
	for range 5 {
		w.advance(time.Hour)
	}
	equal(t, "offset", offset(w, "g", a), -1)
	equal(t, "producers", undecided(w.c, "g"), 1)
	w.step(EndTransaction{Producer: p, Commit: true, Groups: []string{"g"}})
	equal(t, "offset", offset(w, "g", tp("orders", 1)), 2)
}
