package journal

import (
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"tidings.dev/internal/vfs"
)

// The benchmarks give ratios against the disk itself, measured in the same run: raw is the rate, or the median time, of
// writing 4 KiB and fdatasync, one after the other, on a file whose blocks were all written before.

// rawSync measures the disk for about a quarter of a second.
func rawSync(b *testing.B, fs vfs.FS) (perSecond float64, p50 time.Duration) {
	b.Helper()
	f, err := fs.Create("raw")
	if err == nil {
		if err = f.Allocate(16 << 20); err == nil {
			err = f.Sync()
		}
	}
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	page := make([]byte, 4096)
	for i := range page {
		page[i] = byte(i * 7)
	}
	var took []time.Duration
	start := time.Now()
	for i := int64(0); time.Since(start) < 250*time.Millisecond; i++ {
		before := time.Now()
		if _, err := f.WriteAt(page, i%4096*4096); err != nil {
			b.Fatal(err)
		}
		if err := f.Sync(); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(before))
	}
	perSecond = float64(len(took)) / time.Since(start).Seconds()
	slices.Sort(took)
	return perSecond, took[len(took)/2]
}

func benchDisk(b *testing.B) vfs.FS {
	b.Helper()
	fs, err := vfs.Disk(filepath.Join(b.TempDir(), "data"))
	if err != nil {
		b.Fatal(err)
	}
	return fs
}

// release plays the engine: a checkpoint whenever 48 MiB are written.
func release(b *testing.B, j *Journal, lsn LSN) {
	if lsn%1024 == 0 && j.SizeBytes() > 48<<20 {
		if err := j.Release(j.Durable()); err != nil {
			b.Error(err)
		}
	}
}

// One appender that waits for each entry of 1 KiB: what a lone producer pays. "x_raw_p50" is its median time in medians
// of the disk.
func BenchmarkAlone(b *testing.B) {
	fs := benchDisk(b)
	j, _, _ := mustOpen(b, fs, 0, Options{})
	defer mustClose(b, j)
	_, before := rawSync(b, fs)
	done := make(chan error, 1)
	e := Entry{Payload: [][]byte{make([]byte, 1024)}, Done: func(_ LSN, err error) { done <- err }}
	took := make([]time.Duration, 0, b.N)
	b.ResetTimer()
	for range b.N {
		start := time.Now()
		lsn, err := j.Append(e)
		if err == nil {
			err = <-done
		}
		if err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(start))
		release(b, j, lsn)
	}
	b.StopTimer()
	_, after := rawSync(b, fs)
	slices.Sort(took)
	p50 := took[len(took)/2]
	b.ReportMetric(float64(p50.Microseconds()), "µs_p50")
	b.ReportMetric(float64(p50)/(float64(before+after)/2), "x_raw_p50")
}

// 64 appenders that each wait for their entry of 1 KiB. "x_raw" is how many entries are committed in the time of one
// raw sync.
func BenchmarkConcurrent64(b *testing.B) {
	fs := benchDisk(b)
	j, _, _ := mustOpen(b, fs, 0, Options{})
	defer mustClose(b, j)
	before, _ := rawSync(b, fs)
	b.ResetTimer()
	start := time.Now()
	var all sync.WaitGroup
	for a := range 64 {
		all.Go(func() {
			done := make(chan error, 1)
			e := Entry{Payload: [][]byte{make([]byte, 1024)}, Done: func(_ LSN, err error) { done <- err }}
			for i := a; i < b.N; i += 64 {
				lsn, err := j.Append(e)
				if err == nil {
					err = <-done
				}
				if err != nil {
					b.Error(err)
					return
				}
				release(b, j, lsn)
			}
		})
	}
	all.Wait()
	rate := float64(b.N) / time.Since(start).Seconds()
	b.StopTimer()
	after, _ := rawSync(b, fs)
	b.ReportMetric(rate, "entries/s")
	b.ReportMetric(rate/((before+after)/2), "x_raw")
}

// One appender that doesn't wait, 16 KiB at a time, as batches come under load.
func BenchmarkStream(b *testing.B) {
	fs := benchDisk(b)
	j, _, _ := mustOpen(b, fs, 0, Options{})
	payload := make([]byte, 16<<10)
	b.SetBytes(int64(len(payload)))
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		lsn, err := j.Append(Entry{Payload: [][]byte{payload}})
		if err != nil {
			b.Fatal(err)
		}
		release(b, j, lsn)
	}
	mustClose(b, j)
}

// Replay of what a recovery reads, from a warm page cache.
func BenchmarkReplay(b *testing.B) {
	fs := benchDisk(b)
	j, _, _ := mustOpen(b, fs, 0, Options{})
	payload := make([]byte, 16<<10)
	const entries = 4096
	for range entries {
		if _, err := j.Append(Entry{Payload: [][]byte{payload}}); err != nil {
			b.Fatal(err)
		}
	}
	mustClose(b, j)
	b.SetBytes(entries * int64(len(payload)))
	for b.Loop() {
		j, rec, err := Open(fs, dir, 0, func(LSN, Kind, []byte) error { return nil }, Options{})
		if err != nil || rec.Entries != entries {
			b.Fatal(rec, err)
		}
		mustClose(b, j)
	}
}

// Opening for the first time, the first acknowledgement included.
func BenchmarkFirstAck(b *testing.B) {
	for b.Loop() {
		fs := benchDisk(b)
		j, _, _ := mustOpen(b, fs, 0, Options{})
		done := make(chan error, 1)
		if _, err := j.Append(Entry{Done: func(_ LSN, err error) { done <- err }}); err != nil {
			b.Fatal(err)
		}
		<-done
		mustClose(b, j)
	}
}
