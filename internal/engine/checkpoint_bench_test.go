package engine

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tidings.dev/internal/meta"
	"tidings.dev/internal/vfs"
)

// BenchmarkCheckpoint compares what a durable acknowledgement takes during a checkpoint of 1,000 dirty partitions with
// what it takes without one, in the same run: each iteration soils every partition with 64 KiB (64 MiB in all, what the
// journal holds between checkpoints by default), checkpoints under load, and then measures as long without. The load is
// 16 emitters, each waiting for one record of 1 KiB at a time, over all partitions. "x_quiet_p99.9" is the median of the
// iterations' ratios:
//
//	go test ./internal/engine -run - -bench BenchmarkCheckpoint -benchtime 7x
func BenchmarkCheckpoint(b *testing.B) {
	const partitions, soilBytes, emitters = 1000, 64 << 10, 16
	disk, err := vfs.Disk(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	// No checkpoint begins by itself.
	e := openWith(b, Config{FS: disk, CheckpointBytes: 1 << 40})
	topic, err := e.CreateTopic(noWait, meta.TopicSpec{Name: "orders", Partitions: partitions}, false)
	if err != nil {
		b.Fatal(err)
	}
	soil := newBatch(-1, -1, strings.Repeat("x", soilBytes))
	records := newBatch(-1, -1, strings.Repeat("x", 1024))

	var loud, calm, ratio []float64
	var lasted []time.Duration
	for round := 0; b.Loop(); round++ {
		var all sync.WaitGroup
		for i := range int32(partitions) {
			all.Add(1)
			e.Append(Partition{Topic: topic.ID, Index: i}, soil, func(a Appended) {
				if a.Err != nil {
					b.Error(a.Err)
				}
				all.Done()
			})
		}
		all.Wait()
		if err := e.segments.flushAndEvict(); err != nil {
			b.Fatal(err)
		}

		load := emit(e, topic, records, emitters)
		time.Sleep(100 * time.Millisecond) // into its stride
		load.begin()
		began := time.Now()
		if err := e.maintenance.checkpoint(true); err != nil {
			b.Fatal(err)
		}
		took := time.Since(began)
		during := load.begin()
		time.Sleep(max(took, time.Second))
		without := load.end()

		loud, calm = append(loud, p999(during)), append(calm, p999(without))
		ratio = append(ratio, loud[round]/calm[round])
		lasted = append(lasted, took)
		b.Logf("checkpoint %v: %d acknowledgements, p50 %.0f µs, p99.9 %.0f µs, max %.0f µs; without: %d, %.0f, %.0f, %.0f",
			took.Round(time.Millisecond), len(during), quantile(during, 0.5), loud[round], quantile(during, 1),
			len(without), quantile(without, 0.5), calm[round], quantile(without, 1))
	}
	b.ReportMetric(median(ratio), "x_quiet_p99.9")
	b.ReportMetric(median(loud), "checkpoint_p99.9_µs")
	b.ReportMetric(median(calm), "quiet_p99.9_µs")
	b.ReportMetric(float64(median(lasted).Milliseconds()), "checkpoint_ms")
}

// emitting is a load of emitters that note what each acknowledgement takes.
type emitting struct {
	all     sync.WaitGroup
	stop    atomic.Bool
	mu      sync.Mutex
	samples []time.Duration
}

// emit starts the load; it goes on until end.
func emit(e *Engine, topic meta.Topic, records []byte, emitters int) *emitting {
	load := &emitting{}
	for first := range emitters {
		load.all.Go(func() {
			for i := int32(first); !load.stop.Load(); i += int32(emitters) {
				began := time.Now()
				if appendNow(e, Partition{Topic: topic.ID, Index: i % topic.Partitions}, records).Err != nil {
					return
				}
				took := time.Since(began)
				load.mu.Lock()
				load.samples = append(load.samples, took)
				load.mu.Unlock()
			}
		})
	}
	return load
}

// begin returns what was measured since the last begin, in µs.
func (l *emitting) begin() []float64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	micros := make([]float64, len(l.samples))
	for i, d := range l.samples {
		micros[i] = float64(d.Nanoseconds()) / 1000
	}
	l.samples = l.samples[:0]
	return micros
}

func (l *emitting) end() []float64 {
	l.stop.Store(true)
	l.all.Wait()
	return l.begin()
}

func p999(samples []float64) float64 { return quantile(samples, 0.999) }

// quantile is 0 of no samples. It sorts them.
func quantile(samples []float64, q float64) float64 {
	if len(samples) == 0 {
		return 0
	}
	slices.Sort(samples)
	return samples[min(int(q*float64(len(samples))), len(samples)-1)]
}

func median[T cmp.Ordered](of []T) T {
	slices.Sort(of)
	return of[len(of)/2]
}
