package journal

import (
	"errors"
	"flag"
	"fmt"
	"math/rand"
	"sync/atomic"
	"testing"
	"time"

	"tidings.dev/internal/vfs"
)

var (
	seedFlag = flag.Int64("seed", 0, "replay one seed of the crash tests instead of many new ones")
	cutsFlag = flag.Int("cuts", 6000, "power cuts of TestPowerCuts")
)

// smallFiles makes every few frames begin a file.
var smallFiles = Options{FileBytes: 8 << 10, MaxGroupBytes: 3 << 10, MaxQueuedBytes: 16 << 10}

// A journal is written, released, closed or not, is killed and loses power again and again: whatever was acknowledged
// comes back, in order, with its bytes, and of what was not at most a first part. After a kill, which leaves what was
// written and not synced to be seen, what comes back counts as acknowledged: the next power cut must not take it. In every other run most entries are answered
// when they are written: a power cut may take those after the last that was synced, and a kill none.
func TestPowerCuts(t *testing.T) {
	const cutsPerRun = 10
	for cuts := 0; cuts < *cutsFlag; cuts += cutsPerRun {
		seed := time.Now().UnixNano()
		if *seedFlag != 0 {
			seed = *seedFlag
		}
		if err := powerCuts(seed, cutsPerRun, func(fs vfs.FS) vfs.FS { return fs }); err != nil {
			t.Fatalf("%v\nreplay: go test ./internal/journal -run TestPowerCuts -seed %d", err, seed)
		}
		if *seedFlag != 0 {
			return
		}
	}
}

var errKilled = errors.New("killed")

// powerCuts runs a workload through so many power cuts and kills and returns the first promise broken.
func powerCuts(seed int64, cuts int, wrap func(vfs.FS) vfs.FS) error {
	rng := rand.New(rand.NewSource(seed))
	disk := vfs.NewMem()
	l := newLedger()
	l.early = seed%2 == 0
	released := LSN(0) // what a checkpoint has
	for cut := range cuts {
		// It ends before some operation: of recovery, of a commit, of a change of files, of Close.
		last, kill := int64(1+rng.Intn(80)), rng.Intn(3) == 0
		on := disk
		faulty := vfs.NewFaulty(on, func(o vfs.Op) error {
			switch {
			case kill && o.Nth >= last:
				return errKilled
			case o.Nth == last:
				on.PowerOff()
			}
			return nil
		})
		for err := error(nil); err == nil; {
			released, err = session(rng, wrap(faulty), l, released)
			if err != nil && !errors.Is(err, vfs.ErrPowerCut) && !errors.Is(err, errKilled) {
				return fmt.Errorf("after %d power cuts and kills: %w", cut, err)
			}
		}
		if !kill {
			disk, l.cut = on.CrashClone(rng), true
		}
	}
	return nil
}

// session opens the journal, checks it, uses it for a while and closes it.
func session(rng *rand.Rand, fs vfs.FS, l *ledger, released LSN) (LSN, error) {
	j, r, rec, err := open(fs, released, smallFiles)
	if err != nil {
		return released, err
	}
	if err := l.check(released, r, rec); err != nil {
		return released, errors.Join(err, j.Close())
	}
	for range rng.Intn(40) {
		switch rng.Intn(10) {
		case 0:
			durable := j.Durable()
			released = max(released, durable-min(durable, LSN(rng.Intn(20))))
			if err := j.Release(released); err != nil {
				return released, errors.Join(err, j.Close())
			}
		case 1:
			l.settle(j)
		default:
			size := rng.Intn(200)
			if rng.Intn(15) == 0 {
				size = rng.Intn(10 << 10)
			}
			if err := l.append(j, rng, size); err != nil {
				return released, errors.Join(err, j.Close())
			}
		}
	}
	return released, j.Close()
}

// withoutSync is a disk that says it synced and didn't.
type withoutSync struct{ vfs.FS }

func (d withoutSync) Create(name string) (vfs.File, error) { return lyingFile(d.FS.Create(name)) }
func (d withoutSync) Open(name string) (vfs.File, error)   { return lyingFile(d.FS.Open(name)) }

type fileWithoutSync struct{ vfs.File }

func lyingFile(f vfs.File, err error) (vfs.File, error) { return fileWithoutSync{f}, err }

func (fileWithoutSync) Sync() error { return nil }

// withoutSyncDir is a disk that loses names.
type withoutSyncDir struct{ vfs.FS }

func (withoutSyncDir) SyncDir(string) error { return nil }

// The test above must be able to fail: on disks that don't do what they say it does.
func TestPowerCutsCatchLies(t *testing.T) {
	for name, lie := range map[string]func(vfs.FS) vfs.FS{
		"no sync":           func(fs vfs.FS) vfs.FS { return withoutSync{fs} },
		"no directory sync": func(fs vfs.FS) vfs.FS { return withoutSyncDir{fs} },
	} {
		t.Run(name, func(t *testing.T) {
			for seed := range int64(200) {
				if err := powerCuts(seed, 10, lie); err != nil {
					t.Logf("caught with seed %d: %v", seed, err)
					return
				}
			}
			t.Fatal("a disk that lies passed 2000 power cuts")
		})
	}
}

// Case: entries were written and not synced, the process was killed, and a recovery has seen them in the page cache. From
// then on they are there: the power cut that comes next takes nothing of them.
func TestSeenIsKept(t *testing.T) {
	for seed := range int64(50) {
		disk := vfs.NewMem()
		killed, _, _ := mustOpen(t, disk, 0, smallFiles)
		for i := range 6 {
			done := make(chan error, 1)
			if _, err := killed.Append(Entry{Kind: kindOf(LSN(i + 1)), Payload: [][]byte{make([]byte, 300)}, SyncWithin: NoDeadline,
				Done: func(_ LSN, err error) { done <- err }}); err != nil {
				t.Fatal(err)
			}
			if err := <-done; err != nil {
				t.Fatal(err)
			}
		}
		seen, r, rec := mustOpen(t, disk, 0, smallFiles)
		if len(r.payloads) != 6 || rec.Clean {
			t.Fatalf("%d entries were seen, clean %v", len(r.payloads), rec.Clean)
		}
		cut := disk.CrashClone(rand.New(rand.NewSource(seed)))
		after, r, _ := mustOpen(t, cut, 0, smallFiles)
		if len(r.payloads) != 6 {
			t.Errorf("seed %d: %d entries are left of 6 that were seen", seed, len(r.payloads))
		}
		mustClose(t, after)
		disk.PowerOff() // ends the other two
		_, _ = seen.Close(), killed.Close()
	}
}

// Case: the first frame of a new file is written and not yet synced when a checkpoint releases all that is durable. The
// file before stays until the new one is sure to be readable: else nothing would say that the journal was here.
func TestReleaseBeforeTheFirstSyncOfAFile(t *testing.T) {
	for seed := range int64(100) {
		rng := rand.New(rand.NewSource(seed))
		disk, opened, syncs := vfs.NewMem(), atomic.Pointer[Journal]{}, atomic.Int64{}
		syncs.Store(int64(5 + rng.Intn(20)))
		faulty := vfs.NewFaulty(disk, func(o vfs.Op) error {
			j := opened.Load()
			if j == nil || o.Kind != vfs.OpSync || j.Durable() == LSN(j.written.Load()) {
				return nil
			}
			if !j.files.naming.TryLock() {
				return nil // it may be the sync of a file that is being begun, which holds what Release needs
			}
			j.files.naming.Unlock()
			if err := j.Release(j.Durable()); err != nil {
				return err
			}
			if syncs.Add(-1) == 0 {
				disk.PowerOff()
			}
			return nil
		})
		j, _, _ := mustOpen(t, faulty, 0, smallFiles)
		opened.Store(j)
		durable := LSN(0)
		for {
			done := make(chan error, 1)
			lsn, err := j.Append(Entry{Kind: kindOf(durable + 1), Payload: [][]byte{make([]byte, 2<<10)}, Done: func(_ LSN, err error) { done <- err }})
			if err == nil {
				err = <-done
			}
			if err != nil {
				break
			}
			durable = lsn
		}
		_ = j.Close()
		again, _, _, err := open(disk.CrashClone(rng), durable, smallFiles)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		mustClose(t, again)
	}
}
