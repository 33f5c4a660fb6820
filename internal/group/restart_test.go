package group_test

import (
	"bytes"
	"testing"

	. "tidings.dev/internal/group"
)

// TestRestart checks that the members of a group are restored after a restart, and that the group rebalances if it was
// not stable (trap 16).
func TestRestart(t *testing.T) {
	w := newFakeEngine(t, Options{})
	joins := w.stableGroup("g", 2)
	a, b := joins[0].Member, joins[1].Member

	// Case: a stable group goes on in its generation as if nothing had happened.
	w.crash()
	wantState(t, w, "g", "Stable")
	want(t, "heartbeat", w.heartbeat("g", a, 1), nil)
	equal(t, "assignment", must[SyncResponse](w, w.sync1("g", joins[1], nil)).Assignment, []byte{1})
	equal(t, "protocol", w.c.Describe("g").Protocol, "range")

	// Case: a member that does not come back is removed after a session timeout, counted from the restart.
	w.crash()
	w.advance(session * 9 / 10)
	want(t, "heartbeat", w.heartbeat("g", a, 1), nil)
	w.advance(session / 5)
	want(t, "heartbeat", w.heartbeat("g", a, 1), ErrRebalanceInProgress)

	// Case: the crash comes in the middle of that rebalance: a is still told to join again, and b is not waited for.
	w.crash()
	wantState(t, w, "g", "PreparingRebalance")
	want(t, "heartbeat", w.heartbeat("g", b, 1), ErrUnknownMember)
	want(t, "heartbeat", w.heartbeat("g", a, 1), ErrRebalanceInProgress)
	// The member still owns its partitions, and may commit.
	want(t, "commit", must[CommitResponse](w, w.commit("g", a, 1, tp("orders", 0), 9)).Err, nil)
	w.regenerate("g", a)

	// Case: the generation was formed, but its assignment was not durable. After the restart it never existed.
	r := joining("g", "")
	jb := w.join(r)
	ja := must[JoinResponse](w, w.join(joining("g", a)))
	w.hold = true
	w.sync1("g", ja, nil)
	w.crash()
	w.hold = false
	wantState(t, w, "g", "PreparingRebalance")
	want(t, "heartbeat of that generation", w.heartbeat("g", a, ja.Generation), ErrIllegalGeneration)
	want(t, "heartbeat of a member of it", w.heartbeat("g", must[JoinResponse](w, jb).Member, ja.Generation), ErrUnknownMember)
	w.regenerate("g", a)

	// Case: no member comes back after the restart.
	w.crash()
	w.advance(session + rebalance)
	wantState(t, w, "g", "Empty")
	w.crash()
	wantState(t, w, "g", "Empty")
	equal(t, "offset", offset(w, "g", tp("orders", 0)), 9)
}

func TestRestartOfStaticMembers(t *testing.T) {
	w := newFakeEngine(t, Options{})
	_, b := twoStatic(w)
	b2 := must[JoinResponse](w, w.join(static("g", "b")))
	w.crash()
	// Case: the new id of a replaced member is the one that counts after the restart.
	again := static("g", "b")
	again.Member = b.Member
	want(t, "old id", must[JoinResponse](w, w.join(again)).Err, ErrFencedInstance)
	again.Member = b2.Member
	equal(t, "new id", must[JoinResponse](w, w.join(again)).Generation, 2)
	// Case: a static and a dynamic member that come together after a restart both get in.
	dynamic := w.join(joining("g", ""))
	sa := w.join(static("g", "a"))
	w.join(again)
	want(t, "dynamic", must[JoinResponse](w, dynamic).Err, nil)
	want(t, "static", must[JoinResponse](w, sa).Err, nil)
}

func TestSnapshotIsTheRecords(t *testing.T) {
	w := newFakeEngine(t, Options{})
	twoStatic(w)
	joins := w.stableGroup("h", 3)
	must[CommitResponse](w, w.commit("h", joins[1].Member, 1, tp("orders", 0), 3, tp("orders", 1), 4, tp("bills", 0), 5))
	w.now = w.now.Add(session / 2)
	must[CommitResponse](w, w.commit("h", joins[1].Member, 1, tp("orders", 1), 40))
	fromRecords := w.c.Snapshot()
	w.crash()
	w.checkpoint()
	w.crash()
	if !bytes.Equal(fromRecords, w.c.Snapshot()) {
		t.Fatal("a snapshot that was loaded differs from one of the records")
	}
	wantState(t, w, "g", "Stable")
	equal(t, "offsets", w.c.FetchOffsets("h", nil)[tp("orders", 1)].Offset, 40)
	equal(t, "times differ", w.c.FetchOffsets("h", nil)[tp("bills", 0)].At.Before(w.c.FetchOffsets("h", nil)[tp("orders", 1)].At), true)
}

// TestCorruptRecords truncates every record at every length, which must be refused, and changes every byte, which must
// be refused or give a state that Resume accepts.
func TestCorruptRecords(t *testing.T) {
	w := newFakeEngine(t, Options{})
	twoStatic(w)
	must[CommitResponse](w, w.commit("h", "", -1, tp("orders", 0), 3))
	w.step(DeleteGroup{w.ticket(), "h"})
	w.step(TopicDeleted{"orders"})
	for _, record := range append(w.disk, w.c.Snapshot()) {
		for i := range record {
			c := New(Options{})
			want(t, "cut record", c.ApplyRecord(record[:i]), ErrCorruptRecord)
			flipped := bytes.Clone(record)
			flipped[i] ^= 0x55
			if c.ApplyRecord(flipped) == nil {
				c.Resume(w.now)
			}
			c = New(Options{})
			if c.Load(flipped) == nil {
				c.Resume(w.now)
			}
		}
		want(t, "bytes too many", New(Options{}).ApplyRecord(append(bytes.Clone(record), 0)), ErrCorruptRecord)
	}
	want(t, "newer version", New(Options{}).ApplyRecord([]byte{2, 1}), ErrCorruptRecord)
}

func FuzzApplyRecord(f *testing.F) {
	w := newFakeEngine(f, Options{})
	twoStatic(w)
	must[CommitResponse](w, w.commit("h", "", -1, tp("orders", 0), 3))
	for _, r := range w.disk {
		f.Add(r)
	}
	f.Fuzz(func(t *testing.T, record []byte) {
		w := newFakeEngine(t, Options{})
		if w.c.ApplyRecord(record) != nil {
			return
		}
		// A record that is accepted can be read, encoded again and decoded to the same state.
		w.base = w.c.Snapshot()
		w.crash()
		if !bytes.Equal(w.base, w.c.Snapshot()) {
			t.Fatalf("%x becomes %x", w.base, w.c.Snapshot())
		}
		for _, g := range w.c.List() {
			w.join(joining(g.Group, ""))
		}
		w.advance(session)
	})
}
