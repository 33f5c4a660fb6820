package partition

import (
	"testing"

	"tidings.dev/internal/vfs"
)

// Case: a flush ends while appends go on: what comes after it began is left to the next.
func TestFlushEndsWhileAppendsGoOn(t *testing.T) {
	var l *Log
	var all journal
	writes := 0
	disk := vfs.NewFaulty(vfs.NewMem(), func(op vfs.Op) error {
		if op.Kind == vfs.OpWriteAt && l != nil && writes < 100 {
			writes++
			all.append(l, 1)
		}
		return nil
	})
	l, err := Create(disk, "topic/0", Config{Files: NewFileCache(4)})
	check(t, err)
	all.append(l, 3)
	end := l.End()
	check(t, l.Flush())
	if writes != 1 || l.written != end || l.Unwritten() == 0 {
		t.Errorf("%d writes, written up to %d, want one up to %d; %d bytes are left", writes, l.written, end, l.Unwritten())
	}
	check(t, l.Flush())
	all.expectRead(t, l, 0)
	check(t, l.Close())
}
