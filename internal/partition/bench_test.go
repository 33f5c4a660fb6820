package partition

import (
	"runtime"
	"testing"

	"tidings.dev/internal/batch"
	"tidings.dev/internal/vfs"
)

// Benchmarks use the real disk where there are files: go test ./internal/partition -run - -bench .

func benchLog(b *testing.B) *Log {
	b.Helper()
	disk, err := vfs.Disk(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	l, err := Create(disk, "p", Config{Files: NewFileCache(16)})
	if err != nil {
		b.Fatal(err)
	}
	return l
}

// fill appends n batches of so many records of 1 KiB each.
func fill(l *Log, n, records int) {
	for range n {
		var builder batch.Builder
		builder.Reset(l.End())
		for range records {
			builder.Add(1, nil, make([]byte, 1000))
		}
		l.Append(builder.Batch())
	}
}

func BenchmarkAppend(b *testing.B) {
	l := benchLog(b)
	var builder batch.Builder
	builder.Add(1, nil, make([]byte, 1000))
	v := builder.Batch()
	b.ReportAllocs()
	b.SetBytes(int64(len(v)))
	n := 0
	for b.Loop() {
		v.SetBaseOffset(l.End())
		l.Append(v)
		if n++; n%10_000 == 0 {
			l.tail = tail{} // as if it were written and evicted
		}
	}
}

func BenchmarkReadTail(b *testing.B) {
	l := benchLog(b)
	fill(l, 1000, 1)
	dst := make([][]byte, 0, 1000)
	b.ReportAllocs()
	b.SetBytes(100 * 1000)
	offset := int64(0)
	for b.Loop() {
		var err error
		if dst, err = l.Read(dst[:0], offset, 100*1100); err != nil || len(dst) < 90 {
			b.Fatal(len(dst), err)
		}
		offset = (offset + 100) % 900
	}
}

// benchHistory is 256 MiB of batches of 16 KiB in segments, none of it in memory.
func benchHistory(b *testing.B) *Log {
	b.Helper()
	l := benchLog(b)
	const batches = 16 << 10
	for range 16 {
		fill(l, batches/16, 16)
		if err := l.Flush(); err != nil {
			b.Fatal(err)
		}
		l.EvictTail(0)
	}
	return l
}

// Sequential history, 1 MiB a read.
func BenchmarkReadHistory(b *testing.B) {
	l := benchHistory(b)
	dst := make([][]byte, 0, 10)
	b.ReportAllocs()
	b.SetBytes(1 << 20)
	offset := int64(0)
	b.ResetTimer()
	for b.Loop() {
		var err error
		if dst, err = l.Read(dst[:0], offset, 1<<20); err != nil || len(dst) == 0 {
			b.Fatal(len(dst), err)
		}
		last := dst[len(dst)-1]
		for v := range batch.Split(last) {
			offset = v.NextOffset()
		}
		if offset > l.End()-100 {
			offset = 0
		}
	}
}

// What it costs to find a run of 1 MiB that can be sent, and to have it ready: the sending is the kernel's.
func BenchmarkReadStored(b *testing.B) {
	l := benchHistory(b)
	first, err := l.Read(nil, 0, 1)
	if err != nil {
		b.Fatal(err)
	}
	const records = 16 // of each batch, and all are of one size
	batchBytes := int64(len(first[0]))
	replay := func() (runs int) {
		for offset := int64(0); offset < l.End(); {
			pieces, stored, err := l.ReadStored(nil, offset, 1<<20)
			if err != nil {
				b.Fatal(err)
			}
			if open, ok := stored.Open(); ok {
				open.Close()
				offset = stored.segment.Base + (stored.position+int64(stored.sizeBytes))/batchBytes*records
				runs++
				continue
			}
			for v := range batch.Split(pieces[len(pieces)-1]) {
				offset = v.NextOffset()
			}
		}
		return runs
	}
	replay()
	replay()
	if replay() < 200 {
		b.Skip("these files can't be sent")
	}
	b.ReportAllocs()
	b.ResetTimer()
	runs := 0
	for b.Loop() {
		runs += replay()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(runs), "ns/run")
}

// One batch somewhere in history: index, seek, read.
func BenchmarkReadRandom(b *testing.B) {
	l := benchLog(b)
	fill(l, 64<<10, 1)
	if err := l.Sync(); err != nil {
		b.Fatal(err)
	}
	l.EvictTail(0)
	dst := make([][]byte, 0, 10)
	b.ReportAllocs()
	b.ResetTimer()
	offset := int64(0)
	for b.Loop() {
		offset = (offset*6364136223846793005 + 1442695040888963407) & (1<<62 - 1)
		var err error
		if dst, err = l.Read(dst[:0], offset%l.End(), 1); err != nil || len(dst) != 1 {
			b.Fatal(len(dst), err)
		}
	}
}

func BenchmarkFlush(b *testing.B) {
	l := benchLog(b)
	b.ReportAllocs()
	b.SetBytes(1000 * 1000)
	for b.Loop() {
		b.StopTimer()
		fill(l, 1000, 1)
		b.StartTimer()
		if err := l.Flush(); err != nil {
			b.Fatal(err)
		}
		l.EvictTail(0)
		if l.Start()+100_000 < l.End() {
			b.StopTimer()
			if err := l.DeleteBefore(l.End()); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
		}
	}
}

// Opening a log of four segments after a stop; a broker does this once for every partition.
func BenchmarkOpen(b *testing.B) {
	l := benchLog(b)
	l.config.SegmentBytes = 256 << 10
	fill(l, 1000, 1)
	if err := l.Sync(); err != nil {
		b.Fatal(err)
	}
	s := l.State()
	if err := l.Close(); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Open(l.fs, l.dir, l.config, s); err != nil {
			b.Fatal(err)
		}
	}
}

// What a partitions of 1 MiB cost.
func BenchmarkIdleLog(b *testing.B) {
	disk, err := vfs.Disk(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	files := NewFileCache(16)
	for b.Loop() {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		var logs []*Log
		for i := range 200 {
			l, err := Create(disk, string(rune('a'+i%26))+string(rune('a'+i/26)), Config{Files: files})
			if err != nil {
				b.Fatal(err)
			}
			fill(l, 64, 16)
			if err := l.Sync(); err != nil {
				b.Fatal(err)
			}
			l.EvictTail(0)
			logs = append(logs, l)
		}
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(len(logs)), "B/log")
		runtime.KeepAlive(logs)
		for _, l := range logs {
			l.Close()
		}
	}
}
