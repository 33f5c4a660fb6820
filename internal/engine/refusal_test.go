package engine

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"tidings.dev/internal/datadir"
	"tidings.dev/internal/vfs"
)

// Case: the journal becomes full in the midst of a checkpoint, before the snapshot of a producer whose batch it refuses.
// The checkpoint is given up: it would have the retry taken for a duplicate of what nobody has.
func TestCheckpointWhileTheJournalBecomesFull(t *testing.T) {
	disk := vfs.NewMem()
	var inCheckpoint atomic.Pointer[func()]
	fs := vfs.NewFaulty(disk, func(o vfs.Op) error {
		if o.Kind == vfs.OpSync && strings.HasPrefix(o.Name, datadir.TopicsDir) {
			if do := inCheckpoint.Swap(nil); do != nil {
				(*do)()
			}
		}
		return nil
	})
	c := fullConfig(fs)
	c.TailBytes, c.CheckpointBytes = 1<<20, 1<<20
	e := openWith(t, c)
	id := Partition{Topic: makeTopic(t, e, "orders", 1).ID, Index: 0}
	next := int32(0)
	send := func() Appended {
		return appendNow(e, id, newBatch(7, next, strings.Repeat("a", 1000)))
	}
	if a := send(); a.Err != nil {
		t.Fatal(a.Err)
	}
	fill := func() {
		disk.LimitBytes(disk.UsedBytes())
		for next++; ; next++ {
			if a := send(); a.Err != nil {
				if !errors.Is(a.Err, ErrFull) {
					t.Error(a.Err)
				}
				break
			}
		}
		disk.LimitBytes(0)
	}
	inCheckpoint.Store(&fill)
	refusals := e.journal.FullCount()
	err := e.maintenance.runTask(t.Context(), func() error { return e.maintenance.checkpoint(false) })
	if e.journal.FullCount() == refusals {
		t.Fatal("the journal has refused nothing: this proves nothing")
	}
	if !isFull(err) {
		t.Errorf("a checkpoint with what was refused: %v", err)
	}
	e.maintenance.requestSpaceCheck()
	for e.Full() != nil {
		if err := e.maintenance.runTask(t.Context(), e.maintenance.leaveDiskFull); err != nil {
			t.Fatal(err)
		}
	}
	if a := send(); a.Err != nil || a.BaseOffset != int64(next) {
		t.Errorf("the retry of what was refused: %+v, want offset %d", a, next)
	}
	if got, _, err := readLog(e, id); err != nil || len(got) != int(next)+1 {
		t.Errorf("%d records, want %d: %v", len(got), next+1, err)
	}
}

// A checkpoint serves all requests from before it began.
func TestCheckpointServesAllRequests(t *testing.T) {
	e := openMem(t, func(*Config) {})
	id := Partition{Topic: makeTopic(t, e, "orders", 1).ID, Index: 0}
	if a := appendNow(e, id, newBatch(-1, -1, "a")); a.Err != nil {
		t.Fatal(a.Err)
	}
	err := e.maintenance.runTask(t.Context(), func() error {
		e.maintenance.owed = true // there is something to do
		e.maintenance.requestCheckpoint()
		err := e.maintenance.checkpoint(false)
		if len(e.maintenance.checkpointDue) > 0 {
			t.Error("another is still due")
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
