package engine

import (
	"errors"
	mathrand "math/rand"
	"strings"
	"sync"
	"testing"
	"time"

	"tidings.dev/internal/datadir"
	"tidings.dev/internal/faults"
	"tidings.dev/internal/vfs"
)

// held is a disk on which no checkpoint ends before letGo is called. Segments are written meanwhile.
func held(disk *vfs.Mem) (fsys vfs.FS, letGo func()) {
	gate := make(chan struct{})
	return vfs.NewFaulty(disk, func(op vfs.Op) error {
		if op.Kind == vfs.OpSync && strings.HasPrefix(op.Name, "checkpoint-") {
			<-gate
		}
		return nil
	}), sync.OnceFunc(func() { close(gate) })
}

// spoil changes a byte of a checkpoint: one of the cluster's id, which is random.
func spoil(t *testing.T, disk *vfs.Mem, name string) {
	t.Helper()
	f, err := disk.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	was := make([]byte, 1)
	_, err = f.ReadAt(was, 40)
	if err == nil {
		_, err = f.WriteAt([]byte{^was[0]}, 40)
	}
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		t.Fatal(err)
	}
}

// Case: a broker is killed with records in its journal. The next one is ready before its first checkpoint is, and when
// the power fails in between, again and again, the one after that finds what both had, from either checkpoint. A Close
// takes the next one.
func TestReadyBeforeTheFirstCheckpoint(t *testing.T) {
	disk := vfs.NewMem()
	c := Config{FS: disk, JournalFileBytes: 8 << 10, TailBytes: 16 << 10}
	e := openWith(t, c)
	id := Partition{Topic: makeTopic(t, e, "orders", 1).ID, Index: 0}
	rng := mathrand.New(mathrand.NewSource(1))
	records := 0
	send := func() {
		t.Helper()
		for range 30 {
			if a := appendNow(e, id, newBatch(-1, -1, faults.Payload(strings.Repeat("a", 600), records))); a.Err != nil || a.BaseOffset != int64(records) {
				t.Fatalf("record %d: %+v", records, a)
			}
			records++
		}
	}
	send()
	if err := e.Checkpoint(noWait); err != nil { // the second: Open in a new directory takes one
		t.Fatal(err)
	}
	for life := range 5 {
		send()
		newest := disk.CrashClone(rng)
		fsys, letGo := held(newest)
		t.Cleanup(letGo)
		c.FS, disk = fsys, newest
		if e = openWith(t, c); e.maintenance.uncoveredBytes.Load() == 0 {
			t.Errorf("life %d: nothing was replayed", life)
		}
		t.Cleanup(letGo) // before the Close that openWith has put there
		if got, _, err := readLog(e, id); err != nil || len(got) != records {
			t.Errorf("life %d: %d records of %d, %v", life, len(got), records, err)
		}
		older := newest.CrashClone(rng)
		spoil(t, older, datadir.CheckpointName(e.maintenance.newest.sequence))
		c.FS = older
		fallback := openWith(t, c)
		if got, _, err := readLog(fallback, id); err != nil || len(got) != records {
			t.Errorf("life %d: without the newest checkpoint: %d records of %d, %v", life, len(got), records, err)
		}
		if life == 4 {
			letGo()
		}
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	c.FS = disk
	if e = openWith(t, c); e.segments.appendedBytes.Load() != 0 {
		t.Errorf("after a clean stop %d bytes were replayed", e.segments.appendedBytes.Load())
	}
	if got, _, err := readLog(e, id); err != nil || len(got) != records {
		t.Errorf("at the end: %d records of %d, %v", len(got), records, err)
	}
}

// Case: one broker after the other is killed before its first checkpoint. What is left to be replayed stays bounded: new
// records wait at last, until a checkpoint is taken. The journal's files don't pile up either.
func TestJournalStaysBoundedWithoutACheckpoint(t *testing.T) {
	disk := vfs.NewMem()
	c := Config{FS: disk, JournalFileBytes: 16 << 10, CheckpointBytes: 8 << 10, MaxPendingBytes: 8 << 10, TailBytes: 64 << 10}
	e := openWith(t, c)
	id := Partition{Topic: makeTopic(t, e, "orders", 1).ID, Index: 0}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	rng := mathrand.New(mathrand.NewSource(1))
	records, lives := 0, 60
	var letGo func()
	for life := range lives {
		disk = disk.CrashClone(rng)
		c.FS, letGo = held(disk)
		e = openWith(t, c)
		t.Cleanup(letGo)
		before := records
		for ; !e.segments.mustWait(); records++ {
			if a := appendNow(e, id, newBatch(-1, -1, strings.Repeat("a", 1000))); a.Err != nil {
				t.Fatal(a.Err)
			}
		}
		if life == 0 && before == records {
			t.Fatal("nothing could be appended")
		}
	}
	if most := e.maintenance.maxReplayBytes() + 2*e.config.CheckpointBytes; e.maintenance.uncoveredBytes.Load() > most {
		t.Errorf("%d bytes were replayed, more than %d", e.maintenance.uncoveredBytes.Load(), most)
	}
	entries, err := disk.List(datadir.JournalDir)
	if err != nil {
		t.Fatal(err)
	}
	files := 0
	for _, entry := range entries {
		if strings.HasSuffix(entry.Name, ".journal") {
			files++
		}
	}
	if files >= lives/2 {
		t.Errorf("the journal has %d files after %d lives", files, lives)
	}

	answered := make(chan Appended, 1)
	go e.Append(id, newBatch(-1, -1, "later"), func(a Appended) { answered <- a })
	select {
	case a := <-answered:
		t.Errorf("a record did not wait for the first checkpoint: %+v", a)
	case <-time.After(20 * time.Millisecond):
	}
	letGo()
	if a := <-answered; a.Err != nil || a.BaseOffset != int64(records) {
		t.Errorf("after the first checkpoint: %+v, want offset %d", a, records)
	}
}
