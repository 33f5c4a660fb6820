package engine

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"tidings.dev/internal/vfs"
)

// Case: the journal becomes full in the midst of a checkpoint, before the snapshot of a producer whose batch it refuses.
// The checkpoint is given up: it would have the retry taken for a duplicate of what nobody has.
func TestCheckpointWhileTheJournalBecomesFull(t *testing.T) {
	disk := vfs.NewMem()
	var inCheckpoint atomic.Pointer[func()]
	fs := vfs.NewFaulty(disk, func(o vfs.Op) error {
		if o.Kind == vfs.OpSync && strings.HasPrefix(o.Name, topicsDir) {
			if do := inCheckpoint.Swap(nil); do != nil {
				(*do)()
			}
		}
		return nil
	})
	c := fullConfig(fs)
	c.TailBytes, c.CheckpointBytes = 1<<20, 1<<20
	e := openWith(t, c)
	id := Partition{makeTopic(t, e, "orders", 1).ID, 0}
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
	refusals := e.journal.Refusals()
	err := e.errand(t.Context(), func() error { return e.checkpoint(false) })
	if e.journal.Refusals() == refusals {
		t.Fatal("the journal has refused nothing: this proves nothing")
	}
	if !isFull(err) {
		t.Errorf("a checkpoint with what was refused: %v", err)
	}
	e.room.want()
	for e.Full() != nil {
		if err := e.errand(t.Context(), e.makeRoom); err != nil {
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

// A checkpoint is for all who wanted one before it began.
func TestCheckpointAnswersWhoWantedOne(t *testing.T) {
	e := openMem(t, func(*Config) {})
	id := Partition{makeTopic(t, e, "orders", 1).ID, 0}
	if a := appendNow(e, id, newBatch(-1, -1, "a")); a.Err != nil {
		t.Fatal(a.Err)
	}
	err := e.errand(t.Context(), func() error {
		e.keeper.replayed = true // there is something to do
		e.keeper.wantCheckpoint()
		err := e.checkpoint(false)
		if len(e.keeper.want) > 0 {
			t.Error("another is wanted")
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
