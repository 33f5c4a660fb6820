package engine

import (
	"errors"
	"fmt"
	"math"
	mathrand "math/rand"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"tidings.dev/internal/batch"
	"tidings.dev/internal/datadir"
	"tidings.dev/internal/faults"
	"tidings.dev/internal/group"
	"tidings.dev/internal/meta"
	"tidings.dev/internal/vfs"
)

// Case: everything is there after a clean restart, and nothing was replayed.
func TestCleanRestart(t *testing.T) {
	c := Config{FS: vfs.NewMem(), JournalFileBytes: 1 << 20}
	e := openWith(t, c)
	cluster := e.ClusterID()
	topic := makeTopic(t, e, "orders", 3)
	id := Partition{Topic: topic.ID, Index: 2}
	appendNow(e, id, newBatch(7, 0, "a", "b"))
	tp := group.TopicPartition{Topic: "orders", Partition: 2}
	e.Commit(noWait, group.CommitRequest{Group: "billing", Generation: -1, Offsets: map[group.TopicPartition]group.Committed{
		tp: {Offset: 2, LeaderEpoch: 0, Metadata: "done ahead"},
	}})
	pid, _, _ := e.InitProducerID(noWait, -1, -1)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}

	e = openWith(t, c)
	if e.ClusterID() != cluster || len(cluster) != 22 {
		t.Errorf("cluster id was %q and is %q", cluster, e.ClusterID())
	}
	if e.segments.appendedBytes.Load() != 0 {
		t.Errorf("%d bytes were replayed", e.segments.appendedBytes.Load())
	}
	if got, _, err := readLog(e, id); err != nil || got[1] != "b" {
		t.Errorf("records: %v, %v", got, err)
	}
	if a := appendNow(e, id, newBatch(7, 0, "a", "b")); a.Err != nil || a.BaseOffset != 0 {
		t.Errorf("the batch sent again: %+v", a)
	}
	if got, _ := e.FetchOffsets("billing", nil); got[tp].Offset != 2 || got[tp].Metadata != "done ahead" {
		t.Errorf("offsets: %v", got)
	}
	if next, _, _ := e.InitProducerID(noWait, -1, -1); next <= pid {
		t.Errorf("producer id %d after %d", next, pid)
	}
	if got, ok := e.Topic("orders"); !ok || got.ID != topic.ID || e.LeaderEpoch(id) <= 0 {
		t.Errorf("topic: %+v, epoch %d", got, e.LeaderEpoch(id))
	}
}

// watch is a disk that calls before on each sync of the journal.
func watch(disk *vfs.Mem, before func()) vfs.FS {
	return vfs.NewFaulty(disk, func(op vfs.Op) error {
		if op.Kind == vfs.OpSync && strings.HasPrefix(op.Name, datadir.JournalDir) {
			before()
		}
		return nil
	})
}

// Case (trap 14): the power fails between a write of the journal and its sync, which leaves a torn tail, unless its
// first sector is lost or all are there. What was acknowledged is there, and the leader epoch grows, durably, so that clients notice
// if a tail was cut.
func TestTornTailBumpsTheEpoch(t *testing.T) {
	disk := vfs.NewMem()
	var armed atomic.Bool
	var cuts []*vfs.Mem
	e := openWith(t, Config{FS: watch(disk, func() {
		if armed.CompareAndSwap(true, false) {
			for seed := range int64(16) {
				cuts = append(cuts, disk.CrashClone(mathrand.New(mathrand.NewSource(seed))))
			}
		}
	}), JournalFileBytes: 1 << 20})
	id := Partition{Topic: makeTopic(t, e, "orders", 1).ID, Index: 0}
	appendNow(e, id, newBatch(-1, -1, "acknowledged"))
	armed.Store(true)
	appendNow(e, id, newBatch(-1, -1, strings.Repeat("torn ", 10000)))

	torn := 0
	for seed, disk := range cuts {
		e := openWith(t, Config{FS: disk, JournalFileBytes: 1 << 20})
		epoch := e.LeaderEpoch(id)
		if epoch <= 0 {
			t.Errorf("seed %d: epoch %d", seed, epoch)
		}
		if got, _, err := readLog(e, id); err == nil && len(got) == 1 {
			torn++
			checkAfterTornTail(t, e, id)
			e.Close()
			e = openWith(t, Config{FS: disk, JournalFileBytes: 1 << 20})
			if next := e.LeaderEpoch(id); next <= epoch {
				t.Errorf("seed %d: after another restart: epoch %d after %d", seed, next, epoch)
			}
		}
		if got, _, err := readLog(e, id); err != nil || got[0] != "acknowledged" {
			t.Errorf("seed %d: %v, %v", seed, got, err)
		}
		e.Close()
	}
	if torn == 0 {
		t.Error("no cut left a torn tail")
	}
}

func checkAfterTornTail(t *testing.T, e *Engine, id Partition) {
	t.Helper()
	if a := appendNow(e, id, newBatch(-1, -1, "after")); a.Err != nil || a.BaseOffset != 1 {
		t.Errorf("append: %+v", a)
	}
	if v := batch.View(fetchNow(e, id, 1).Records[0]); v.LeaderEpoch() != e.LeaderEpoch(id) || v.LeaderEpoch() == 0 {
		t.Errorf("a new batch has epoch %d", v.LeaderEpoch())
	}
	if epoch, end, err := e.EpochEnd(id, 0); epoch != 0 || end != 1 || err != nil {
		t.Errorf("epoch 0 ended at %d, %d, %v; want 1", epoch, end, err)
	}
	old := longPoll(id, 0, 0)
	old.Partitions[0].LeaderEpoch = 0
	if got := e.Fetch(noWait, old, nil); !errors.Is(got[0].Err, ErrFencedEpoch) {
		t.Errorf("a client of the old epoch got %v", got[0].Err)
	}
}

// Case: a checkpoint is taken while a batch has its offset but is not durable. The producer's state in the checkpoint
// knows the batch; were the checkpoint written before the batch is durable, and the power failed then, the batch sent
// again would be answered as a duplicate of one that is lost.
func TestCheckpointWaitsForWhatItHasSeen(t *testing.T) {
	synctest.Test(t, testCheckpointWaitsForWhatItHasSeen)
}

func testCheckpointWaitsForWhatItHasSeen(t *testing.T) {
	disk := vfs.NewMem()
	var armed atomic.Bool
	gate := make(chan struct{})
	e := openWith(t, Config{FS: watch(disk, func() {
		if armed.Load() {
			<-gate
		}
	}), JournalFileBytes: 1 << 20})
	id := Partition{Topic: makeTopic(t, e, "orders", 1).ID, Index: 0}
	appendNow(e, id, newBatch(7, 0, "first"))
	armed.Store(true)
	answered := make(chan Appended, 1)
	e.Append(id, newBatch(7, 1, "second"), func(a Appended) { answered <- a })
	done := make(chan error, 1)
	go func() { done <- e.maintenance.checkpoint(false) }()
	synctest.Wait() // the checkpoint waits for the sync, or, if it does not wait, has ended
	cut := disk.CrashClone(mathrand.New(mathrand.NewSource(1)))
	armed.Store(false)
	close(gate)
	if err := <-done; err != nil {
		t.Error(err)
	}
	<-answered

	e = openWith(t, Config{FS: cut, JournalFileBytes: 1 << 20})
	if a := appendNow(e, id, newBatch(7, 1, "second")); a.Err != nil || a.BaseOffset != 1 {
		t.Errorf("sent again: %+v", a)
	}
	if got, _, err := readLog(e, id); err != nil || len(got) != 2 || got[1] != "second" {
		t.Errorf("%v, %v", got, err)
	}
}

// Case: a topic is deleted and made again. Records, producers and offsets of the old one are gone, now and after a
// restart, and its files go too.
func TestDeletedTopicTakesEverythingWithIt(t *testing.T) {
	disk := vfs.NewMem()
	c := Config{FS: disk, JournalFileBytes: 1 << 20}
	e := openWith(t, c)
	old := makeTopic(t, e, "orders", 1)
	appendNow(e, Partition{Topic: old.ID, Index: 0}, newBatch(7, 41, "old"))
	tp := group.TopicPartition{Topic: "orders"}
	e.Commit(noWait, group.CommitRequest{Group: "billing", Generation: -1, Offsets: map[group.TopicPartition]group.Committed{tp: {Offset: 1}}})
	if err := e.DeleteTopic(noWait, old.ID); err != nil {
		t.Fatal(err)
	}
	recreated := makeTopic(t, e, "orders", 1)
	for restart := range 2 {
		if got, _ := e.FetchOffsets("billing", nil); len(got) != 0 {
			t.Errorf("restart %d: offsets are left: %v", restart, got)
		}
		if recreated.ID == old.ID {
			t.Error("the new topic has the old identity")
		}
		if got, _, err := readLog(e, Partition{Topic: recreated.ID, Index: 0}); err != nil || len(got) != restart {
			t.Errorf("restart %d: the new topic has %v, %v", restart, got, err)
		}
		if a := appendNow(e, Partition{Topic: old.ID, Index: 0}, newBatch(-1, -1, "late")); !errors.Is(a.Err, ErrUnknownTopic) {
			t.Errorf("restart %d: append to the old topic: %v", restart, a.Err)
		}
		if restart == 0 { // any first sequence: the old producer's window is gone
			if a := appendNow(e, Partition{Topic: recreated.ID, Index: 0}, newBatch(7, 99, "new")); a.Err != nil {
				t.Errorf("append: %v", a.Err)
			}
			e.Close()
			e = openWith(t, c)
		}
	}
	if _, err := disk.Stat(datadir.TopicDir(old.ID)); err == nil {
		t.Error("the old topic's directory is still there")
	}
}

// Case: the newest checkpoint is damaged. The one before, and the journal since then, bring everything back; the
// damaged file is kept aside. Without any whole checkpoint Open names the file.
func TestDamagedCheckpoint(t *testing.T) {
	disk := vfs.NewMem()
	c := Config{FS: disk, JournalFileBytes: 1 << 20}
	e := openWith(t, c)
	topic := makeTopic(t, e, "orders", 1)
	for i := range 5 {
		appendNow(e, Partition{Topic: topic.ID, Index: 0}, newBatch(-1, -1, fmt.Sprint(i)))
		if err := e.maintenance.checkpoint(false); err != nil {
			t.Fatal(err)
		}
	}
	e.Close()
	flip := func(name string) { spoil(t, disk, name) }
	newest := datadir.CheckpointName(e.maintenance.newest.sequence)
	flip(newest)
	e = openWith(t, c)
	if got, _, err := readLog(e, Partition{Topic: topic.ID, Index: 0}); err != nil || len(got) != 5 {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := disk.Stat("damaged-" + newest); err != nil {
		t.Errorf("the damaged checkpoint was not kept: %v", err)
	}
	e.Close()

	flip(datadir.CheckpointName(e.maintenance.newest.sequence))
	flip(datadir.CheckpointName(e.maintenance.newest.sequence - 1))
	_, err := Open(c)
	if ce, ok := errors.AsType[*datadir.CheckpointError](err); !ok || ce.File != datadir.CheckpointName(e.maintenance.newest.sequence) {
		t.Errorf("both damaged: %v", err)
	}
}

// Case: what is no data directory is refused by the names of what is in it, and so is another version's.
func TestForeignDirectoryIsRefused(t *testing.T) {
	disk := vfs.NewMem()
	for _, name := range []string{"thesis.txt", "LOCK"} {
		f, _ := disk.Create(name)
		f.Close()
	}
	_, err := Open(Config{FS: disk})
	if fe, ok := errors.AsType[*datadir.ForeignError](err); !ok || fmt.Sprint(fe.Names) != "[thesis.txt]" {
		t.Errorf("%v", err)
	}
	if entries, _ := disk.List("."); len(entries) != 2 {
		t.Errorf("something was changed: %v", entries)
	}
	disk = vfs.NewMem()
	vfs.WriteFile(disk, datadir.FormatFile, []byte("tidings 2\n"))
	if _, err := Open(Config{FS: disk}); err == nil || !strings.Contains(err.Error(), "tidings 2") {
		t.Errorf("%v", err)
	}
}

// Case: retention by bytes moves the start; reads below it are refused, before and after a restart, and timestamps and
// offsets are found where they are.
func TestRetention(t *testing.T) {
	c := Config{FS: vfs.NewMem(), JournalFileBytes: 1 << 20, SegmentBytes: 1 << 20, TailBytes: 4 << 10}
	e := openWith(t, c)
	topic, err := e.CreateTopic(noWait, meta.TopicSpec{Name: "short", Partitions: 1,
		Configs: map[string]string{"retention.bytes": "4096", "segment.bytes": "2048"}}, false)
	if err != nil {
		t.Fatal(err)
	}
	id := Partition{Topic: topic.ID, Index: 0}
	for i := range 200 {
		appendNow(e, id, newBatch(-1, -1, faults.Payload("a", i)))
	}
	if err := e.maintenance.checkpoint(false); err != nil { // writes the segments
		t.Fatal(err)
	}
	if err := e.maintenance.applyRetention(); err != nil {
		t.Fatal(err)
	}
	var start int64
	for restart := range 2 {
		earliest, err := e.OffsetFor(id, Earliest)
		if err != nil || earliest.Offset == 0 || earliest.Offset >= 200 || restart > 0 && earliest.Offset != start {
			t.Fatalf("restart %d: start %+v, %v", restart, earliest, err)
		}
		start = earliest.Offset
		if f := fetchNow(e, id, start-1); !errors.Is(f.Err, ErrOffsetOutOfRange) {
			t.Errorf("restart %d: read below the start: %v", restart, f.Err)
		}
		if got, _, err := readLog(e, id); err != nil || int64(len(got)) != 200-start || got[199] != faults.Payload("a", 199) {
			t.Errorf("restart %d: %d records, %v", restart, len(got), err)
		}
		if latest, _ := e.OffsetFor(id, Latest); latest.Offset != 200 {
			t.Errorf("restart %d: end %d", restart, latest.Offset)
		}
		if found, err := e.OffsetFor(id, 1); err != nil || found.Offset != start || found.LeaderEpoch != 0 {
			t.Errorf("restart %d: by time: %+v, %v", restart, found, err)
		}
		if none, err := e.OffsetFor(id, time.Now().Add(time.Hour).UnixMilli()); err != nil || none.Offset != -1 || none.Timestamp != -1 {
			t.Errorf("restart %d: a time to come: %+v, %v", restart, none, err)
		}
		e.Close()
		e = openWith(t, c)
	}
}

// Leader epochs count seconds, grow at each start whatever the clock says, and do not overflow. Two starts on copies of one directory
// give different ones.
func TestLeaderEpochsTellCopiesOfADirectoryApart(t *testing.T) {
	now := time.Date(2026, time.January, 2, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		last int32
		now  time.Time
		want int32
	}{{0, now, 86400}, {86400, now, 86401}, {0, time.Time{}, 1}, {7, now.AddDate(200, 0, 0), math.MaxInt32}, {math.MaxInt32, now, math.MaxInt32}} {
		if got := nextEpoch(c.last, c.now); got != c.want {
			t.Errorf("after %d at %v: %d, want %d", c.last, c.now, got, c.want)
		}
	}

	disk := vfs.NewMem()
	at := func(disk vfs.FS, d time.Duration) *Engine {
		return openWith(t, Config{FS: disk, JournalFileBytes: 1 << 20, Now: func() time.Time { return time.Now().Add(d) }})
	}
	e := at(disk, 0)
	id := Partition{Topic: makeTopic(t, e, "orders", 1).ID, Index: 0}
	appendNow(e, id, newBatch(-1, -1, "kept"))
	e.Close()
	copied := disk.CrashClone(mathrand.New(mathrand.NewSource(1)))
	one, two := at(disk, time.Minute), at(copied, time.Hour)
	for _, e := range []*Engine{one, two} {
		if a := appendNow(e, id, newBatch(-1, -1, "apart")); a.Err != nil {
			t.Fatal(a.Err)
		}
	}
	first, second := batch.View(fetchNow(one, id, 1).Records[0]).LeaderEpoch(), batch.View(fetchNow(two, id, 1).Records[0]).LeaderEpoch()
	if first == second || first <= 0 {
		t.Errorf("epochs %d and %d", first, second)
	}
	// A consumer of the one is told by the other that it has gone back.
	if epoch, end, err := two.EpochEnd(id, first); err != nil || epoch >= first || end != 1 {
		t.Errorf("epoch %d ends at %d as epoch %d, %v; want 1", first, end, epoch, err)
	}
}
