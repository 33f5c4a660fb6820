package journal

import (
	"errors"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"tidings.dev/internal/vfs"
)

// Case: entries with an interval are answered before any sync, and synced when it is over, once for all of them; with
// nothing unsynced there is no timer. Without a deadline nothing happens until somebody else syncs.
func TestSyncedWithin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var syncs atomic.Int64
		fs := vfs.NewFaulty(vfs.NewMem(), func(o vfs.Op) error {
			if o.Kind == vfs.OpSync {
				syncs.Add(1)
			}
			return nil
		})
		j, _, _ := mustOpen(t, fs, 0, Options{})
		defer mustClose(t, j)
		before, began := syncs.Load(), time.Now()
		add := func(within time.Duration) {
			t.Helper()
			done := make(chan error, 1)
			if _, err := j.Append(Entry{Kind: 1, SyncWithin: within, Done: func(_ LSN, err error) { done <- err }}); err != nil {
				t.Fatal(err)
			}
			if err := <-done; err != nil {
				t.Fatal(err)
			}
		}
		add(10 * time.Millisecond)
		add(time.Second)
		if syncs.Load() != before || j.Durable() != 0 {
			t.Errorf("%d syncs before the interval was over, durable %d", syncs.Load()-before, j.Durable())
		}
		time.Sleep(10 * time.Millisecond)
		synctest.Wait()
		if syncs.Load() != before+1 || j.Durable() != 2 {
			t.Errorf("after the interval: %d syncs, durable %d", syncs.Load()-before, j.Durable())
		}
		time.Sleep(2 * time.Second) // of the second entry, which is synced
		add(NoDeadline)
		time.Sleep(time.Hour)
		synctest.Wait()
		if syncs.Load() != before+1 || j.Durable() != 2 {
			t.Errorf("without a deadline: %d syncs, durable %d", syncs.Load()-before, j.Durable())
		}
		add(0)
		if syncs.Load() != before+2 || j.Durable() != 4 {
			t.Errorf("after a commit of somebody else: %d syncs, durable %d", syncs.Load()-before, j.Durable())
		}
		if time.Since(began) < time.Hour {
			t.Error("the clock did not move")
		}
	})
}

// Case: a sync that fails after entries were answered fences the journal at once, not at the next append.
func TestLateSyncFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var broken atomic.Bool
		fs := vfs.NewFaulty(vfs.NewMem(), func(o vfs.Op) error {
			if broken.Load() && o.Kind == vfs.OpSync {
				return syscall.EIO
			}
			return nil
		})
		var j *Journal
		var told, asked []error
		j, _, _ = mustOpen(t, fs, 0, Options{OnFault: func(err error) { told, asked = append(told, err), append(asked, j.Err()) }})
		broken.Store(true)
		if _, err := j.Append(Entry{Kind: 1, SyncWithin: time.Millisecond}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Millisecond)
		synctest.Wait()
		if len(told) != 1 || !errors.Is(told[0], ErrFenced) || !errors.Is(told[0], syscall.EIO) || !errors.Is(j.Err(), ErrFenced) {
			t.Errorf("told %v, Err %v", told, j.Err())
		}
		if len(asked) != 1 || asked[0] != told[0] {
			t.Errorf("OnFault was told %v, and Err in it returned %v", told, asked)
		}
		if err := j.Close(); !errors.Is(err, ErrFenced) {
			t.Errorf("close: %v", err)
		}
	})
}

// Case: the disk is full when a file must be begun. What is queued and not vital is refused and nothing is fenced; vital
// entries go on in what is kept back; when there is room, all do, without a restart. All that was acknowledged, and
// nothing that was refused, is there afterwards.
func TestFull(t *testing.T) {
	disk := vfs.NewMem()
	full := make(chan error, 9)
	o := Options{FileBytes: 16 << 10, MaxGroupBytes: 1, OnFull: func(err error) { full <- err }}
	j, _, _ := mustOpen(t, disk, 0, o)
	var kept []string
	add := func(payload string, priority Priority) error {
		done := make(chan error, 1)
		_, err := j.Append(Entry{Kind: kindOf(LSN(len(kept) + 1)), Payload: [][]byte{[]byte(payload)}, Priority: priority,
			Done: func(_ LSN, err error) { done <- err }})
		if err == nil {
			err = <-done
		}
		if err == nil {
			kept = append(kept, payload)
		}
		return err
	}
	disk.LimitBytes(disk.UsedBytes())
	var err error
	for err == nil {
		err = add(string(make([]byte, 700)), PriorityNormal)
	}
	if !errors.Is(err, ErrFull) || !errors.Is(err, syscall.ENOSPC) || j.Err() != nil || !errors.Is(j.Full(), ErrFull) {
		t.Fatalf("%v, Err %v, Full %v", err, j.Err(), j.Full())
	}
	<-full
	for i := range 10 {
		if err := add("vital", PriorityVital); err != nil {
			t.Fatalf("vital entry %d: %v", i, err)
		}
		if err := add("more", PriorityNormal); !errors.Is(err, ErrFull) {
			t.Fatalf("an entry that is not vital: %v", err)
		}
		if err := j.Resume(); !errors.Is(err, ErrFull) {
			t.Fatalf("resumed without room: %v", err)
		}
	}
	disk.LimitBytes(0)
	if err := j.Resume(); err != nil || j.Full() != nil {
		t.Fatalf("resume: %v, %v", err, j.Full())
	}
	for range 40 {
		if err := add(string(make([]byte, 700)), PriorityNormal); err != nil {
			t.Fatal(err)
		}
	}
	mustClose(t, j)

	// Case: it opens on a full disk, by what is kept back.
	disk.LimitBytes(disk.UsedBytes())
	j, r, _ := mustOpen(t, disk, 0, o)
	if len(r.payloads) != len(kept) {
		t.Fatalf("%d entries came back of %d", len(r.payloads), len(kept))
	}
	for i, p := range r.payloads {
		if string(p) != kept[i] {
			t.Fatalf("entry %d has %d bytes, want %d", i, len(p), len(kept[i]))
		}
	}
	for err = nil; err == nil; {
		err = add(string(make([]byte, 700)), PriorityNormal)
	}
	if !errors.Is(err, ErrFull) {
		t.Error(err)
	}
	if err := add("vital", PriorityVital); err != nil {
		t.Error(err)
	}
	mustClose(t, j)
}

// Case: what is kept back for vital entries is used up: they are refused, those that make room go on, and are refused at
// last. Nothing is fenced. A little room is enough for vital entries, more for all; what was acknowledged is there.
func TestFullToTheEnd(t *testing.T) {
	disk := vfs.NewMem()
	o := Options{FileBytes: 8 << 10}
	j, _, _ := mustOpen(t, disk, 0, o)
	kept := 0
	add := func(priority Priority) error {
		done := make(chan error, 1)
		_, err := j.Append(Entry{Kind: kindOf(LSN(kept + 1)), Payload: [][]byte{make([]byte, 400)}, Priority: priority, Done: func(_ LSN, err error) { done <- err }})
		if err == nil {
			err = <-done
		}
		if err == nil {
			kept++
		}
		return err
	}
	until := func(priority Priority) (taken int) {
		t.Helper()
		for ; taken < 1000; taken++ {
			if err := add(priority); errors.Is(err, ErrFull) && errors.Is(err, syscall.ENOSPC) && !errors.Is(err, ErrFenced) {
				return taken
			} else if err != nil {
				t.Fatalf("priority %d: %v", priority, err)
			}
		}
		t.Fatalf("priority %d is taken for ever", priority)
		return taken
	}
	disk.LimitBytes(disk.UsedBytes())
	if ordinary, vital := until(PriorityNormal), until(PriorityVital); ordinary == 0 || vital == 0 {
		t.Errorf("%d ordinary and %d vital entries were taken", ordinary, vital)
	}
	if freeing := until(PriorityFreeing); freeing == 0 {
		t.Error("nothing was left for what makes room")
	}
	for priority := PriorityNormal; priority <= PriorityFreeing; priority++ {
		if err := add(priority); !errors.Is(err, ErrFull) {
			t.Errorf("priority %d: %v", priority, err)
		}
	}
	if j.Err() != nil || !errors.Is(j.Full(), ErrFull) {
		t.Errorf("Err %v, Full %v", j.Err(), j.Full())
	}

	disk.LimitBytes(disk.UsedBytes() + 4*j.files.reserveBytes())
	if err := j.Resume(); !errors.Is(err, ErrFull) {
		t.Fatalf("resumed with too little room: %v", err)
	}
	if err := add(PriorityVital); err != nil {
		t.Errorf("with a little room: %v", err)
	}
	if err := add(PriorityNormal); !errors.Is(err, ErrFull) {
		t.Errorf("with too little room: %v", err)
	}
	until(PriorityVital)

	disk.LimitBytes(0)
	if err := j.Resume(); err != nil {
		t.Fatal(err)
	}
	for priority := PriorityNormal; priority <= PriorityFreeing; priority++ {
		if err := add(priority); err != nil {
			t.Errorf("priority %d, with room: %v", priority, err)
		}
	}
	mustClose(t, j)
	j, r, _ := mustOpen(t, disk, 0, o)
	defer mustClose(t, j)
	if len(r.payloads) != kept {
		t.Errorf("%d entries came back of %d", len(r.payloads), kept)
	}
}
