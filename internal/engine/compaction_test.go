package engine

import (
	"errors"
	"flag"
	"fmt"
	mathrand "math/rand"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tidings.dev/internal/batch"
	"tidings.dev/internal/datadir"
	"tidings.dev/internal/meta"
	"tidings.dev/internal/partition"
	"tidings.dev/internal/vfs"
)

var compactSeed = flag.Uint64("compact.seed", 0, "seed of TestPowerCutsWhileCompacting; 0: a new one each time")

// compactedTopic makes a topic of one partition with small segments that is compacted as soon as anything is dirty.
func compactedTopic(t testing.TB, e *Engine, name string, configs ...string) Partition {
	t.Helper()
	all := map[string]string{"cleanup.policy": "compact", "segment.bytes": "2048", "min.cleanable.dirty.ratio": "0.01"}
	for i := 0; i < len(configs); i += 2 {
		all[configs[i]] = configs[i+1]
	}
	topic, err := e.CreateTopic(noWait, meta.TopicSpec{Name: name, Partitions: 1, Configs: all}, false)
	if err != nil {
		t.Fatal(err)
	}
	return Partition{Topic: topic.ID, Index: 0}
}

// put is a batch of one record; a nil value deletes the key.
func put(key string, value []byte) batch.View {
	var b batch.Builder
	b.Add(time.Now().UnixMilli(), []byte(key), value)
	return b.Batch()
}

// readKeys reads a partition as a table: key to value, later over earlier, and counts records. A tombstone deletes.
func readKeys(t testing.TB, e *Engine, id Partition) (table map[string]string, records int) {
	t.Helper()
	table = map[string]string{}
	listed, err := e.OffsetFor(id, Earliest)
	if err != nil {
		t.Fatal(err)
	}
	for next := listed.Offset; ; {
		f := fetchNow(e, id, next)
		if f.Err != nil {
			t.Fatal(f.Err)
		}
		if len(f.Records) == 0 {
			if next != f.HighWatermark {
				t.Fatalf("nothing at %d, the high watermark is %d", next, f.HighWatermark)
			}
			return table, records
		}
		for _, run := range f.Records {
			for v, err := range batch.Split(run) {
				if err != nil {
					t.Fatal(err)
				}
				for r, err := range batch.Records(v, 1<<20) {
					if err != nil {
						t.Fatal(err)
					}
					records++
					if r.Tombstone() {
						delete(table, string(r.Key))
					} else {
						table[string(r.Key)] = string(r.Value)
					}
				}
				next = v.NextOffset()
			}
		}
	}
}

// eventually waits for what the background does.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for range 2000 {
		if holds() {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatalf("in vain: %s", what)
}

// Case: compaction comes by itself, while producers append and consumers read. Each consumer ends with the table that
// the producer made, whatever it met on its way; nothing moves; in the end only about as many records as keys are left,
// and the files of what was replaced are gone.
func TestCompactionRacesWithReadsAndAppends(t *testing.T) {
	disk := vfs.NewMem()
	c := Config{FS: disk, JournalFileBytes: 1 << 20, RetentionInterval: 2 * time.Millisecond, CheckpointBytes: 64 << 10, TailBytes: 32 << 10,
		CompactionBytes: 24 * 40} // 30 keys, so that it takes several rounds
	e := openWith(t, c)
	id := compactedTopic(t, e, "stock", "delete.retention.ms", "60000")
	const keys, rounds = 50, 120
	want := map[string]string{}
	var sent sync.Map // offset → key=value
	var done atomic.Bool
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for !done.Load() {
				last := int64(-1)
				for next := int64(0); ; {
					f := fetchNow(e, id, next)
					if f.Err != nil {
						t.Error(f.Err)
						return
					}
					if len(f.Records) == 0 {
						break
					}
					for _, run := range f.Records {
						for v := range batch.Split(run) {
							for r := range batch.Records(v, 1<<20) {
								if was, ok := sent.Load(r.Offset); ok && was != fmt.Sprintf("%s=%s", r.Key, r.Value) {
									t.Errorf("offset %d has %s=%s, was %s", r.Offset, r.Key, r.Value, was)
								}
								if r.Offset <= last {
									t.Errorf("offset %d after %d", r.Offset, last)
								}
								last = r.Offset
							}
							next = v.NextOffset()
						}
					}
				}
			}
		})
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range keys * rounds {
		key, value := fmt.Sprint("item-", rng.IntN(keys)), fmt.Append(nil, "value-", i)
		if rng.IntN(10) == 0 {
			value = nil
			delete(want, key)
		} else {
			want[key] = string(value)
		}
		a := appendNow(e, id, put(key, value))
		if a.Err != nil {
			t.Fatal(a.Err)
		}
		sent.Store(a.BaseOffset, fmt.Sprintf("%s=%s", key, value))
	}
	done.Store(true)
	wg.Wait()
	table, _ := readKeys(t, e, id)
	if fmt.Sprint(table) != fmt.Sprint(want) {
		t.Errorf("a consumer ends with\n%v, want\n%v", table, want)
	}
	eventually(t, "few records are left", func() bool { _, n := readKeys(t, e, id); return n < 4*keys })
	p := e.topics.parts.get(id)
	eventually(t, "the replaced files go", func() bool { return p.log.Replaced() == 0 })
	if a := appendNow(e, id, put("x", nil)); a.BaseOffset != keys*rounds {
		t.Errorf("the next offset is %d, want %d", a.BaseOffset, keys*rounds)
	}

	// Case: a restart changes nothing of it.
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	e = openWith(t, c)
	if table, n := readKeys(t, e, id); fmt.Sprint(table) != fmt.Sprint(want) || n > 4*keys {
		t.Errorf("after a restart %d records make\n%v, want\n%v", n, table, want)
	}
}

// Case: when a log is compacted, by its topic's configuration.
func TestWhenCompactionIsDue(t *testing.T) {
	now := time.UnixMilli(10_000_000)
	const never = time.Duration(1<<63 - 1)
	for _, c := range []struct {
		name   string
		limits compactionConfig
		d      partition.Dirtiness
		want   bool
	}{
		{"nothing is dirty", compactionConfig{ratio: 0, maxLag: never}, partition.Dirtiness{CleanBytes: 100, OldestMS: -1}, false},
		{"half is dirty and more than half is asked for", compactionConfig{ratio: 0.5, maxLag: never}, partition.Dirtiness{CleanBytes: 100, DirtyBytes: 100}, false},
		{"more than half is dirty", compactionConfig{ratio: 0.5, maxLag: never}, partition.Dirtiness{CleanBytes: 100, DirtyBytes: 101}, true},
		{"anything is enough", compactionConfig{ratio: 0, maxLag: never}, partition.Dirtiness{CleanBytes: 1 << 40, DirtyBytes: 1}, true},
		{"a ratio that nothing exceeds", compactionConfig{ratio: 1, maxLag: never}, partition.Dirtiness{DirtyBytes: 100}, false},
		{"little is dirty, for too long", compactionConfig{ratio: 0.9, maxLag: time.Second}, partition.Dirtiness{CleanBytes: 100, DirtyBytes: 1, OldestMS: 9_998_999}, true},
		{"little is dirty, for as long as may be", compactionConfig{ratio: 0.9, maxLag: time.Second}, partition.Dirtiness{CleanBytes: 100, DirtyBytes: 1, OldestMS: 9_999_000}, false},
		{"tombstones have stayed their time", compactionConfig{ratio: 1, maxLag: never}, partition.Dirtiness{CleanBytes: 100, TombstonesDue: true}, true},
	} {
		if got := c.limits.isDue(c.d, now); got != c.want {
			t.Errorf("%s: due %v", c.name, got)
		}
	}
}

// Case: compact,delete: retention takes old segments whole, compaction cleans the rest. And a topic without compaction
// is never touched.
func TestCompactAndDelete(t *testing.T) {
	e := openMem(t, func(c *Config) { c.RetentionInterval, c.CheckpointBytes = 2*time.Millisecond, 16<<10 })
	both := compactedTopic(t, e, "both", "cleanup.policy", "compact,delete", "retention.bytes", "6000")
	plain := compactedTopic(t, e, "plain", "cleanup.policy", "delete")
	for i := range 2000 {
		appendNow(e, both, put(fmt.Sprint("key-", i%300), fmt.Append(nil, i)))
		appendNow(e, plain, put(fmt.Sprint("key-", i%3), fmt.Append(nil, i)))
	}
	eventually(t, "retention moves the start of a compacted log", func() bool { return e.topics.parts.get(both).log.Start() > 0 })
	eventually(t, "it is compacted", func() bool { _, n := readKeys(t, e, both); return n <= 400 })
	if _, n := readKeys(t, e, plain); n != 2000 {
		t.Errorf("%d of 2000 records are left in a topic that is not compacted", n)
	}
}

// Case: an idempotent producer whose last batch was overwritten by others goes on with its sequence after compaction
// and a restart; the empty batch that stays is not shown as a record.
func TestCompactionKeepsTheProducersLastBatch(t *testing.T) {
	c := Config{FS: vfs.NewMem(), JournalFileBytes: 1 << 20}
	e := openWith(t, c)
	id := compactedTopic(t, e, "stock")
	if a := appendNow(e, id, newBatch(7, 0, "of the producer")); a.Err != nil {
		t.Fatal(a.Err)
	}
	for range 60 {
		appendNow(e, id, newBatch(-1, -1, "of others, the same key"))
	}
	if err := e.maintenance.compact(e.topics.parts.get(id)); err != nil {
		t.Fatal(err)
	}
	f := fetchNow(e, id, 0)
	if v := batch.View(f.Records[0]); v.BaseOffset() != 0 || v.ProducerID() != 7 || v.Count() != 0 || v.LastSequence() != 0 {
		t.Errorf("at 0 there is %x", []byte(v[:batch.HeaderBytes]))
	}
	for range 2 {
		if a := appendNow(e, id, newBatch(7, 0, "of the producer")); a.Err != nil || a.BaseOffset != 0 {
			t.Errorf("sent again: %+v", a)
		}
		e.Close()
		e = openWith(t, c)
	}
	if a := appendNow(e, id, newBatch(7, 1, "next")); a.Err != nil || a.BaseOffset != 61 {
		t.Errorf("its next batch: %+v", a)
	}
}

// Case: the disk fails under compaction. Nothing else notices: appends and reads go on, and so does compaction when the
// disk works again. A damaged segment is logged once and left alone.
func TestCompactionFaultsHurtNobody(t *testing.T) {
	mem := vfs.NewMem()
	var broken atomic.Bool
	e := openWith(t, Config{JournalFileBytes: 1 << 20, FS: vfs.NewFaulty(mem, func(op vfs.Op) error {
		if broken.Load() && strings.Contains(op.Name, ".1.log") {
			return errors.New("broken")
		}
		return nil
	})})
	id := compactedTopic(t, e, "stock")
	broken.Store(true) // before the records: compaction comes by itself
	for i := range 200 {
		appendNow(e, id, put(fmt.Sprint("key-", i%5), fmt.Append(nil, i)))
	}
	p := e.topics.parts.get(id)
	if err := e.maintenance.compact(p); err == nil || e.Err() != nil {
		t.Fatalf("compaction on a broken disk: %v; the engine: %v", err, e.Err())
	}
	if a := appendNow(e, id, put("key-0", []byte("after"))); a.Err != nil {
		t.Fatal(a.Err)
	}
	if _, n := readKeys(t, e, id); n != 201 {
		t.Errorf("%d records", n)
	}
	broken.Store(false)
	if err := e.maintenance.compact(p); err != nil {
		t.Fatal(err)
	}
	if table, n := readKeys(t, e, id); n >= 201 || len(table) != 5 || table["key-0"] != "after" {
		t.Errorf("%d records, %v", n, table)
	}
}

// Case: the topic is deleted, or the engine closed, while its log is compacted: it ends, and nothing is left.
func TestDeletionEndsCompaction(t *testing.T) {
	var writes atomic.Int64 // how many writes of segments the compaction does until it is held up
	reached, goOn := make(chan struct{}), make(chan struct{})
	disk := vfs.NewFaulty(vfs.NewMem(), func(op vfs.Op) error {
		if op.Kind == vfs.OpWriteAt && strings.HasPrefix(op.Name, datadir.TopicsDir) && writes.Add(-1) == 0 {
			reached <- struct{}{}
			<-goOn
		}
		return nil
	})
	c := Config{FS: disk, JournalFileBytes: 1 << 20, RetentionInterval: time.Hour}
	e := openWith(t, c)
	e.maintenance.compaction.running.Store(true) // so that no compaction runs but those of this test
	for i := range 5 {
		id := compactedTopic(t, e, fmt.Sprint("topic-", i))
		p := e.topics.parts.get(id)
		for segment := range 8 { // each with records that compaction removes and others that it keeps
			for n := range 40 {
				appendNow(e, id, put(fmt.Sprint("key-", segment, "-", n%30), make([]byte, 100)))
			}
			if err := p.flush(); err != nil { // so that the writes counted are those of the compaction
				t.Fatal(err)
			}
		}
		writes.Store(int64(i + 1))
		ended := make(chan error)
		go func() { ended <- e.maintenance.compact(p) }()
		select {
		case <-reached:
		case err := <-ended:
			t.Fatalf("compaction ended before write %d: %v", i+1, err)
		}
		stopped := make(chan error, 1)
		if i < 4 {
			stopped <- e.DeleteTopic(noWait, id.Topic)
		} else {
			go func() { stopped <- e.Close() }()
			<-e.life.closing
		}
		goOn <- struct{}{}
		if err := <-ended; err != nil && !errors.Is(err, ErrClosed) && !errors.Is(err, partition.ErrClosed) {
			t.Fatal(err)
		}
		if err := <-stopped; err != nil {
			t.Fatal(err)
		}
	}
	e = openWith(t, c)
	if n := len(e.Topics()); n != 1 {
		t.Errorf("%d topics", n)
	}
}

// Case: the power fails at any moment while a topic is written, compacted, checkpointed and cut at its start. What was
// acknowledged last for a key is there, or what was sent after it; every record is one that was sent, at its offset.
func TestPowerCutsWhileCompacting(t *testing.T) {
	seed := *compactSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	defer func() {
		if t.Failed() {
			t.Logf("replay (the schedule of goroutines differs): go test ./internal/engine -run TestPowerCutsWhileCompacting -compact.seed=%d", seed)
		}
	}()
	rng := rand.New(rand.NewPCG(seed, 3))
	chance := mathrand.New(mathrand.NewSource(int64(seed)))
	type sentRecord struct {
		key, value string
	}
	cuts, compacted := 0, int64(0)
	for round := range 6 {
		disk := vfs.NewMem()
		e, err := Open(cutConfig(slowSync(disk, rng.Uint64())))
		if err != nil {
			t.Fatal(err)
		}
		id := compactedTopic(t, e, "stock", "delete.retention.ms", "2", "cleanup.policy", "compact,delete", "segment.bytes", "1024")
		var mu sync.Mutex
		sent, acked, start := map[int64]sentRecord{}, int64(0), int64(0)
		var stop atomic.Bool
		var wg sync.WaitGroup
		wg.Go(func() {
			window := make(chan struct{}, 64)
			for i := int64(0); !stop.Load(); i++ {
				r := sentRecord{fmt.Sprint("key-", rng.IntN(20)), fmt.Sprint("value ", i)}
				mu.Lock()
				sent[i] = r
				mu.Unlock()
				window <- struct{}{}
				e.Append(id, put(r.key, []byte(r.value)), func(a Appended) {
					if a.Err != nil || a.BaseOffset != i {
						t.Errorf("append %d: %+v", i, a)
					}
					mu.Lock()
					acked = i + 1
					mu.Unlock()
					<-window
				})
				if i%400 == 399 {
					moved, err := e.DeleteRecords(noWait, id, i/2)
					if err != nil {
						t.Error(err)
					}
					mu.Lock()
					start = moved
					mu.Unlock()
				}
			}
		})
		type cut struct {
			disk         *vfs.Mem
			acked, start int64
		}
		var all []cut
		for range 20 {
			time.Sleep(time.Duration(chance.Intn(8000)) * time.Microsecond)
			mu.Lock()
			c := cut{acked: acked, start: start}
			mu.Unlock()
			c.disk = disk.CrashClone(chance)
			all = append(all, c)
		}
		stop.Store(true)
		wg.Wait()
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
		for _, c := range all {
			cuts++
			e, err := Open(cutConfig(c.disk))
			if err != nil {
				t.Fatalf("round %d: it does not open: %v", round, err)
			}
			p, err := e.part(id)
			if err != nil {
				if c.acked > 0 {
					t.Fatal(err)
				}
				e.Close()
				continue
			}
			if p.log.Start() < c.start || p.log.End() < c.acked {
				t.Errorf("the log is [%d, %d), it was [%d, %d)", p.log.Start(), p.log.End(), c.start, c.acked)
			}
			latest := map[string]int64{}
			got, _, err := readLog(e, id)
			if err != nil {
				t.Fatal(err)
			}
			for offset, value := range got {
				if sent[offset].value != value {
					t.Errorf("offset %d has %q, was %q", offset, value, sent[offset].value)
				}
				latest[sent[offset].key] = max(latest[sent[offset].key], offset)
			}
			for offset := p.log.Start(); offset < c.acked; offset++ {
				if at, there := latest[sent[offset].key]; !there || at < offset && got[offset] == "" {
					t.Errorf("offset %d, %v, was acknowledged and is gone; the last of its key is at %d, %v", offset, sent[offset], at, there)
				}
			}
			compacted += p.log.End() - p.log.Start() - int64(len(got))
			if err := e.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	if compacted == 0 {
		t.Error("no cut found anything compacted: this tests nothing")
	}
	t.Logf("%d cuts, %d records had been compacted away", cuts, compacted)
}
