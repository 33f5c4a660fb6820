package partition

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand"
	"slices"
	"strings"
	"testing"
	"time"

	"tidings.dev/internal/batch"
	"tidings.dev/internal/vfs"
)

// one appends a batch of a single record; a nil value is a tombstone.
func one(l *Log, key string, value []byte) int64 {
	var b batch.Builder
	b.Reset(l.End())
	b.LeaderEpoch(l.Epoch())
	b.Add(l.End(), []byte(key), value)
	l.Append(b.Batch())
	return l.End() - 1
}

// values reads what is there, as "offset key=value" for each record.
func values(t *testing.T, l *Log) (all []string) {
	t.Helper()
	for offset := l.Start(); offset < l.End(); {
		pieces, err := l.Read(nil, offset, 300)
		check(t, err)
		for _, piece := range pieces {
			for v, err := range batch.Split(piece) {
				check(t, err)
				for r, err := range batch.Records(v, 1<<20) {
					check(t, err)
					all = append(all, fmt.Sprintf("%d %s=%s", r.Offset, r.Key, r.Value))
				}
				offset = v.NextOffset()
			}
		}
	}
	return all
}

// Case: the life of a key: overwritten, deleted, forgotten; and what a reader sees of it.
func TestCompact(t *testing.T) {
	disk := vfs.NewMem()
	l, err := Create(disk, "p", Config{SegmentBytes: 400, IndexIntervalBytes: 100})
	check(t, err)
	now := time.UnixMilli(1_000_000)
	c := Compaction{Stable: 1 << 40, Now: now, TombstoneAge: time.Hour}
	for i := range 20 {
		one(l, fmt.Sprint("k", i%4), fmt.Append(nil, "v", i))
	}
	one(l, "k1", nil)
	for range 6 { // so that the segment of the tombstone is closed
		one(l, "other", []byte("x"))
	}

	// Case: what no checkpoint can have is not touched.
	check(t, l.Flush())
	if did, err := l.Compact(c); err != nil || did.RemovedRecords > 0 {
		t.Fatalf("unsynced: %+v, %v", did, err)
	}
	check(t, l.Sync())
	before := l.SizeBytes()
	did, err := l.Compact(c)
	check(t, err)
	if did.More || did.RemovedRecords == 0 || l.SizeBytes() >= before {
		t.Errorf("%+v, %d bytes before, %d after", did, before, l.SizeBytes())
	}
	got := strings.Join(values(t, l), " | ")
	if !strings.HasPrefix(got, "16 k0=v16 | 18 k2=v18 | 19 k3=v19 | 20 k1= | ") {
		t.Errorf("after a pass: %s", got)
	}

	// Case: another pass finds nothing to do, and writes nothing.
	if d := l.Dirtiness(c); d.DirtyBytes > 0 || d.TombstonesDue || d.Ratio() != 0 {
		t.Errorf("after a pass the log is dirty: %+v", d)
	}
	if did, err := l.Compact(c); err != nil || did.WrittenBytes > 0 {
		t.Errorf("a second pass: %+v, %v", did, err)
	}

	// Case: the tombstone goes when its time has come, though nothing is dirty.
	c.Now = now.Add(c.TombstoneAge - time.Millisecond)
	if d := l.Dirtiness(c); d.TombstonesDue {
		t.Error("tombstones are due too early")
	}
	c.Now = now.Add(c.TombstoneAge)
	if d := l.Dirtiness(c); !d.TombstonesDue {
		t.Error("tombstones are not due")
	}
	_, err = l.Compact(c)
	check(t, err)
	if got := strings.Join(values(t, l), " | "); strings.Contains(got, "k1") {
		t.Errorf("the tombstone is still there: %s", got)
	}
	if l.Dirtiness(c).TombstonesDue {
		t.Error("tombstones are due for ever")
	}

	// Case: offsets go on where they were, and the old files go once two checkpoints know the new ones.
	if at := one(l, "k2", []byte("last")); at != 27 {
		t.Errorf("the next offset is %d", at)
	}
	files := len(list(t, disk, "p"))
	for i, want := range []bool{true, false} {
		check(t, l.Sync())
		waiting, err := l.Reclaim(l.State())
		check(t, err)
		if (waiting > 0) != want {
			t.Errorf("after checkpoint %d %d files wait", i+1, waiting)
		}
	}
	if left := len(list(t, disk, "p")); left >= files {
		t.Errorf("%d files before, %d after the old ones went: %v", files, left, list(t, disk, "p"))
	}
}

// Case (trap 11): control batches stay, aborted data goes and does not count as a key's last value, and what is above
// the last stable offset is not looked at.
func TestCompactTransactions(t *testing.T) {
	l, err := Create(vfs.NewMem(), "p", Config{SegmentBytes: 250})
	check(t, err)
	transactional := func(producer int64, control bool, key, value string) int64 {
		var b batch.Builder
		b.Reset(l.End())
		b.Producer(producer, 0, int32(l.End()))
		b.Transactional(control)
		b.Add(l.End(), []byte(key), []byte(value))
		l.Append(b.Batch())
		return l.End() - 1
	}
	one(l, "a", []byte("kept, as what came later came to nothing"))
	transactional(7, false, "a", "aborted")
	transactional(7, true, "\x00\x00\x00\x00", "marker of the abort")
	transactional(8, false, "b", "committed, then overwritten")
	transactional(8, true, "\x00\x00\x00\x01", "marker of the commit")
	transactional(8, false, "b", "committed")
	transactional(8, true, "\x00\x00\x00\x01", "marker of the commit")
	for range 5 {
		one(l, "fill", nil)
	}
	open := transactional(9, false, "b", "of a transaction that is open")
	for range 5 {
		one(l, "fill", nil)
	}
	check(t, l.Sync())
	_, err = l.Compact(Compaction{Stable: open, Now: time.UnixMilli(0), TombstoneAge: time.Hour,
		LastOfProducer: map[int64]int64{7: 1, 8: 5}})
	check(t, err)
	got := strings.Join(values(t, l), " | ")
	for _, want := range []string{"0 a=kept", "marker of the abort", "4 \x00\x00\x00\x01=marker", "5 b=committed", "b=of a transaction that is open"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is gone: %q", want, got)
		}
	}
	for _, gone := range []string{"a=aborted", "then overwritten"} {
		if strings.Contains(got, gone) {
			t.Errorf("%q is still there: %q", gone, got)
		}
	}
	pieces, err := l.Read(nil, 1, 1)
	check(t, err)
	if v := batch.View(pieces[0]); v.ProducerID() != 7 || v.Count() != 0 || v.LastOffset() != 1 || !v.Transactional() {
		t.Errorf("the aborted producer's last batch is %x", []byte(v))
	}
}

// Case: the lag leaves young segments alone.
func TestCompactionLag(t *testing.T) {
	l, err := Create(vfs.NewMem(), "p", Config{SegmentBytes: 200})
	check(t, err)
	for range 30 { // record i has time i
		one(l, "k", []byte("v"))
	}
	check(t, l.Sync())
	c := Compaction{Stable: 1 << 40, Now: time.UnixMilli(30), MinLag: 20 * time.Millisecond}
	did, err := l.Compact(c)
	check(t, err)
	if did.Through == 0 || did.Through > 11 {
		t.Errorf("compacted through %d: only records up to 10 are old enough", did.Through)
	}
	if d := l.Dirtiness(Compaction{Stable: 1 << 40, Now: c.Now}); d.DirtyBytes == 0 || d.OldestMS != did.Through {
		t.Errorf("left: %+v", d)
	}
}

// Case: a damaged segment is named, and the log is as it was.
func TestCompactOfADamagedSegment(t *testing.T) {
	disk := vfs.NewMem()
	l, err := Create(disk, "p", Config{SegmentBytes: 400})
	check(t, err)
	for i := range 40 {
		one(l, fmt.Sprint("k", i%3), []byte("v"))
	}
	check(t, l.Sync())
	damaged := l.State().Segments[2]
	flip(t, disk, "p/"+fileName(damaged.SegmentName, segmentFile), damaged.SizeBytes-1)
	for range 2 {
		_, err = l.Compact(Compaction{Stable: 1 << 40})
		if c, ok := errors.AsType[*CorruptError](err); !ok || !strings.HasSuffix(c.File, fileName(damaged.SegmentName, segmentFile)) {
			t.Fatalf("%v", err)
		}
	}
	for _, name := range list(t, disk, "p") {
		if segment, _, _ := parseName(name); segment.Generation > 0 {
			t.Errorf("%s was left", name)
		}
	}
}

// compactedLog is a synced log that was compacted, closed, with what it must serve.
func compactedLog(t *testing.T) (*vfs.Mem, State, *journal) {
	t.Helper()
	disk := vfs.NewMem()
	l, err := Create(disk, "p", Config{SegmentBytes: 900, IndexIntervalBytes: 150})
	check(t, err)
	for i := range 60 {
		if i == 20 {
			l.BumpEpoch(2)
		}
		one(l, fmt.Sprint("k", i*i%17), bytes.Repeat([]byte{byte(i)}, 20))
	}
	check(t, l.Sync())
	did, err := l.Compact(Compaction{Stable: 1 << 40})
	check(t, err)
	check(t, l.Sync())
	s := l.State()
	if did.RemovedRecords == 0 || s.Segments[0].Generation == 0 || s.Segments[0].IndexBytes == 0 {
		t.Fatalf("%+v, %+v", did, s)
	}
	all := &journal{}
	pieces, err := l.Read(nil, 0, 1<<20)
	check(t, err)
	for _, piece := range pieces {
		for v := range batch.Split(piece) {
			all.batches = append(all.batches, v)
		}
	}
	check(t, l.Close())
	return disk, s, all
}

// Every byte of a compacted segment and its index is flipped. Gaps make no hole in the checks: a segment's flip is found
// and named, in gaps too, and no wrong byte and no wrong offset is ever served, whether the reader comes in sequence or
// by an offset.
func TestEveryFlippedByteOfACompactedLog(t *testing.T) {
	disk, s, all := compactedLog(t)
	c := Config{SegmentBytes: 900, IndexIntervalBytes: 150}
	for _, segment := range s.Segments {
		for _, kind := range []fileKind{segmentFile, indexFile} {
			name := "p/" + fileName(segment.SegmentName, kind)
			info, err := disk.Stat(name)
			if err != nil {
				continue
			}
			for at := range info.SizeBytes {
				for _, bits := range [][]byte{{0xff}, {0x01}}[at%2] {
					flipBits(t, disk, name, at, bits)
					l, err := Open(disk, "p", c, s)
					check(t, err)
					found := false
					for _, maxBytes := range []int{1, 5000} {
						for offset := l.Start(); offset < l.End(); {
							pieces, err := l.Read(nil, offset, maxBytes)
							if c, ok := errors.AsType[*CorruptError](err); ok {
								found = found || c.File == name && c.Position <= at
								offset++
								continue
							}
							check(t, err)
							if len(pieces) == 0 {
								t.Fatalf("byte %d of %s flipped: nothing at %d", at, name, offset)
							}
							for _, piece := range pieces {
								for v := range batch.Split(piece) {
									want := all.batches[slices.IndexFunc(all.batches, func(v batch.View) bool { return v.LastOffset() >= offset })]
									if !bytes.Equal(v, want) {
										t.Fatalf("byte %d of %s flipped: at %d there is %x, want %x", at, name, offset, []byte(v), []byte(want))
									}
									offset = v.NextOffset()
								}
							}
						}
					}
					if found != (kind == segmentFile) {
						t.Fatalf("byte %d of %s flipped by %x: found: %v", at, name, bits, found)
					}
					check(t, l.Close())
					flipBits(t, disk, name, at, bits)
				}
			}
		}
	}
}

// flipBits inverts some bits of one byte of a file.
func flipBits(t *testing.T, disk vfs.FS, name string, at int64, bits byte) {
	t.Helper()
	f, err := disk.Open(name)
	check(t, err)
	defer f.Close()
	b := make([]byte, 1)
	if n, err := f.ReadAt(b, at); n != 1 {
		t.Fatal(err)
	}
	b[0] ^= bits
	_, err = f.WriteAt(b, at)
	check(t, err)
}

// crashPoint is the disk as a power cut leaves it, the two checkpoints that may be used then, and what the log may and
// must serve.
type crashPoint struct {
	disk        *vfs.Mem
	after       vfs.Op
	checkpoints []State
	start       int64
	may, must   map[int64]bool
}

// Case: the power fails after any operation of compactions, checkpoints and deletions. From either of the two newest
// checkpoints the log opens without damage and serves every record it must, none that was gone for good, and none at
// another offset; and it can be compacted again.
func TestPowerCutsInCompaction(t *testing.T) {
	seeds := []int64{*crashSeed}
	if *crashSeed == 0 {
		first := time.Now().UnixNano()
		seeds = []int64{first, first + 1, first + 2, first + 3}
	}
	cuts := 0
	for _, seed := range seeds {
		n, err := cutPowerInCompaction(seed)
		if cuts += n; err != nil {
			t.Fatalf("%v\nreplay: go test ./internal/partition -run TestPowerCutsInCompaction -crash.seed=%d", err, seed)
		}
	}
	if cuts < 200 {
		t.Errorf("only %d cuts", cuts)
	}
	t.Logf("%d cuts", cuts)
}

func cutPowerInCompaction(seed int64) (cuts int, err error) {
	rng := rand.New(rand.NewSource(seed))
	mem := vfs.NewMem()
	var points []crashPoint
	armed := false
	now := crashPoint{may: map[int64]bool{}, must: map[int64]bool{}}
	clone := func(from map[int64]bool) map[int64]bool {
		to := map[int64]bool{}
		for k := range from {
			to[k] = true
		}
		return to
	}
	disk := vfs.NewFaulty(mem, func(op vfs.Op) error {
		if armed && op.Kind != vfs.OpReadAt {
			points = append(points, crashPoint{mem.CrashClone(rng), op, slices.Clone(now.checkpoints), now.start, clone(now.may), clone(now.must)})
		}
		return nil
	})
	config := Config{SegmentBytes: 500 + rng.Int63n(1000), IndexIntervalBytes: 100, Files: NewFileCache(4)}
	l, err := Create(disk, "p", config)
	if err != nil {
		return 0, err
	}
	var all []batch.View
	keys := map[int64]string{}
	checkpoint := func() error {
		if err := l.Sync(); err != nil {
			return err
		}
		s := l.State()
		now.checkpoints = append([]State{s}, now.checkpoints[:min(len(now.checkpoints), 1)]...)
		_, err := l.Reclaim(s)
		return err
	}
	for round := range 5 {
		armed = false
		for range 30 {
			var b batch.Builder
			b.Reset(l.End())
			b.LeaderEpoch(l.Epoch())
			for range 1 + rng.Intn(3) {
				offset := l.End() + int64(b.Count())
				keys[offset] = fmt.Sprint(rng.Intn(12))
				b.Add(0, []byte(keys[offset]), fmt.Append(nil, "value at ", offset))
				now.may[offset], now.must[offset] = true, true
			}
			v := b.Batch()
			all = append(all, bytes.Clone(v))
			l.Append(v)
		}
		armed = true
		if err := checkpoint(); err != nil {
			return 0, err
		}
		// While it runs, what it will take away may be there or not.
		latest := map[string]int64{}
		through := l.segments[len(l.segments)-1].Base
		for offset := range through {
			latest[keys[offset]] = offset
		}
		for offset := range through {
			if latest[keys[offset]] > offset {
				delete(now.must, offset)
			}
		}
		if _, err := l.Compact(Compaction{Stable: l.End(), Pace: func(int64) error {
			if rng.Intn(3) == 0 {
				return checkpoint()
			}
			return nil
		}, MapBytes: slotBytes * (4 + rng.Intn(40))}); err != nil {
			return 0, err
		}
		for range rng.Intn(4) {
			if err := checkpoint(); err != nil {
				return 0, err
			}
		}
		if round == 3 {
			now.start = l.End() / 3 // journaled, so it is known after a crash
			if err := l.DeleteBefore(now.start); err != nil {
				return 0, err
			}
		}
	}
	for _, p := range points {
		for i, s := range p.checkpoints {
			if err := p.check(rng, i, s, config, all); err != nil {
				return cuts, fmt.Errorf("power cut at %v, checkpoint %d of 2: %w", p.after, i+1, err)
			}
			cuts++
		}
	}
	return cuts, nil
}

func (p crashPoint) check(rng *rand.Rand, newest int, s State, config Config, all []batch.View) error {
	disk := p.disk.CrashClone(rng)
	config.Files = NewFileCache(4)
	l, err := Open(disk, "p", config, s)
	if err != nil {
		return err
	}
	for _, v := range all { // the journal
		if end := v.NextOffset(); end > l.End() && p.may[end-1] {
			l.Append(bytes.Clone(v))
		}
	}
	if err := l.DeleteBefore(p.start); err != nil {
		return err
	}
	if damage := l.Damage(); len(damage) > 0 {
		return fmt.Errorf("damage: %v", damage[0])
	}
	for pass := range 2 {
		seen := map[int64]bool{}
		for offset := l.Start(); offset < l.End(); {
			pieces, err := l.Read(nil, offset, 600)
			if err != nil {
				return fmt.Errorf("read at %d: %w", offset, err)
			}
			for _, piece := range pieces {
				for v, err := range batch.Split(piece) {
					if err != nil {
						return err
					}
					for r, err := range batch.Records(v, 1<<20) {
						if err != nil || string(r.Value) != fmt.Sprint("value at ", r.Offset) {
							return fmt.Errorf("offset %d has %q: %v", r.Offset, r.Value, err)
						}
						seen[r.Offset] = true
					}
					offset = v.NextOffset()
				}
			}
		}
		for offset := l.Start(); offset < l.End(); offset++ {
			if p.must[offset] && !seen[offset] {
				return fmt.Errorf("pass %d: offset %d is gone", pass, offset)
			}
			if seen[offset] && !p.may[offset] {
				return fmt.Errorf("pass %d: offset %d has come back", pass, offset)
			}
		}
		if err := l.Sync(); err != nil {
			return err
		}
		if _, err := l.Compact(Compaction{Stable: l.segments[len(l.segments)-1].Base}); err != nil {
			return err
		}
		if newest == 0 && rng.Intn(8) > 0 { // the second look is for a part of them
			break
		}
		p.must = map[int64]bool{} // it may have gone further than the one that was cut
	}
	return l.Close()
}

// Case: every operation of a compaction fails once. It says so, leaves no file behind that anyone would believe, and the
// log serves what it served; the next pass succeeds.
func TestEveryFaultInCompaction(t *testing.T) {
	broken := errors.New("broken")
	var armed bool
	run := func(fail func(vfs.Op) error) (int64, error) {
		armed = false
		mem := vfs.NewMem()
		n := int64(0)
		disk := vfs.NewFaulty(mem, func(op vfs.Op) error {
			if !armed {
				return nil
			}
			n++
			op.Nth = n
			return fail(op)
		})
		config := Config{SegmentBytes: 600, IndexIntervalBytes: 100, Files: NewFileCache(3)}
		l, err := Create(disk, "p", config)
		check(t, err)
		for i := range 60 {
			one(l, fmt.Sprint("k", i%7), fmt.Append(nil, "value ", i))
		}
		check(t, l.Sync())
		armed = true
		_, failure := l.Compact(Compaction{Stable: 1 << 40})
		armed = false
		check(t, l.Sync())
		s := l.State()
		armed = true
		_, reclaimErr := l.Reclaim(s)
		armed = false
		for _, err := range []error{failure, reclaimErr} {
			if err != nil && !errors.Is(err, broken) {
				return n, err
			}
		}
		if got := values(t, l); len(got) < 7 || !slices.Contains(got, "59 k3=value 59") || !slices.Contains(got, "53 k4=value 53") {
			return n, fmt.Errorf("it serves %v", got)
		}
		check(t, l.Close())
		if l, err = Open(disk, "p", config, s); err != nil {
			return n, err
		}
		if damage := l.Damage(); len(damage) > 0 {
			return n, damage[0]
		}
		if _, err := l.Compact(Compaction{Stable: 1 << 40}); err != nil {
			return n, err
		}
		last := l.segments[len(l.segments)-1].Base
		seen := map[string]bool{}
		for _, line := range values(t, l) {
			var offset int64
			var key string
			fmt.Sscanf(strings.Replace(line, "=", " ", 1), "%d %s", &offset, &key)
			if offset < last && seen[key] {
				return n, fmt.Errorf("key %s is there twice after all: %v", key, values(t, l))
			}
			seen[key] = true
		}
		return n, failure
	}
	operations, err := run(func(vfs.Op) error { return nil })
	check(t, err)
	if operations < 10 {
		t.Fatalf("%d operations: this tests nothing", operations)
	}
	for n := int64(1); n <= operations; n++ {
		for _, fault := range []error{broken, &vfs.ShortWrite{WrittenBytes: 7, Cause: broken}} {
			_, short := fault.(*vfs.ShortWrite)
			var failed vfs.Op
			_, err := run(func(op vfs.Op) error {
				if op.Nth != n || short && op.Kind != vfs.OpWriteAt {
					return nil
				}
				failed = op
				return fault
			})
			if err != nil && !errors.Is(err, broken) {
				t.Fatalf("operation %v failed with %v: %v", failed, fault, err)
			}
		}
	}
}

// BenchmarkCompact is one pass over 64 MiB on a real disk, without pauses: batches of 20 records of 500 bytes, of which
// it leaves about one in five.
func BenchmarkCompact(b *testing.B) {
	value := bytes.Repeat([]byte("0123456789"), 50)
	for b.Loop() {
		b.StopTimer()
		disk, err := vfs.Disk(b.TempDir())
		if err != nil {
			b.Fatal(err)
		}
		l, err := Create(disk, "p", Config{SegmentBytes: 16 << 20})
		if err != nil {
			b.Fatal(err)
		}
		rng := rand.New(rand.NewSource(1))
		for l.End() < 64<<20/520 {
			var builder batch.Builder
			builder.Reset(l.End())
			for range 20 {
				builder.Add(0, fmt.Appendf(nil, "key-%d", rng.Intn(25_000)), value)
			}
			l.Append(builder.Batch())
		}
		if err := l.Sync(); err != nil {
			b.Fatal(err)
		}
		b.SetBytes(l.SizeBytes())
		b.StartTimer()
		if _, err := l.Compact(Compaction{Stable: l.End()}); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := l.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

// Case: a read goes on in the next segment with less room than a batch without records takes, which is no longer than the
// head that is always read. It is left for the next read.
func TestReadWithoutRoomForAnEmptyBatch(t *testing.T) {
	disk, all, s := synced(t)
	l, err := Open(disk, "p", small(), s)
	check(t, err)
	defer l.Close()
	l.segments[len(l.segments)-1].full = true // so that the next one begins at the end
	at := l.End()
	all.prepare(1)
	l.Append(batch.View(batch.AppendEmpty(nil, all.last())))
	check(t, l.Flush())
	seg, _ := l.snapshot(at)
	for _, must := range []bool{false, true} {
		data, _, _, err := l.readSegment(&seg, l.epochs, at, 1, must)
		if check(t, err); (len(data) > 0) != must {
			t.Errorf("%d bytes with room for one, must: %v", len(data), must)
		}
	}
}
