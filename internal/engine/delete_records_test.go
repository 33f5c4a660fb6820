package engine

import (
	"errors"
	"math/rand"
	"testing"

	"tidings.dev/internal/meta"
	"tidings.dev/internal/vfs"
)

// Case: records are deleted up to an offset, for good; what may not be deleted is refused with the reason.
func TestDeleteRecords(t *testing.T) {
	disk := vfs.NewMem()
	c := Config{FS: disk, JournalFileBytes: 1 << 20, SegmentBytes: 2048}
	e := openWith(t, c)
	id := Partition{Topic: makeTopic(t, e, "orders", 2).ID, Index: 1}
	for range 100 {
		appendNow(e, id, newBatch(-1, -1, "a", "b"))
	}
	delete := func(before, want int64, wantErr error) {
		t.Helper()
		if start, err := e.DeleteRecords(noWait, id, before); start != want || !errors.Is(err, wantErr) {
			t.Errorf("deleting before %d: start %d, %v; want %d, %v", before, start, err, want, wantErr)
		}
	}
	delete(201, -1, ErrOffsetOutOfRange)
	delete(-2, -1, ErrOffsetOutOfRange)
	delete(0, 0, nil)
	delete(51, 51, nil) // inside of a batch
	delete(20, 51, nil) // it never goes back
	if f := fetchNow(e, id, 50); !errors.Is(f.Err, ErrOffsetOutOfRange) || f.LogStart != 51 {
		t.Errorf("below the start: %+v", f)
	}
	if l, err := e.OffsetFor(id, Earliest); err != nil || l.Offset != 51 {
		t.Errorf("earliest: %+v, %v", l, err)
	}
	if got, start, err := readLog(e, id); err != nil || start != 51 || len(got) != 149 {
		t.Errorf("%d records from %d: %v", len(got), start, err)
	}

	// Case: it is remembered, by the journal and by a checkpoint.
	for _, cut := range []bool{true, false} {
		if cut {
			c.FS = disk.CrashClone(rand.New(rand.NewSource(1)))
		}
		e.Close()
		e = openWith(t, c)
		if got, start, err := readLog(e, id); err != nil || start != 51 || len(got) != 149 {
			t.Errorf("after a restart %d records from %d: %v", len(got), start, err)
		}
	}

	// Case: everything.
	delete(HighWatermark, 200, nil)
	if a := appendNow(e, id, newBatch(-1, -1, "after")); a.Err != nil || a.BaseOffset != 200 || a.LogStart != 200 {
		t.Errorf("%+v", a)
	}

	// Case: what is not there, or may not be touched.
	if _, err := e.DeleteRecords(noWait, Partition{Topic: id.Topic, Index: 2}, 0); !errors.Is(err, ErrUnknownPartition) {
		t.Error(err)
	}
	if _, err := e.DeleteRecords(noWait, Partition{Topic: meta.TopicID{1}, Index: 0}, 0); !errors.Is(err, ErrUnknownTopic) {
		t.Error(err)
	}
	compacted := compactedTopic(t, e, "stock")
	appendNow(e, compacted, put("key", nil))
	if _, err := e.DeleteRecords(noWait, compacted, HighWatermark); !errors.Is(err, ErrPolicy) {
		t.Error(err)
	}
	e.Close()
	if _, err := e.DeleteRecords(noWait, id, 0); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
}
