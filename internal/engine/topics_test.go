package engine

import (
	mathrand "math/rand"
	"strings"
	"sync/atomic"
	"testing"

	"tidings.dev/internal/datadir"
	"tidings.dev/internal/vfs"
)

// Case: a topic is made, and grows: as many directories are synced for one partition as for a hundred, and a power cut
// right after the answer leaves the directory of each partition.
func TestTopicIsMadeWithFewSyncs(t *testing.T) {
	var syncs atomic.Int64
	disk := vfs.NewMem()
	e := openMem(t, func(c *Config) {
		c.FS = vfs.NewFaulty(disk, func(op vfs.Op) error {
			if strings.HasPrefix(op.Name, datadir.TopicsDir) && (op.Kind == vfs.OpSyncDir || op.Kind == vfs.OpMkdirAll) {
				syncs.Add(1)
			}
			return nil
		})
	})
	syncs.Store(0)
	makeTopic(t, e, "one", 1)
	one := syncs.Swap(0)
	makeTopic(t, e, "many", 100)
	many := syncs.Swap(0)
	if err := e.CreatePartitions(noWait, "many", 200, false); err != nil {
		t.Fatal(err)
	}
	if grown := syncs.Load(); one == 0 || many != one || grown != one {
		t.Errorf("syncs of directories: %d for a partition, %d for 100, %d for 100 more", one, many, grown)
	}
	for seed := range int64(20) {
		left := disk.CrashClone(mathrand.New(mathrand.NewSource(seed)))
		for _, p := range e.allParts() {
			if _, err := left.Stat(p.dir); err != nil {
				t.Fatalf("power cut %d: %v", seed, err)
			}
		}
	}
}
