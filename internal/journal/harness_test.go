package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand"
	"sync"
	"testing"
	"time"

	"tidings.dev/internal/vfs"
)

const dir = "journal"

// replayed collects what an Open gives back, in order.
type replayed struct {
	first    LSN
	payloads [][]byte
}

func (r *replayed) add(lsn LSN, kind Kind, payload []byte) error {
	if len(r.payloads) == 0 {
		r.first = lsn
	}
	if want := r.first + LSN(len(r.payloads)); lsn != want {
		return fmt.Errorf("replayed LSN %d, want %d", lsn, want)
	}
	if kind != kindOf(lsn) {
		return fmt.Errorf("LSN %d has kind %d, want %d", lsn, kind, kindOf(lsn))
	}
	r.payloads = append(r.payloads, bytes.Clone(payload))
	return nil
}

func kindOf(lsn LSN) Kind { return Kind(lsn%7 + 1) }

// ledger is what the user of a journal knows: what it appended and what was acknowledged. It outlives power cuts.
type ledger struct {
	mu       sync.Mutex
	told     sync.Cond // acked or failed changed
	payloads map[LSN][]byte
	acked    LSN // all up to here were promised to be durable
	answered LSN // all up to here were answered; above acked only written
	failed   error
	early    bool // some entries are to be answered before they are synced
	cut      bool // the power failed since the last check: what is only written may be gone
	disorder error
}

func newLedger() *ledger {
	l := &ledger{payloads: map[LSN][]byte{}}
	l.told.L = &l.mu
	return l
}

// settle waits until everything appended is acknowledged, or something failed.
func (l *ledger) settle(j *Journal) {
	next := l.next(j)
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.answered+1 < next && l.failed == nil {
		l.told.Wait()
	}
}

// append appends an entry with a payload of about n bytes, in two parts. The caller appends from one goroutine.
func (l *ledger) append(j *Journal, rng *rand.Rand, n int) error {
	payload := make([]byte, 8+n)
	binary.BigEndian.PutUint64(payload, rng.Uint64())
	rng.Read(payload[8:])
	next := l.next(j)
	e := Entry{Kind: kindOf(next), Payload: [][]byte{payload[:8], payload[8:]}, Done: l.done}
	if l.early && rng.Intn(4) > 0 {
		e.Done = l.doneEarly
		e.SyncWithin = []time.Duration{NoDeadline, time.Microsecond, time.Hour}[rng.Intn(3)]
	}
	lsn, err := j.Append(e)
	if err != nil {
		return err
	}
	if lsn != next {
		return fmt.Errorf("Append gave LSN %d, want %d", lsn, next)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.payloads[lsn] = payload
	return nil
}

func (l *ledger) next(j *Journal) LSN {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.next
}

// done is told of an entry that is durable, and with it all before it.
func (l *ledger) done(lsn LSN, err error) {
	l.doneEarly(lsn, err)
	if err == nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.acked = lsn
	}
}

// doneEarly is told of an entry that is written.
func (l *ledger) doneEarly(lsn LSN, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.told.Broadcast()
	if err != nil {
		l.failed = err
		return
	}
	if l.failed != nil {
		l.disorder = fmt.Errorf("LSN %d was acknowledged after a failure", lsn)
	}
	if lsn != l.answered+1 {
		l.disorder = fmt.Errorf("LSN %d was acknowledged after %d", lsn, l.answered)
	}
	l.answered = lsn
}

// check compares what came back with the ledger: every acknowledged entry above after, in order and byte for byte,
// then at most a part of those that were not acknowledged. What came back counts as acknowledged from then on.
func (l *ledger) check(after LSN, r *replayed, rec Recovery) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.disorder != nil {
		return l.disorder
	}
	if len(r.payloads) > 0 && r.first != after+1 {
		return fmt.Errorf("replay began with LSN %d, want %d", r.first, after+1)
	}
	last := after + LSN(len(r.payloads))
	if last < l.acked {
		return fmt.Errorf("LSN %d was acknowledged, and only %d came back", l.acked, last)
	}
	if !l.cut && last < l.answered {
		return fmt.Errorf("LSN %d was written before a kill, and only %d came back", l.answered, last)
	}
	if rec.Last != last || rec.Entries != len(r.payloads) {
		return fmt.Errorf("recovery says %d entries, last %d; replayed %d, last %d", rec.Entries, rec.Last, len(r.payloads), last)
	}
	for i, got := range r.payloads {
		lsn := after + 1 + LSN(i)
		if !bytes.Equal(got, l.payloads[lsn]) {
			return fmt.Errorf("LSN %d came back with other bytes (%d, want %d)", lsn, len(got), len(l.payloads[lsn]))
		}
	}
	for lsn := range l.payloads {
		if lsn > last {
			delete(l.payloads, lsn)
		}
	}
	l.acked, l.answered, l.failed, l.cut = last, last, nil, false
	return nil
}

// open opens a journal and returns what it replayed.
func open(fs vfs.FS, after LSN, o Options) (*Journal, *replayed, Recovery, error) {
	r := &replayed{}
	j, rec, err := Open(fs, dir, after, r.add, o)
	return j, r, rec, err
}

func mustOpen(t testing.TB, fs vfs.FS, after LSN, o Options) (*Journal, *replayed, Recovery) {
	t.Helper()
	j, r, rec, err := open(fs, after, o)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	return j, r, rec
}

// appendWait appends one entry and waits until it is durable.
func appendWait(t testing.TB, j *Journal, payload string) LSN {
	t.Helper()
	done := make(chan error, 1)
	lsn, err := j.Append(Entry{Kind: kindOf(j.Durable() + 1), Payload: [][]byte{[]byte(payload)},
		Done: func(_ LSN, err error) { done <- err }})
	if err == nil {
		err = <-done
	}
	if err != nil {
		t.Fatalf("append %q: %v", payload, err)
	}
	return lsn
}

func mustClose(t testing.TB, j *Journal) {
	t.Helper()
	if err := j.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
}

func texts(r *replayed) string {
	var s []string
	for _, p := range r.payloads {
		s = append(s, string(p))
	}
	return fmt.Sprint(s)
}

func isCorrupt(err error) bool {
	_, ok := errors.AsType[*CorruptError](err)
	return ok && errors.Is(err, ErrCorrupt)
}
