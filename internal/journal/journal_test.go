package journal

import (
	"errors"
	"fmt"
	"math/rand"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"tidings.dev/internal/vfs"
)

// What was acknowledged is replayed by the next Open, and the one after, in order; numbers go on.
func TestReplay(t *testing.T) {
	fs := vfs.NewMem()
	j, r, rec := mustOpen(t, fs, 0, Options{})
	if len(r.payloads) != 0 || rec != (Recovery{Clean: true}) {
		t.Fatalf("an empty journal replayed %s, %+v", texts(r), rec)
	}
	if lsn := appendWait(t, j, "one"); lsn != 1 {
		t.Fatalf("first LSN %d", lsn)
	}
	appendWait(t, j, "two")
	appendWait(t, j, "")
	mustClose(t, j)

	for range 3 {
		j, r, rec = mustOpen(t, fs, 0, Options{})
		if texts(r) != "[one two ]" || rec.Last != 3 || rec.Entries != 3 || rec.Torn != nil {
			t.Fatalf("replayed %s, %+v", texts(r), rec)
		}
		mustClose(t, j)
	}
	j, r, _ = mustOpen(t, fs, 2, Options{})
	if texts(r) != "[]" || r.first != 3 {
		t.Fatalf("above 2 replayed %s from %d", texts(r), r.first)
	}
	if lsn := appendWait(t, j, "four"); lsn != 4 || j.Durable() != 4 {
		t.Fatalf("LSN %d after a restart, durable %d", lsn, j.Durable())
	}
	mustClose(t, j)
}

// What comes while a sync is under way waits for no timer and shares the next sync.
func TestGroupCommit(t *testing.T) {
	var syncs atomic.Int64
	syncing, goOn := make(chan struct{}), make(chan struct{})
	var slow atomic.Bool
	fs := vfs.NewFaulty(vfs.NewMem(), func(o vfs.Op) error {
		if o.Kind == vfs.OpSync {
			syncs.Add(1)
			if slow.CompareAndSwap(true, false) {
				close(syncing)
				<-goOn
			}
		}
		return nil
	})
	j, _, _ := mustOpen(t, fs, 0, Options{})
	slow.Store(true)
	before := syncs.Load()
	var all sync.WaitGroup
	var order []LSN
	appendOne := func() {
		all.Add(1)
		if _, err := j.Append(Entry{Kind: kindOf(1), Done: func(lsn LSN, err error) {
			order = append(order, lsn)
			all.Done()
		}}); err != nil {
			t.Error(err)
		}
	}
	appendOne()
	<-syncing
	for range 100 {
		appendOne()
	}
	close(goOn)
	all.Wait()
	if n := syncs.Load() - before; n != 2 {
		t.Errorf("101 entries took %d syncs, want 2", n)
	}
	for i, lsn := range order {
		if lsn != LSN(i+1) {
			t.Fatalf("Done in order %v", order)
		}
	}
	mustClose(t, j)
}

// A frame takes no more than MaxGroupBytes, however much is queued.
func TestGroupCap(t *testing.T) {
	var hold atomic.Pointer[sync.WaitGroup]
	largest := 0
	fs := vfs.NewFaulty(vfs.NewMem(), func(o vfs.Op) error {
		if o.Kind == vfs.OpSync {
			if w := hold.Load(); w != nil {
				w.Wait()
			}
		}
		if o.Kind == vfs.OpWriteAt {
			largest = max(largest, o.Bytes)
		}
		return nil
	})
	j, _, _ := mustOpen(t, fs, 0, Options{MaxGroupBytes: 10000})
	var queued sync.WaitGroup
	queued.Add(1)
	hold.Store(&queued)
	for range 100 {
		if _, err := j.Append(Entry{Payload: [][]byte{make([]byte, 1000)}}); err != nil {
			t.Fatal(err)
		}
	}
	queued.Done()
	mustClose(t, j)
	if largest < 9000 || largest > 10000+2*frameAlign {
		t.Errorf("the largest frame has %d bytes", largest)
	}
}

// Append waits for room, and no longer than that; an entry larger than all the room is taken alone.
func TestBackpressure(t *testing.T) {
	hold := make(chan struct{})
	var holding atomic.Bool
	fs := vfs.NewFaulty(vfs.NewMem(), func(o vfs.Op) error {
		if o.Kind == vfs.OpSync && holding.Load() {
			<-hold
		}
		return nil
	})
	j, _, _ := mustOpen(t, fs, 0, Options{MaxQueuedBytes: 1000})
	holding.Store(true)
	if _, err := j.Append(Entry{Payload: [][]byte{make([]byte, 5000)}}); err != nil {
		t.Fatal(err)
	}
	second := make(chan error, 1)
	go func() {
		_, err := j.Append(Entry{})
		second <- err
	}()
	select {
	case err := <-second:
		t.Fatalf("Append did not wait for room (%v)", err)
	default:
	}
	close(hold)
	if err := <-second; err != nil {
		t.Fatal(err)
	}
	mustClose(t, j)
	if _, err := j.Append(Entry{}); !errors.Is(err, ErrClosed) {
		t.Fatalf("Append after Close: %v", err)
	}
}

// After a failed write or sync nothing is acknowledged and nothing is written, whatever would work again.
func TestFence(t *testing.T) {
	short := &vfs.ShortWrite{WrittenBytes: 100, Cause: syscall.ENOSPC}
	for _, c := range []struct {
		kind  vfs.OpKind
		fault error
	}{{vfs.OpWriteAt, syscall.EIO}, {vfs.OpWriteAt, short}, {vfs.OpSync, syscall.EIO}} {
		t.Run(fmt.Sprint(c.kind, c.fault), func(t *testing.T) {
			var broken atomic.Bool
			var later atomic.Int64
			disk := vfs.NewMem()
			fs := vfs.NewFaulty(disk, func(o vfs.Op) error {
				if !broken.Load() {
					return nil
				}
				if o.Kind == c.kind && later.Load() == 0 {
					later.Add(1)
					return c.fault
				}
				if o.Kind.Changes() && later.Load() > 0 {
					later.Add(1)
				}
				return nil
			})
			j, _, _ := mustOpen(t, fs, 0, Options{MaxGroupBytes: 1}) // each entry is a commit of its own
			appendWait(t, j, "kept")
			broken.Store(true)
			failed := make(chan error, 3)
			for i := range 3 {
				if _, err := j.Append(Entry{Kind: kindOf(LSN(2 + i)), Done: func(_ LSN, err error) { failed <- err }}); err != nil {
					failed <- err
				}
			}
			cause := c.fault
			if c.fault == error(short) {
				cause = syscall.ENOSPC
			}
			for range 3 {
				if err := <-failed; !errors.Is(err, ErrFenced) || !errors.Is(err, cause) {
					t.Errorf("got %v, want ErrFenced with its cause", err)
				}
			}
			if _, err := j.Append(Entry{}); !errors.Is(err, ErrFenced) {
				t.Errorf("Append later: %v", err)
			}
			if err := j.Err(); !errors.Is(err, ErrFenced) {
				t.Errorf("Err: %v", err)
			}
			if err := j.Close(); !errors.Is(err, ErrFenced) {
				t.Errorf("Close: %v", err)
			}
			if n := later.Load(); n != 1 {
				t.Errorf("%d changes of the disk after the failed one", n-1)
			}
			if j.Durable() != 1 {
				t.Errorf("durable %d, want 1", j.Durable())
			}
			j, r, _ := mustOpen(t, disk, 0, Options{})
			if len(r.payloads) == 0 || string(r.payloads[0]) != "kept" {
				t.Errorf("replayed %s", texts(r))
			}
			mustClose(t, j)
		})
	}
}

// Every operation of a workload fails once, in three ways; what was acknowledged survives each, and the next Open works.
func TestEveryFault(t *testing.T) {
	faults := []error{syscall.EIO, syscall.ENOSPC, &vfs.ShortWrite{WrittenBytes: 700, Cause: syscall.EIO}}
	for _, fault := range faults {
		for nth := int64(1); ; nth++ {
			disk := vfs.NewMem()
			fs := vfs.NewFaulty(disk, vfs.FailNth(nth, fault))
			l := newLedger()
			rng := rand.New(rand.NewSource(nth))
			released := LSN(0)
			for range 3 {
				var err error
				if released, err = faultySession(rng, fs, l, released); err != nil && !errors.Is(err, fault) {
					t.Fatalf("operation %d fails with %v: %v", nth, fault, err)
				}
			}
			j, r, rec, err := open(disk, released, smallFiles)
			if err == nil {
				err = l.check(released, r, rec)
			}
			if err != nil {
				t.Fatalf("after operation %d failed with %v: %v", nth, fault, err)
			}
			mustClose(t, j)
			if fs.Count() < nth {
				break
			}
		}
	}
}

func faultySession(rng *rand.Rand, fs vfs.FS, l *ledger, released LSN) (LSN, error) {
	j, r, rec, err := open(fs, released, smallFiles)
	if err != nil {
		return released, err
	}
	err = l.check(released, r, rec)
	for i := 0; i < 12 && err == nil; i++ {
		err = l.append(j, rng, 1000)
		l.settle(j)
	}
	durable := j.Durable()
	released = max(released, durable-min(durable, 4))
	return released, errors.Join(err, j.Release(released), j.Close())
}

// Released files are used again: a journal that is released in time stops growing, and its size says what a recovery
// would read.
func TestRelease(t *testing.T) {
	fs := vfs.NewMem()
	o := Options{FileBytes: 64 << 10}
	j, _, _ := mustOpen(t, fs, 0, o)
	payload := strings.Repeat("x", 4000)
	for i := range 200 {
		lsn := appendWait(t, j, payload)
		if i%20 != 19 {
			continue
		}
		if size := j.SizeBytes(); size < 20*4000 || size > 23*4608 {
			t.Fatalf("20 entries of 4000 bytes are %d bytes", size)
		}
		if err := j.Release(lsn); err != nil {
			t.Fatal(err)
		}
		if size := j.SizeBytes(); size > 1024 {
			t.Fatalf("all is released, and %d bytes are left", size)
		}
	}
	if used, kept := fs.UsedBytes(), int64(len(j.files.reserves))*j.files.reserveBytes(); used > 4*o.FileBytes+kept {
		t.Errorf("the journal has grown to %d bytes, and %d of them are kept back for a full disk", used, kept)
	}
	for range 10 {
		appendWait(t, j, payload)
	}
	mustClose(t, j)
	j, r, _ := mustOpen(t, fs, 200, o)
	if len(r.payloads) != 10 {
		t.Errorf("replayed %d entries above 200, want 10", len(r.payloads))
	}
	if err := j.Release(1 << 40); err != nil || j.SizeBytes() != 0 {
		t.Errorf("release of more than there is: %v, %d bytes left", err, j.SizeBytes())
	}
	mustClose(t, j)
}

// An entry larger than a file and than a group gets through, and so do the ones beside it.
func TestLargeEntry(t *testing.T) {
	fs := vfs.NewMem()
	o := Options{FileBytes: 8 << 10, MaxGroupBytes: 4 << 10, MaxQueuedBytes: 1 << 10}
	j, _, _ := mustOpen(t, fs, 0, o)
	large := strings.Repeat("large", 10000)
	appendWait(t, j, "before")
	appendWait(t, j, large)
	appendWait(t, j, "after")
	mustClose(t, j)
	j, r, _ := mustOpen(t, fs, 0, o)
	if texts(r) != "[before "+large+" after]" {
		t.Errorf("replayed %d entries", len(r.payloads))
	}
	mustClose(t, j)
}

// An error of replay ends Open, and changes nothing.
func TestReplayError(t *testing.T) {
	fs := vfs.NewMem()
	j, _, _ := mustOpen(t, fs, 0, Options{})
	appendWait(t, j, "one")
	mustClose(t, j)
	full := errors.New("no room for it")
	if _, _, err := Open(fs, dir, 0, func(LSN, Kind, []byte) error { return full }, Options{}); !errors.Is(err, full) {
		t.Fatalf("got %v", err)
	}
	j, r, _ := mustOpen(t, fs, 0, Options{})
	if texts(r) != "[one]" {
		t.Fatalf("replayed %s", texts(r))
	}
	mustClose(t, j)
}

// The journal itself allocates nothing for an entry.
func TestNoAllocationPerEntry(t *testing.T) {
	fs, err := vfs.Disk(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	j, _, _ := mustOpen(t, fs, 0, Options{})
	defer mustClose(t, j)
	done := make(chan struct{}, 1)
	e := Entry{Payload: [][]byte{make([]byte, 100)}, Done: func(LSN, error) { done <- struct{}{} }}
	const entries = 1000
	burst := func() {
		for i := range entries {
			one := e
			if i < entries-1 {
				one.Done = nil
			}
			if _, err := j.Append(one); err != nil {
				t.Fatal(err)
			}
		}
		<-done
	}
	burst()
	burst()
	// The sync of a commit allocates a little; there are far fewer commits than entries.
	if n := testing.AllocsPerRun(10, burst); n > entries/5 {
		t.Errorf("%.0f allocations for %d entries", n, entries)
	}
}
