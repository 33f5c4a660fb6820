package doctor_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"tidings.dev/internal/batch"
	"tidings.dev/internal/doctor"
	"tidings.dev/internal/engine"
	"tidings.dev/internal/group"
	"tidings.dev/internal/journal"
	"tidings.dev/internal/meta"
	"tidings.dev/internal/vfs"
)

var (
	harmSeed  = flag.Uint64("harm.seed", 0, "seed of TestAnyHarm; 0: a new one each time")
	harmCount = flag.Int("harm.count", 150, "how many directories TestAnyHarm damages")
)

func must(t testing.TB, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func config(fs vfs.FS) engine.Config {
	return engine.Config{FS: fs, SegmentBytes: 8 << 10, JournalFileBytes: 64 << 10, CheckpointBytes: 1 << 30}
}

// sample is a data directory, and what was acknowledged of it.
type sample struct {
	disk     *vfs.Mem
	records  map[engine.Partition]map[int64]string // acknowledged
	topics   map[engine.Partition]string
	clock    int64
	position int64 // of group "g" in the first partition of orders
}

// makeSample fills a directory: three topics, thirty segments, indexes, two checkpoints, and a journal that goes on
// behind the last. If not clean, the broker was killed.
func makeSample(t testing.TB, clean bool) sample {
	t.Helper()
	s := sample{disk: vfs.NewMem(), records: map[engine.Partition]map[int64]string{}, topics: map[engine.Partition]string{}}
	var e *engine.Engine
	send := func(name string, rounds int) {
		topic, ok := e.Topic(name)
		if !ok {
			var err error
			topic, err = e.CreateTopic(context.Background(), meta.TopicSpec{Name: name, Partitions: 2}, false)
			must(t, err)
		}
		pid, epoch, err := e.InitProducerID(context.Background(), -1, -1)
		must(t, err)
		for i := range rounds {
			id := engine.Partition{Topic: topic.ID, Index: int32(i % 2)}
			value := fmt.Sprintf("%s-%d-%d %s", name, len(s.records[id]), i, strings.Repeat("x", 600))
			var b batch.Builder
			if i%2 == 0 {
				b.Producer(pid, epoch, int32(i/2))
			}
			s.clock++ // no two records have one time, so that no two indexes are the same
			b.Add(time.Now().Add(-time.Hour).UnixMilli()/3_600_000*3_600_000+s.clock, []byte("key"), []byte(value))
			done := make(chan engine.Appended, 1)
			e.Append(id, b.Batch(), func(a engine.Appended) { done <- a })
			a := <-done
			must(t, a.Err)
			if s.records[id] == nil {
				s.records[id], s.topics[id] = map[int64]string{}, name
			}
			s.records[id][a.BaseOffset] = value
		}
	}
	commit := func(position int64) {
		errs := e.Commit(context.Background(), group.CommitRequest{Group: "g", Generation: -1, Offsets: map[group.TopicPartition]group.Committed{
			{Topic: "orders"}: {Offset: position, LeaderEpoch: -1}}})
		for _, err := range errs {
			must(t, err)
		}
		s.position = position
	}
	for round := range 3 {
		var err error
		e, err = engine.Open(config(s.disk))
		must(t, err)
		must(t, e.Checkpoint(context.Background())) // the one that follows Open: none falls into the copy below
		send("orders", 60)
		send(fmt.Sprint("topic-", round), 24)
		commit(int64(10 * (round + 1)))
		if round == 2 {
			send("orders", 10)
			commit(35)
			if !clean {
				s.disk = copyOfLive(t, s.disk)
			}
		}
		must(t, e.Close())
	}
	return s
}

// topic is the id of a topic, as directories are named.
func (s sample) topic(name string) string {
	for p, of := range s.topics {
		if of == name {
			return p.Topic.String()
		}
	}
	return ""
}

// copyTree copies all files, synced or not.
func copyTree(t testing.TB, from vfs.FS) *vfs.Mem {
	t.Helper()
	to := vfs.NewMem()
	must(t, copyDir(from, to, "."))
	return to
}

func copyDir(from, to vfs.FS, dir string) error {
	infos, err := from.List(dir)
	if err != nil {
		return err
	}
	for _, i := range infos {
		name := path.Join(dir, i.Name)
		if i.Dir {
			err = errors.Join(to.MkdirAll(name), copyDir(from, to, name))
		} else {
			err = copyFile(from, to, name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func copyFile(from, to vfs.FS, name string) error {
	b, err := vfs.ReadFile(from, name)
	if err != nil {
		return err
	}
	f, err := to.Create(name)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(b, 0)
	return errors.Join(err, f.Close())
}

// copyOfLive copies the directory of a broker that nobody calls, whose journal may still be getting its next file ready.
func copyOfLive(t testing.TB, from vfs.FS) *vfs.Mem {
	t.Helper()
	for {
		before, to := files(t, from, ""), vfs.NewMem()
		err := copyDir(from, to, ".")
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		if slices.Equal(before, files(t, from, "")) {
			must(t, err)
			return to
		}
	}
}

func put(t testing.TB, fs vfs.FS, name string, content []byte) {
	t.Helper()
	f, err := fs.Create(name)
	must(t, err)
	_, err = f.WriteAt(content, 0)
	must(t, err, f.Close())
}

func get(t testing.TB, fs vfs.FS, name string) []byte {
	t.Helper()
	f, err := fs.OpenRead(name)
	must(t, err)
	defer f.Close()
	size, err := f.Size()
	must(t, err)
	b := make([]byte, size)
	if _, err := f.ReadAt(b, 0); err != nil && err != io.EOF {
		t.Fatal(err)
	}
	return b
}

// journals lists the journal's files in order, without one that was merely begun.
func journals(t testing.TB, fs vfs.FS) (names []string) {
	t.Helper()
	in, err := journal.Inspect(fs, "journal", 0)
	must(t, err)
	for _, f := range in.Files {
		if f.Frames > 0 {
			names = append(names, f.Name)
		}
	}
	return names
}

// files lists all files whose names match.
func files(t testing.TB, fs vfs.FS, pattern string) (names []string) {
	t.Helper()
	var walk func(dir string)
	walk = func(dir string) {
		infos, err := fs.List(dir)
		must(t, err)
		for _, i := range infos {
			name := path.Join(dir, i.Name)
			if i.Dir {
				walk(name)
			} else if ok, _ := path.Match(pattern, name); ok || strings.HasPrefix(name, pattern) {
				names = append(names, name)
			}
		}
	}
	walk(".")
	return names
}

// books compares a broker on the directory with what was acknowledged: nothing may be wrong, and what is missing is
// returned. Positions and names may be lost only where the caller allows it.
type books struct {
	missing  map[engine.Partition][]int64
	position int64
	names    map[engine.Partition]string
}

func (s sample) audit(t testing.TB, disk vfs.FS, lostTail bool) books {
	t.Helper()
	e, err := engine.Open(config(disk))
	must(t, err)
	defer func() { must(t, e.Close()) }()
	b := books{missing: map[engine.Partition][]int64{}, names: map[engine.Partition]string{}}
	for id, told := range s.records {
		topic, ok := e.TopicByID(id.Topic)
		if !ok && lostTail { // its creation may have come last
			for offset := range int64(len(told)) {
				b.missing[id] = append(b.missing[id], offset)
			}
			continue
		}
		if !ok {
			t.Errorf("topic %s is gone", s.topics[id])
			continue
		}
		b.names[id] = topic.Name
		got := readAll(t, e, id)
		for offset, value := range got {
			if told[offset] != value {
				t.Errorf("I1/I7: %s/%d offset %d was %.30q and is %.30q", topic.Name, id.Index, offset, told[offset], value)
			}
		}
		for offset := range int64(len(told)) {
			if _, ok := got[offset]; !ok {
				b.missing[id] = append(b.missing[id], offset)
			}
		}
		// I2: what is appended next gets an offset that nobody had.
		var next batch.Builder
		next.Add(1, []byte("key"), []byte("next"))
		done := make(chan engine.Appended, 1)
		e.Append(id, next.Batch(), func(a engine.Appended) { done <- a })
		if a := <-done; a.Err != nil {
			t.Errorf("append: %v", a.Err)
		} else if a.BaseOffset < int64(len(told)) && !lostTail {
			t.Errorf("I2: %s/%d: offset %d is given again", topic.Name, id.Index, a.BaseOffset)
		}
	}
	offsets, err := e.FetchOffsets("g", nil)
	must(t, err)
	b.position = offsets[group.TopicPartition{Topic: "orders"}].Offset
	if b.position > s.position {
		t.Errorf("I6: the position is %d, it was %d", b.position, s.position)
	}
	return b
}

func (b books) count() (n int) {
	for _, offsets := range b.missing {
		n += len(offsets)
	}
	return n
}

func readAll(t testing.TB, e *engine.Engine, id engine.Partition) map[int64]string {
	t.Helper()
	got := map[int64]string{}
	listed, err := e.OffsetFor(id, engine.Earliest)
	must(t, err)
	end, err := e.OffsetFor(id, engine.Latest)
	must(t, err)
	for next := listed.Offset; next < end.Offset; {
		f := e.Fetch(context.Background(), engine.FetchRequest{MaxBytes: 1 << 20, Partitions: []engine.FetchPartition{
			{Partition: id, Offset: next, MaxBytes: 1 << 20, LeaderEpoch: -1}}}, nil)[0]
		if f.Err != nil {
			t.Errorf("read %s/%d at %d: %v", id.Topic, id.Index, next, f.Err)
			return got
		}
		if len(f.Records) == 0 {
			return got
		}
		for _, run := range f.Records {
			for v, err := range batch.Split(run) {
				must(t, err)
				for r, err := range batch.Records(v, 1<<20) {
					must(t, err)
					got[r.Offset] = string(r.Value)
				}
				next = v.NextOffset()
			}
		}
	}
	return got
}

// repair repairs a directory and checks that nothing is left to repair.
func repair(t testing.TB, disk vfs.FS, report *doctor.Report) *doctor.Repaired {
	t.Helper()
	done, err := doctor.Repair(disk, report, time.Now())
	if err != nil {
		t.Fatalf("repair: %v\n%s", err, summary(report))
	}
	if !done.After.Opens || slices.ContainsFunc(done.After.Findings, func(f doctor.Finding) bool {
		return f.Severity == doctor.Damage || f.Severity == doctor.Warning && f.Kind != "torn"
	}) {
		t.Fatalf("after the repair:\n%s\nbefore it:\n%s\n%+v", summary(done.After), summary(report), done.Done)
	}
	return done
}

// summary returns the findings of a report, one line each.
func summary(r *doctor.Report) string {
	var b strings.Builder
	fmt.Fprintf(&b, "opens: %v\n", r.Opens)
	for _, f := range r.Findings {
		fmt.Fprintf(&b, "%s %s %s", f.Severity, f.Kind, f.File)
		if f.Position != nil {
			fmt.Fprintf(&b, " at %d", *f.Position)
		}
		if f.FirstOffset != nil {
			fmt.Fprintf(&b, " offsets %d-%d", *f.FirstOffset, *f.LastOffset)
		}
		fmt.Fprintf(&b, ": %s → %s\n", f.What, f.Repair)
	}
	return b.String()
}

// Case: nothing is wrong, after a clean stop and after a kill. The doctor says so, reads everything and writes nothing.
func TestNothingIsWrong(t *testing.T) {
	for _, clean := range []bool{true, false} {
		s := makeSample(t, clean)
		reads := []vfs.OpKind{vfs.OpOpenRead, vfs.OpReadAt, vfs.OpList, vfs.OpStat, vfs.OpSize}
		readOnly := vfs.NewFaulty(s.disk, func(op vfs.Op) error {
			if !slices.Contains(reads, op.Kind) {
				return fmt.Errorf("the doctor writes: %v %s", op.Kind, op.Name)
			}
			return nil
		})
		report, err := doctor.Check(readOnly, "dir")
		must(t, err)
		if !report.Clean() || !report.Opens || report.Topics != 4 || report.Partitions < 6 || report.Segments < 20 || (report.Replay == 0) != clean {
			t.Errorf("clean %v: %+v\n%s", clean, report, summary(report))
		}
		if _, err := doctor.Repair(readOnly, report, time.Now()); !errors.Is(err, doctor.ErrNothing) {
			t.Errorf("repair: %v", err)
		}
		if b := s.audit(t, s.disk, false); b.count() != 0 || b.position != s.position {
			t.Errorf("clean %v: %+v", clean, b)
		}
	}
}
