package engine

import (
	"fmt"
	"testing"
)

// Checkpoints lie the further apart the more partitions each must sync, within bounds.
func TestCheckpointInterval(t *testing.T) {
	const least = 1 << 20
	for _, c := range []struct{ partitions, times int32 }{{1, 1}, {256, 1}, {512, 2}, {1024, 4}, {1500, 4}} {
		t.Run(fmt.Sprint(c.partitions), func(t *testing.T) {
			e := openMem(t, func(o *Config) { o.CheckpointBytes = least })
			topic := makeTopic(t, e, "orders", c.partitions)
			for range 2 { // the second time they are not new
				for i := range c.partitions {
					if a := appendNow(e, Partition{Topic: topic.ID, Index: i}, newBatch(-1, -1, "a")); a.Err != nil {
						t.Fatal(a.Err)
					}
				}
			}
			if got := e.maintenance.interval.bytes(); got != int64(c.times)*least {
				t.Errorf("%d bytes between checkpoints, want %d times %d", got, c.times, least)
			}
			if err := e.Checkpoint(t.Context()); err != nil {
				t.Fatal(err)
			}
			if a := appendNow(e, Partition{Topic: topic.ID, Index: 0}, newBatch(-1, -1, "a")); a.Err != nil {
				t.Fatal(a.Err)
			}
			if got := e.maintenance.interval.bytes(); got != least {
				t.Errorf("%d bytes until the next checkpoint with one partition, want %d", got, least)
			}
		})
	}
}
