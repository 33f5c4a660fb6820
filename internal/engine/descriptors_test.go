package engine

import (
	"errors"
	"fmt"
	"sync/atomic"
	"syscall"
	"testing"

	"tidings.dev/internal/faults"
	"tidings.dev/internal/vfs"
)

// needsDescriptor reports whether an operation of a real file system opens a file or a directory, and so fails when no
// file descriptor is free. all includes the operations for which vfs.Disk has descriptors in reserve.
func needsDescriptor(k vfs.OpKind, all bool) bool {
	switch k {
	case vfs.OpCreate, vfs.OpOpen, vfs.OpOpenRead:
		return true
	case vfs.OpRemove, vfs.OpRemoveAll, vfs.OpRename, vfs.OpMkdirAll, vfs.OpMkdir, vfs.OpList, vfs.OpStat, vfs.OpSyncDir:
		return all
	}
	return false
}

// TestNoFileDescriptorFencesNothing takes all file descriptors away, at every operation that needs one, and gives them
// back after a while. The engine must refuse appends meanwhile, or accept them, and go on by itself afterwards. Every
// append that it has accepted must be there, also after a restart.
func TestNoFileDescriptorFencesNothing(t *testing.T) {
	for name, all := range map[string]bool{"files": false, "files and directories": true} {
		t.Run(name, func(t *testing.T) {
			for first := int64(1); first < 400; first += 3 {
				var armed atomic.Bool
				var failed, count atomic.Int64
				disk := vfs.NewMem()
				faulty := vfs.NewFaulty(disk, func(op vfs.Op) error {
					if !armed.Load() || !needsDescriptor(op.Kind, all) || count.Add(1) < first || failed.Add(1) > 20 {
						return nil
					}
					return []error{syscall.EMFILE, syscall.ENFILE}[first%2]
				})
				c := fullConfig(faulty)
				c.MaxOpenFiles = 2 // so that files are opened again and again
				e := openWith(t, c)
				var ids []Partition
				for p := range 4 {
					ids = append(ids, Partition{Topic: makeTopic(t, e, fmt.Sprint("t", p), 1).ID})
				}
				armed.Store(true)
				acked := map[Partition]int{}
				for i := range 150 {
					id := ids[i%len(ids)]
					a := appendNow(e, id, newBatch(-1, -1, faults.Payload("d", i)+string(make([]byte, 3000))))
					switch {
					case a.Err == nil:
						acked[id]++
					case !errors.Is(a.Err, ErrFull):
						t.Fatalf("from operation %d: append %d: %v (fenced: %v)", first, i, a.Err, e.Err())
					}
				}
				armed.Store(false)
				if err := e.Err(); err != nil {
					t.Fatalf("from operation %d: fenced: %v", first, err)
				}
				awaitRoom(t, e)
				for _, id := range ids {
					if a := appendNow(e, id, newBatch(-1, -1, faults.Payload("d", 1))); a.Err != nil {
						t.Fatalf("from operation %d, when there are descriptors again: %v", first, a.Err)
					}
					acked[id]++
				}
				for range 2 {
					for _, id := range ids {
						if got, _, err := readLog(e, id); err != nil || len(got) != acked[id] {
							t.Fatalf("from operation %d: %d records, %v; want %d", first, len(got), err, acked[id])
						}
					}
					if err := e.Close(); err != nil {
						t.Fatalf("from operation %d: close: %v", first, err)
					}
					e = openWith(t, fullConfig(disk))
				}
				e.Close()
				if failed.Load() == 0 && first > 1 {
					return // there are no more operations
				}
			}
		})
	}
}
