package engine

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"tidings.dev/internal/vfs"
)

// BenchmarkReplay opens a directory whose journal holds 128 MiB that no checkpoint has, as after a kill: the most there
// is with the default configuration. MB/s is of that journal, until the engine is ready; its first checkpoint comes later.
func BenchmarkReplay(b *testing.B) {
	const totalBytes, recordBytes = 128 << 20, 1024
	for _, shape := range []struct{ partitions, records int32 }{{8, 16}, {1000, 1}} {
		b.Run(fmt.Sprintf("%d partitions, batches of %d", shape.partitions, shape.records), func(b *testing.B) {
			values := make([]string, shape.records)
			for i := range values {
				values[i] = strings.Repeat("x", recordBytes)
			}
			records := newBatch(-1, -1, values...)
			b.SetBytes(totalBytes / int64(len(records)) * int64(len(records)))
			for range b.N {
				b.StopTimer()
				disk, err := vfs.Disk(b.TempDir())
				if err != nil {
					b.Fatal(err)
				}
				c := Config{FS: disk, CheckpointBytes: 1 << 40, TailBytes: 2 * totalBytes}
				e := openWith(b, c)
				topic := makeTopic(b, e, "orders", shape.partitions)
				if err := e.maintenance.checkpoint(false); err != nil {
					b.Fatal(err)
				}
				var all sync.WaitGroup
				for i := range int32(totalBytes / len(records)) {
					all.Add(1)
					e.Append(Partition{Topic: topic.ID, Index: i % shape.partitions}, records, func(Appended) { all.Done() })
				}
				all.Wait()
				e.fence(errors.New("no checkpoint at the end"))
				e.Close()
				b.StartTimer()

				if e, err = Open(Config{FS: disk}); err != nil {
					b.Fatal(err)
				}

				b.StopTimer()
				if err := e.Close(); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
		})
	}
}

// BenchmarkCleanStart opens a directory of 1,000 partitions and 10,000 segments that was closed in good order. How large
// the segments are doesn't matter: none is read.
func BenchmarkCleanStart(b *testing.B) {
	disk, err := vfs.Disk(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	c := Config{FS: disk, SegmentBytes: 1000}
	e := openWith(b, c)
	topic := makeTopic(b, e, "orders", 1000)
	for range 10 {
		var all sync.WaitGroup
		for i := range topic.Partitions {
			all.Add(1)
			e.Append(Partition{Topic: topic.ID, Index: i}, newBatch(-1, -1, strings.Repeat("x", 600)), func(Appended) { all.Done() })
		}
		all.Wait()
	}
	if err := e.Close(); err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	for range b.N {
		e, err := Open(c)
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := e.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}
