package journal

import (
	"fmt"
	"math/rand"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"tidings.dev/internal/vfs"
)

// Deferred entries wait until somebody calls CommitInline, and are then committed by one sync and answered before CommitInline returns.
func TestLead(t *testing.T) { synctest.Test(t, testLead) }

func testLead(t *testing.T) {
	var syncs atomic.Int64
	fs := vfs.NewFaulty(vfs.NewMem(), func(o vfs.Op) error {
		if o.Kind == vfs.OpSync {
			syncs.Add(1)
		}
		return nil
	})
	j, _, _ := mustOpen(t, fs, 0, Options{})
	synctest.Wait() // until the journal's goroutine waits for work: otherwise it may take the entries
	before := syncs.Load()
	var answered []LSN
	for range 10 {
		if _, err := j.Append(Entry{Kind: kindOf(1), Deferred: true, Done: func(lsn LSN, err error) { answered = append(answered, lsn) }}); err != nil {
			t.Fatal(err)
		}
	}
	if j.Durable() != 0 {
		t.Fatal("quiet entries were committed by nobody's wish")
	}
	j.CommitInline()
	if want := []LSN{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}; !slices.Equal(answered, want) || j.Durable() != 10 {
		t.Errorf("answered when CommitInline returned: %v, durable %d", answered, j.Durable())
	}
	if n := syncs.Load() - before; n != 1 {
		t.Errorf("%d syncs, want 1", n)
	}
	j.CommitInline() // nothing to do
	mustClose(t, j)
}

// Who comes while somebody commits does not wait for that: the entry is left to the journal's goroutine.
func TestLeadWhileAnotherCommits(t *testing.T) {
	var hold atomic.Pointer[chan struct{}]
	syncing := make(chan struct{})
	fs := vfs.NewFaulty(vfs.NewMem(), func(o vfs.Op) error {
		if h := hold.Swap(nil); o.Kind == vfs.OpSync && h != nil {
			syncing <- struct{}{}
			<-*h
		} else if h != nil {
			hold.Store(h)
		}
		return nil
	})
	for _, first := range []string{"the writer", "a leader"} {
		t.Run(first, func(t *testing.T) {
			j, _, _ := mustOpen(t, fs, 0, Options{})
			goOn := make(chan struct{})
			hold.Store(&goOn)
			if _, err := j.Append(Entry{Deferred: true}); err != nil {
				t.Fatal(err)
			}
			if first == "the writer" {
				j.Wake()
			} else {
				go j.CommitInline()
			}
			<-syncing
			done := make(chan struct{})
			if _, err := j.Append(Entry{Deferred: true, Done: func(LSN, error) { close(done) }}); err != nil {
				t.Fatal(err)
			}
			j.CommitInline() // would hang here
			close(goOn)
			<-done
			mustClose(t, j)
			if err := fs.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// Deferred entries are in nobody's way: they are committed when there is no more room, and by Close.
func TestQuietEntriesMakeRoom(t *testing.T) {
	j, _, _ := mustOpen(t, vfs.NewMem(), 0, Options{MaxQueuedBytes: 1000})
	var answered atomic.Int64
	for range 100 {
		if _, err := j.Append(Entry{Payload: [][]byte{make([]byte, 400)}, Deferred: true, Done: func(_ LSN, err error) {
			if err == nil {
				answered.Add(1)
			}
		}}); err != nil {
			t.Fatal(err)
		}
	}
	mustClose(t, j)
	if n := answered.Load(); n != 100 {
		t.Errorf("%d of 100 entries were committed", n)
	}
}

// Leaders, the writer and its timer side by side: each entry is answered once, one at a time, in order of LSN, and is there
// after a restart.
func TestLeadersBesideTheWriter(t *testing.T) {
	fs := vfs.NewMem()
	j, _, _ := mustOpen(t, fs, 0, Options{MaxGroupBytes: 2000, FileBytes: 64 << 10})
	const callers, each = 8, 500
	var (
		answering atomic.Int32
		last      LSN
		payloads  = map[LSN]string{}
		open      sync.WaitGroup
		all       sync.WaitGroup
	)
	for caller := range callers {
		all.Go(func() {
			rng := rand.New(rand.NewSource(int64(caller)))
			for i := range each {
				payload := fmt.Sprintf("%d/%d/%0*d", caller, i, rng.Intn(300), 0)
				e := Entry{Kind: 1, Payload: [][]byte{[]byte(payload)}, Deferred: rng.Intn(4) > 0}
				if rng.Intn(8) == 0 {
					e.SyncWithin = 1
				}
				open.Add(1)
				e.Done = func(lsn LSN, err error) {
					if answering.Add(1) != 1 || err != nil || lsn != last+1 {
						t.Errorf("LSN %d answered after %d, by %d at once, error %v", lsn, last, answering.Load(), err)
					}
					last, payloads[lsn] = lsn, payload
					answering.Add(-1)
					open.Done()
				}
				if _, err := j.Append(e); err != nil {
					t.Error(err)
				}
				if e.Deferred && rng.Intn(3) == 0 {
					j.Wake()
				} else if e.Deferred {
					j.CommitInline()
				}
			}
		})
	}
	all.Wait()
	open.Wait()
	mustClose(t, j)
	if last != callers*each {
		t.Errorf("%d entries answered, want %d", last, callers*each)
	}
	found := LSN(0)
	again, _, err := Open(fs, dir, 0, func(lsn LSN, _ Kind, payload []byte) error {
		if found++; string(payload) != payloads[lsn] {
			t.Errorf("LSN %d is another entry after the restart", lsn)
		}
		return nil
	}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	mustClose(t, again)
	if found != last {
		t.Errorf("%d entries after the restart, want %d", found, last)
	}
}
