package partition

import (
	"errors"
	"math"
	"strings"
	"syscall"
	"testing"

	"tidings.dev/internal/vfs"
)

// What a checkpoint asks of a log before it syncs it, step by step.
func TestWriteOut(t *testing.T) {
	var sent int
	var syncs []string
	var fault error
	disk := vfs.NewFaulty(vfs.NewMem(), func(op vfs.Op) error {
		switch op.Kind {
		case vfs.OpWriteOut:
			sent += op.Bytes
			return fault
		case vfs.OpSync:
			syncs = append(syncs, op.Name)
		}
		return nil
	})
	l, err := Create(disk, "p", Config{SegmentBytes: 2000, IndexIntervalBytes: 150, Files: NewFileCache(64)})
	check(t, err)
	var all journal
	all.append(l, 50)
	size := l.SizeBytes()

	// Case: all of it is unsent, in memory or in segments.
	if got := l.WriteOutBacklog(); got != size {
		t.Errorf("%d bytes unsent of %d in memory", got, size)
	}
	check(t, l.Flush())
	if got := l.WriteOutBacklog(); got != size {
		t.Errorf("%d bytes unsent of %d in segments", got, size)
	}

	// Case: it goes out in pieces, across segments, every byte once.
	pieces := 0
	for {
		n, err := l.WriteOut(700)
		check(t, err)
		if n > 700 {
			t.Fatalf("sent %d bytes of at most 700", n)
		}
		if n == 0 {
			break
		}
		pieces++
	}
	if int64(sent) != size || l.WriteOutBacklog() != 0 || int64(pieces) != (size+699)/700 {
		t.Errorf("sent %d bytes of %d in %d pieces, %d unsent", sent, size, pieces, l.WriteOutBacklog())
	}

	// Case: waiting for it makes nothing durable.
	sent = 0
	check(t, l.AwaitWriteOut())
	if int64(sent) != size || len(syncs) != 0 || l.State().End != 0 {
		t.Errorf("awaited %d bytes of %d; synced %v; the state ends at %d", sent, size, syncs, l.State().End)
	}

	// Case: SyncWritten does, and leaves in memory what came since.
	written := l.End()
	all.append(l, 5)
	check(t, l.SyncWritten())
	if s := l.State(); s.End != written || l.Unwritten() == 0 || l.WriteOutBacklog() != l.Unwritten() {
		t.Errorf("the state ends at %d of %d, %d bytes unwritten, %d unsent", s.End, written, l.Unwritten(), l.WriteOutBacklog())
	}
	if len(syncs) < 2 || !strings.HasSuffix(syncs[0], ".log") {
		t.Errorf("synced %v", syncs)
	}

	// Case: what is durable is not sent again.
	sent = 0
	check(t, l.AwaitWriteOut())
	n, err := l.WriteOut(math.MaxInt64)
	check(t, err)
	if int64(sent) != n || n != l.SizeBytes()-size {
		t.Errorf("sent %d bytes, said %d, %d came since", sent, n, l.SizeBytes()-size)
	}

	// Case: an error may be the only one the disk gives for those pages, so it fences the log as a failed sync does.
	fault = syscall.EIO
	if err := l.AwaitWriteOut(); !errors.Is(err, syscall.EIO) {
		t.Errorf("await: %v", err)
	}
	fault = nil
	for what, err := range map[string]error{"sync": l.Sync(), "sync written": l.SyncWritten(), "await": l.AwaitWriteOut()} {
		if !errors.Is(err, syscall.EIO) {
			t.Errorf("%s after it: %v", what, err)
		}
	}
	if s := l.State(); s.End != written {
		t.Errorf("the state ends at %d, %d is durable", s.End, written)
	}
	all.expectRead(t, l, 0)

	// Case: closed.
	check(t, l.Close())
	if _, err := l.WriteOut(1); err == nil {
		t.Error("a closed log was written out")
	}
	if err := l.SyncWritten(); !errors.Is(err, ErrClosed) {
		t.Errorf("sync of a closed log: %v", err)
	}
}
