package partition

import (
	"bytes"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"tidings.dev/internal/batch"
	"tidings.dev/internal/vfs"
)

// history returns a log of so many batches in segment files, none in memory, that reads ahead for any reader.
func history(t *testing.T, fs vfs.FS, batches int, limitBytes int64) (*Log, *journal) {
	t.Helper()
	config := small()
	config.ReadAhead = anyAhead(limitBytes)
	l, err := Create(fs, "p", config)
	check(t, err)
	var all journal
	all.prepare(batches)
	for _, v := range all.batches {
		l.Append(bytes.Clone(v))
	}
	check(t, l.Sync())
	l.EvictTail(0)
	return l, &all
}

// anyAhead reads ahead for readers of little, too.
func anyAhead(limitBytes int64) *ReadAhead {
	a := NewReadAhead(limitBytes)
	a.leastBytes = 1
	return a
}

// settled waits until nothing is being read ahead.
func (a *ReadAhead) settled() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, w := range a.extents {
		<-w.ready
	}
}

// readOn reads once at an offset, compares what comes, and returns where the next read begins.
func readOn(t *testing.T, l *Log, all *journal, offset int64, maxBytes int) int64 {
	t.Helper()
	got, err := l.Read(nil, offset, maxBytes)
	check(t, err)
	bytesGot := 0
	for _, piece := range got {
		bytesGot += len(piece)
		for v, err := range batch.Split(piece) {
			check(t, err)
			if !bytes.Equal(v, all.holding(offset)) {
				t.Fatalf("another batch at %d", offset)
			}
			offset = v.NextOffset()
		}
	}
	if bytesGot > maxBytes {
		t.Fatalf("%d bytes before %d, at most %d were asked for", bytesGot, offset, maxBytes)
	}
	return offset
}

// A reader in order is given, from its second read on, what was read while it was at work: the disk may be gone by then.
// One who follows closely is given the same.
func TestReadAhead(t *testing.T) {
	broken := errors.New("broken")
	var fails atomic.Bool
	disk := vfs.NewFaulty(vfs.NewMem(), func(o vfs.Op) error {
		if fails.Load() && o.Kind == vfs.OpReadAt {
			return broken
		}
		return nil
	})
	l, all := history(t, disk, 400, 1<<20)
	offset, reads := int64(0), 0
	for ; offset < l.End(); reads++ {
		l.readAhead.begin(l, offset, 1000) // should it have met the broken disk
		l.readAhead.settled()
		fails.Store(reads > 0)
		next := readOn(t, l, all, offset, 1000)
		if reads > 0 && readOn(t, l, all, offset, 1000) != next {
			t.Fatalf("the second reader at %d has something else", offset)
		}
		fails.Store(false)
		l.readAhead.settled()
		l.readAhead.forgetEmpty()
		offset = next
	}
	if reads < 20 {
		t.Errorf("%d reads prove little", reads)
	}

	// Case: one who jumps about waits for the disk.
	l.readAhead.drop(l)
	fails.Store(true)
	if _, err := l.Read(nil, 17, 1000); !errors.Is(err, broken) {
		t.Errorf("a read elsewhere: %v", err)
	}
	fails.Store(false)

	// Case: what was read ahead and then deleted is out of range.
	next := readOn(t, l, all, l.segments[1].Base, 1000)
	l.readAhead.settled()
	if len(l.readAhead.extents) != 1 {
		t.Fatalf("%d extents", len(l.readAhead.extents))
	}
	check(t, l.DeleteBefore(next+1))
	if _, err := l.Read(nil, next, 1000); !errors.Is(err, ErrOffsetOutOfRange) {
		t.Errorf("a read of what was deleted: %v", err)
	}

	// Case: a closed log leaves nothing behind.
	check(t, l.Close())
	if n, bytes := len(l.readAhead.extents), l.readAhead.bytes; n != 0 || bytes != 0 {
		t.Errorf("%d extents of %d bytes after Close", n, bytes)
	}
}

// forgetEmpty removes the extents that could not be read.
func (a *ReadAhead) forgetEmpty() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := len(a.extents) - 1; i >= 0; i-- {
		if len(a.extents[i].runs) == 0 {
			a.remove(i)
		}
	}
}

// However many readers there are, what is read ahead for them stays within its limit. Nobody's extent is taken that is in
// use; one that was read to its end gives way, and in time all do.
func TestReadAheadIsBounded(t *testing.T) {
	l, all := history(t, vfs.NewMem(), 400, 3*4*1000)
	a := l.readAhead
	bounded := func(extents int) {
		t.Helper()
		a.settled()
		if n, bytes := len(a.extents), a.bytes; n != extents || bytes > a.limitBytes {
			t.Fatalf("%d extents of %d bytes, want %d", n, bytes, extents)
		}
	}
	for i := range 10 {
		readOn(t, l, all, l.segments[4*i].Base, 1000)
		bounded(min(i+1, 3))
	}
	first := a.extents[0]
	for offset := first.offset; offset < first.end; bounded(3) {
		offset = readOn(t, l, all, offset, 1000)
	}
	if slices.Contains(a.extents, first) {
		t.Error("a extent that was read to its end is still there, and the next has no place")
	}

	// More than the limit is read without.
	if _, err := l.Read(nil, 0, 20_000); err != nil {
		t.Error(err)
	}
	bounded(3)
	for _, w := range a.extents {
		w.used = w.used.Add(-time.Hour)
	}
	a.expireIdle()
	bounded(0)
	if a.expiry != nil {
		t.Error("there is nothing to tidy up, and a timer runs")
	}
}
