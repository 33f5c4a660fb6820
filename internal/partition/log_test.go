package partition

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"tidings.dev/internal/batch"
	"tidings.dev/internal/vfs"
)

// small makes segments of a few batches and an index entry for every second one, so that a short test sees all of it.
func small() Config {
	return Config{SegmentBytes: 2000, IndexIntervalBytes: 150, Files: NewFileCache(4)}
}

// The life of a log, step by step.
func TestLife(t *testing.T) {
	disk := vfs.NewMem()
	l, err := Create(disk, "topic/0", small())
	check(t, err)

	// Case: an empty log.
	expect(t, l, 0, 0)
	if _, err := l.Read(nil, 0, 1000); err != nil {
		t.Errorf("reading an empty log at its end: %v", err)
	}
	if off, ts := l.MaxTimestamp(); off != -1 || ts != -1 {
		t.Errorf("an empty log has a largest timestamp: %d at %d", ts, off)
	}
	if _, _, ok, err := l.OffsetForTime(0); ok || err != nil {
		t.Errorf("an empty log has a record at time 0: %v", err)
	}

	// Case: what is appended can be read at once, from memory, before any file is there.
	var all journal
	all.append(l, 50)
	expect(t, l, 0, l.End())
	all.expectRead(t, l, 0)
	if names := list(t, disk, "topic/0"); len(names) != 0 {
		t.Errorf("files before a flush: %v", names)
	}
	if got, err := l.Read(nil, 0, 1); err != nil || len(got) != 1 || !bytes.Equal(got[0], all.batches[0]) {
		t.Errorf("a read of one byte gives the first batch whole: %d batches, %v", len(got), err)
	}

	// Case: flushed and evicted, it comes from the segments.
	check(t, l.Flush())
	if l.Unwritten() != 0 || l.TailBytes() == 0 {
		t.Errorf("after a flush %d bytes are unwritten, %d in memory", l.Unwritten(), l.TailBytes())
	}
	if s := l.State(); s.End != 0 || len(s.Segments) != 0 {
		t.Errorf("a flush alone gives the state %+v", s)
	}
	l.EvictTail(0)
	if l.TailBytes() != 0 {
		t.Errorf("%d bytes in memory after all was evicted", l.TailBytes())
	}
	all.expectRead(t, l, 0)
	for offset := range l.End() {
		all.expectRead(t, l, offset) // a batch that holds the offset is returned whole
	}

	// Case: history, segment after segment, and memory in one read.
	all.append(l, 5)
	all.expectRead(t, l, 3)

	// Case: outside of the log.
	for _, offset := range []int64{-1, l.End() + 1} {
		if _, err := l.Read(nil, offset, 1000); !errors.Is(err, ErrOffsetOutOfRange) {
			t.Errorf("reading %d of [0, %d): %v", offset, l.End(), err)
		}
	}

	// Case: a checkpoint's state survives its encoding, and the log opens from it.
	check(t, l.Sync())
	s, rest, err := DecodeState(append(l.State().AppendTo(nil), "rest"...))
	check(t, err)
	if string(rest) != "rest" {
		t.Errorf("%q follows the state", rest)
	}
	size := l.SizeBytes()
	check(t, l.Close())
	if _, err := l.Read(nil, 0, 1000); !errors.Is(err, ErrClosed) {
		t.Errorf("a read of a closed log: %v", err)
	}
	if err := l.Sync(); !errors.Is(err, ErrClosed) {
		t.Errorf("a sync of a closed log: %v", err)
	}
	l, err = Open(disk, "topic/0", small(), s)
	check(t, err)
	expect(t, l, 0, all.end())
	if l.SizeBytes() != size {
		t.Errorf("%d bytes after reopening, %d before", l.SizeBytes(), size)
	}
	all.expectRead(t, l, 0)
	all.append(l, 5)
	check(t, l.Flush())
	l.EvictTail(0)
	all.expectRead(t, l, 0)

	// Case: the oldest segments go.
	start := all.batches[30].BaseOffset() + 1 // inside of a batch, if it has several records
	check(t, l.DeleteBefore(start))
	expect(t, l, start, all.end())
	if _, err := l.Read(nil, start-1, 1000); !errors.Is(err, ErrOffsetOutOfRange) {
		t.Errorf("reading below the start: %v", err)
	}
	all.expectRead(t, l, start)
	check(t, l.DeleteBefore(start-5)) // replayed
	if l.Start() != start {
		t.Errorf("the start went back to %d", l.Start())
	}
	if err := l.DeleteBefore(l.End() + 1); !errors.Is(err, ErrOffsetOutOfRange) {
		t.Errorf("deleting past the end: %v", err)
	}
	check(t, l.DeleteBefore(l.End()))
	if names := list(t, disk, "topic/0"); len(names) != 0 {
		t.Errorf("files of an emptied log: %v", names)
	}
	all.append(l, 3)
	all.expectRead(t, l, l.Start())

	// Case: the directory goes.
	check(t, l.Close())
	check(t, Remove(disk, "topic/0"))
	if _, err := disk.Stat("topic/0"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after Remove: %v", err)
	}
}

// Wherever an offset must follow from the one before, a caller that gets it wrong is stopped.
func TestAppendAtTheWrongOffsetPanics(t *testing.T) {
	l, err := Create(vfs.NewMem(), "p", small())
	check(t, err)
	defer func() {
		if recover() == nil {
			t.Error("it went through")
		}
	}()
	var b batch.Builder
	b.Reset(1)
	b.Add(0, nil, nil)
	l.Append(b.Batch())
}

func TestSegments(t *testing.T) {
	one := func(base, timestamp int64, valueBytes int) batch.View {
		var b batch.Builder
		b.Reset(base)
		b.Add(timestamp, nil, make([]byte, valueBytes))
		return b.Batch()
	}
	bases := func(l *Log) (bases []int64) {
		check(t, l.Sync())
		for _, seg := range l.State().Segments {
			bases = append(bases, seg.Base)
		}
		return bases
	}

	// Case: a segment never grows past its size, but one batch always fits.
	l, err := Create(vfs.NewMem(), "size", Config{SegmentBytes: 500})
	check(t, err)
	for i, size := range []int{300, 300, 50, 2000, 10, 10} {
		l.Append(one(int64(i), 0, size))
	}
	if got := fmt.Sprint(bases(l)); got != "[0 1 3 4]" {
		t.Errorf("segments by size begin at %s", got)
	}

	// Case: nor does it span more time than its age.
	l, err = Create(vfs.NewMem(), "age", Config{SegmentAge: time.Second})
	check(t, err)
	for i, ms := range []int64{0, 1000, 1001, 500, 2001, 2002} {
		l.Append(one(int64(i), ms, 10))
	}
	if got := fmt.Sprint(bases(l)); got != "[0 2 5]" {
		t.Errorf("segments by age begin at %s", got)
	}

	// Case: offsets in it fit 32 bits, even when batches claim two thousand million records each.
	l, err = Create(vfs.NewMem(), "offsets", Config{})
	check(t, err)
	for range 4 {
		v := one(l.End(), 0, 0)
		v[23], v[24], v[25], v[26] = 0x7f, 0xff, 0xff, 0xff
		l.Append(v)
	}
	if got := fmt.Sprint(bases(l)); got != "[0 2147483648 4294967296 6442450944]" {
		t.Errorf("segments by offset begin at %s", got)
	}
}

func TestTimes(t *testing.T) {
	for _, where := range []string{"memory", "segments"} {
		l, err := Create(vfs.NewMem(), "p", small())
		check(t, err)
		var b batch.Builder
		// Every batch has three records, 10 ms apart, the second being the latest.
		for i := range int64(100) {
			b.Reset(3 * i)
			b.Add(100*i, nil, make([]byte, 30))
			b.Add(100*i+20, nil, nil)
			b.Add(100*i+10, nil, nil)
			l.Append(b.Batch())
		}
		if where == "segments" {
			check(t, l.Flush())
			l.EvictTail(0)
		}
		lookUp := func(ms, wantOffset, wantTime int64, wantOK bool) {
			t.Helper()
			offset, at, ok, err := l.OffsetForTime(ms)
			if err != nil || offset != wantOffset || at != wantTime || ok != wantOK {
				t.Errorf("%s: time %d: offset %d time %d %v %v, want %d %d %v", where, ms, offset, at, ok, err, wantOffset, wantTime, wantOK)
			}
		}
		for i := range int64(100) {
			lookUp(100*i-10, 3*i, 100*i, true)
			lookUp(100*i, 3*i, 100*i, true)
			lookUp(100*i+1, 3*i+1, 100*i+20, true)
			lookUp(100*i+20, 3*i+1, 100*i+20, true)
		}
		lookUp(9921, 0, 0, false)
		if offset, at := l.MaxTimestamp(); offset != 298 || at != 9920 {
			t.Errorf("%s: largest timestamp %d at %d", where, at, offset)
		}

		// Case: below the start there is nothing, even in the same batch.
		check(t, l.DeleteBefore(152))
		lookUp(0, 152, 5010, true)
		check(t, l.DeleteBefore(299))
		lookUp(0, 299, 9910, true)
		lookUp(9911, 0, 0, false)
		if offset, at := l.MaxTimestamp(); offset != 299 || at != 9910 {
			t.Errorf("%s: largest timestamp from 299 on: %d at %d", where, at, offset)
		}
	}
}

func TestEpochs(t *testing.T) {
	l, err := Create(vfs.NewMem(), "p", small())
	check(t, err)
	var all journal
	all.append(l, 10)
	five := l.End()
	l.BumpEpoch(4) // gets no record, so it never was
	l.BumpEpoch(5)
	all.append(l, 10)
	nine := l.End()
	l.BumpEpoch(9)
	l.BumpEpoch(3) // replayed
	all.append(l, 10)
	check(t, l.Sync())
	l.EvictTail(0)
	all.expectRead(t, l, 0)

	table := func(l *Log, rows ...[3]int64) {
		t.Helper()
		for _, row := range rows {
			if epoch, end := l.EpochEnd(int32(row[0])); int64(epoch) != row[1] || end != row[2] {
				t.Errorf("the end of epoch %d is %d, %d, want %d, %d", row[0], epoch, end, row[1], row[2])
			}
		}
	}
	table(l, [3]int64{-1, -1, -1}, [3]int64{0, 0, five}, [3]int64{3, 0, five}, [3]int64{4, 0, five}, [3]int64{5, 5, nine}, [3]int64{7, 5, nine},
		[3]int64{9, 9, l.End()}, [3]int64{10, -1, -1})
	if l.Epoch() != 9 || l.EpochAt(five-1) != 0 || l.EpochAt(five) != 5 || l.EpochAt(nine) != 9 {
		t.Errorf("epochs %d, %d, %d, %d", l.Epoch(), l.EpochAt(five-1), l.EpochAt(five), l.EpochAt(nine))
	}

	// Case: they are in the state, and go with their records.
	s := l.State()
	check(t, l.Close())
	l, err = Open(l.fs, "p", small(), s)
	check(t, err)
	check(t, l.DeleteBefore(five+1))
	table(l, [3]int64{0, 0, five + 1}, [3]int64{5, 5, nine}, [3]int64{9, 9, l.End()})
	all.expectRead(t, l, five+1)
}

// A batch that was assigned before an epoch began and comes after it belongs to the new one.
func TestLateBatchTakesTheLatestEpoch(t *testing.T) {
	l, err := Create(vfs.NewMem(), "p", small())
	check(t, err)
	l.BumpEpoch(3)
	var b batch.Builder
	b.LeaderEpoch(2)
	b.Add(0, nil, nil)
	l.Append(b.Batch())
	check(t, l.Flush())
	l.EvictTail(0)
	got, err := l.Read(nil, 0, 1000)
	check(t, err)
	if epoch := batch.View(got[0]).LeaderEpoch(); epoch != 3 {
		t.Errorf("it has epoch %d", epoch)
	}
}

// A checkpoint is of the moment when the sync began: what is appended meanwhile isn't in it.
func TestStateIsOfTheSync(t *testing.T) {
	var l *Log
	var all journal
	disk := vfs.NewFaulty(vfs.NewMem(), func(o vfs.Op) error {
		if o.Kind == vfs.OpSync {
			all.append(l, 5)
		}
		return nil
	})
	l, err := Create(disk, "p", Config{IndexIntervalBytes: 100})
	check(t, err)
	all.append(l, 20)
	before := all.end()
	check(t, l.Sync())
	s := l.State()
	if s.End != before || all.end() == before {
		t.Errorf("the state ends at %d, the sync began at %d, the log ends at %d", s.End, before, all.end())
	}
	// Case: the index is written by then, so that a restart needs no scan.
	if len(s.Segments) != 1 || s.Segments[0].IndexBytes < indexHeaderBytes+5*indexEntryBytes {
		t.Errorf("the state has %+v: too small an index", s.Segments)
	}
}

func TestRetention(t *testing.T) {
	l, err := Create(vfs.NewMem(), "p", small())
	check(t, err)
	var all journal
	all.append(l, 100)
	check(t, l.Sync())
	ends := map[int64]bool{l.End(): true}
	for _, seg := range l.State().Segments {
		ends[seg.Base] = true
	}
	last := time.UnixMilli(all.batches[99].MaxTimestamp())

	// Case: no limits, or compaction only.
	for _, c := range []Config{{}, {RetentionBytes: -1, Retention: -1}, {RetentionBytes: 1, Retention: 1, CompactOnly: true}} {
		if start := l.Retain(last.Add(time.Hour), c); start != 0 {
			t.Errorf("%+v deletes up to %d", c, start)
		}
	}
	// Case: by size, what stays is at least the limit, and less than the limit and a segment.
	start := l.Retain(last, Config{RetentionBytes: 5000})
	if !ends[start] {
		t.Errorf("retention cuts at %d, inside of a segment", start)
	}
	check(t, l.DeleteBefore(start))
	if size := l.SizeBytes(); size < 5000 || size > 7000 {
		t.Errorf("retention to 5000 bytes leaves %d", size)
	}
	all.expectRead(t, l, start)
	if again := l.Retain(last, Config{RetentionBytes: 5000}); again != start {
		t.Errorf("retention moves on to %d by itself", again)
	}
	// Case: by time; what isn't in a segment yet stays whatever its time.
	all.append(l, 1)
	start = l.Retain(last.Add(time.Hour), Config{Retention: time.Minute})
	if start != all.last().BaseOffset() {
		t.Errorf("an hour later all but the unwritten batch may go: %d of %d", start, l.End())
	}
	check(t, l.DeleteBefore(start))
	all.expectRead(t, l, start)
	check(t, l.Sync())
	all.expectRead(t, l, start)
}

// However many logs there are, only so many files are open.
func TestOpenFilesAreBounded(t *testing.T) {
	var open atomic.Int64
	disk := countOpen(vfs.NewMem(), &open)
	c := small()
	c.Files = NewFileCache(6)
	logs, journals := make([]*Log, 40), make([]journal, 40)
	var err error
	for i := range logs {
		logs[i], err = Create(disk, fmt.Sprintf("p%d", i), c)
		check(t, err)
		journals[i].append(logs[i], 30)
	}
	for range 3 {
		for i, l := range logs {
			journals[i].append(l, 3)
			check(t, l.Flush())
			l.EvictTail(0)
			journals[i].expectRead(t, l, 0)
			if n := open.Load(); n > 6 {
				t.Fatalf("%d files are open", n)
			}
		}
	}
	for _, l := range logs {
		check(t, l.Sync())
	}
	for _, l := range logs {
		check(t, l.Close())
	}
	if n := open.Load(); n != 0 {
		t.Errorf("%d files are open after all logs were closed", n)
	}
}

// Readers see whole, right batches whatever the writer, the evictor and retention do.
func TestReadersBesideWriters(t *testing.T) {
	config := small()
	config.ReadAhead = anyAhead(10_000)
	config.Files = sendingAnything(4)
	l, err := Create((&pageCache{disk: vfs.NewMem()}).files(), "p", config)
	check(t, err)
	const batches = 3000
	var all journal
	all.prepare(batches)
	done := make(chan struct{})
	var readers sync.WaitGroup
	for i := range 4 {
		readers.Go(func() {
			rng := rand.New(rand.NewPCG(1, uint64(i)))
			var offset int64
			for {
				got, _, err := readOrSend(l, offset, rng.IntN(3000))
				switch {
				case errors.Is(err, ErrOffsetOutOfRange):
					offset = l.Start()
					continue
				case err != nil:
					t.Errorf("reader %d at %d: %v", i, offset, err)
					return
				}
				for _, piece := range got {
					for v, err := range batch.Split(piece) {
						if err != nil || !bytes.Equal(v, all.holding(offset)) {
							t.Errorf("reader %d at %d: another batch, %v", i, offset, err)
							return
						}
						offset = v.NextOffset()
					}
				}
				if _, _, _, err := l.OffsetForTime(int64(rng.IntN(batches * 10))); err != nil {
					t.Errorf("reader %d by time: %v", i, err)
					return
				}
				select {
				case <-done:
					if offset == all.end() {
						return
					}
				default:
				}
			}
		})
	}
	rng := rand.New(rand.NewPCG(2, 3))
	for i, v := range all.batches {
		l.Append(bytes.Clone(v))
		switch rng.IntN(20) {
		case 0:
			check(t, l.Flush())
		case 1:
			check(t, l.Sync())
		case 2:
			l.EvictTail(int64(rng.IntN(1000)))
		case 3:
			if i > 1000 {
				check(t, l.DeleteBefore(l.Retain(time.Now(), Config{RetentionBytes: 20_000})))
			}
		}
	}
	close(done)
	readers.Wait()
	check(t, l.Close())
}

// When the disk is full, what is in memory stays there and is written when there is room.
func TestDiskFull(t *testing.T) {
	disk := vfs.NewMem()
	l, err := Create(disk, "p", small())
	check(t, err)
	var all journal
	all.append(l, 20)
	check(t, l.Sync())
	before := l.State()
	disk.LimitBytes(disk.UsedBytes() + 1000)
	all.append(l, 200)
	if err := l.Sync(); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("sync on a full disk: %v", err)
	}
	if s := l.State(); s.End != before.End {
		t.Errorf("a failed sync moved the state's end from %d to %d", before.End, s.End)
	}
	l.EvictTail(0)
	all.expectRead(t, l, 0)
	disk.LimitBytes(1 << 30)
	check(t, l.Sync())
	l.EvictTail(0)
	all.expectRead(t, l, 0)
	if s := l.State(); s.End != all.end() {
		t.Errorf("the state ends at %d, the log at %d", s.End, all.end())
	}
}

// After a failed sync nothing claims to be durable any more, nothing leaves memory, and reads go on.
func TestFailedSyncFences(t *testing.T) {
	broken := errors.New("broken disk")
	for _, kind := range []vfs.OpKind{vfs.OpSync, vfs.OpSyncDir} {
		var armed bool
		disk := vfs.NewFaulty(vfs.NewMem(), func(o vfs.Op) error {
			if armed && o.Kind == kind {
				armed = false // once: the second sync would seem to succeed
				return broken
			}
			return nil
		})
		l, err := Create(disk, "p", small())
		check(t, err)
		var all journal
		all.append(l, 40)
		check(t, l.Sync())
		end := l.State().End
		all.append(l, 40)
		armed = true
		for range 3 {
			if err := l.Sync(); !errors.Is(err, broken) {
				t.Errorf("%v failed: Sync gives %v", kind, err)
			}
		}
		l.EvictTail(0)
		if s := l.State(); s.End != end {
			t.Errorf("%v failed: the state's end moved from %d to %d", kind, end, s.End)
		}
		if l.TailBytes() == 0 {
			t.Errorf("%v failed: memory was evicted", kind)
		}
		all.expectRead(t, l, 0)
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func expect(t *testing.T, l *Log, start, end int64) {
	t.Helper()
	if l.Start() != start || l.End() != end {
		t.Errorf("the log is [%d, %d), want [%d, %d)", l.Start(), l.End(), start, end)
	}
}

func list(t *testing.T, disk vfs.FS, dir string) (names []string) {
	t.Helper()
	entries, err := disk.List(dir)
	check(t, err)
	for _, e := range entries {
		names = append(names, e.Name)
	}
	return names
}

// journal keeps what was appended to a log, to compare with and to append again after a crash.
type journal struct {
	batches []batch.View
	made    int
}

// prepare makes n more batches of one to four records, at times that mostly ascend.
func (j *journal) prepare(n int) {
	for range n {
		var b batch.Builder
		rng := rand.New(rand.NewPCG(uint64(j.made), 9))
		b.Reset(j.end())
		for range 1 + rng.IntN(4) {
			b.Add(int64(j.made*10+rng.IntN(25)), []byte("key"), bytes.Repeat([]byte{byte(j.made)}, rng.IntN(100)))
		}
		j.batches = append(j.batches, b.Batch())
		j.made++
	}
}

func (j *journal) append(l *Log, n int) {
	from := len(j.batches)
	j.prepare(n)
	for i := from; i < len(j.batches); i++ {
		j.batches[i].SetLeaderEpoch(l.Epoch())
		l.Append(bytes.Clone(j.batches[i]))
	}
}

func (j *journal) last() batch.View { return j.batches[len(j.batches)-1] }

func (j *journal) end() int64 {
	if len(j.batches) == 0 {
		return 0
	}
	return j.last().NextOffset()
}

func (j *journal) holding(offset int64) batch.View {
	for _, v := range j.batches[min(int(offset/4), len(j.batches)):] {
		if v.LastOffset() >= offset {
			return v
		}
	}
	return nil
}

// expectRead reads from offset to the end in pieces of several sizes and compares.
func (j *journal) expectRead(t *testing.T, l *Log, offset int64) {
	t.Helper()
	for _, maxBytes := range []int{1 << 20, 700} {
		at := offset
		for at < l.End() {
			pieces, err := l.Read(nil, at, maxBytes)
			check(t, err)
			if len(pieces) == 0 {
				t.Fatalf("a read at %d of [%d, %d) gives nothing", at, l.Start(), l.End())
			}
			size, count := 0, 0
			for _, piece := range pieces {
				size += len(piece)
				for v, err := range batch.Split(piece) {
					check(t, err)
					if want := j.holding(at); !bytes.Equal(v, want) {
						t.Fatalf("at %d there is %x, want %x", at, []byte(v), []byte(want))
					}
					at = v.NextOffset()
					count++
				}
			}
			if size > maxBytes && count > 1 {
				t.Fatalf("%d bytes in %d batches where %d were asked for", size, count, maxBytes)
			}
		}
		if at != j.end() {
			t.Fatalf("reads end at %d, want %d", at, j.end())
		}
	}
}

// countOpen counts the open files of fs.
func countOpen(fs vfs.FS, open *atomic.Int64) vfs.FS {
	return vfs.Wrap(fs, func(f vfs.File) vfs.File {
		open.Add(1)
		return &countedFile{f, open}
	})
}

type countedFile struct {
	vfs.File
	open *atomic.Int64
}

func (f *countedFile) Close() error {
	f.open.Add(-1)
	return f.File.Close()
}
