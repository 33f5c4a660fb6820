package backup_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"tidings.dev/internal/backup"
	"tidings.dev/internal/batch"
	"tidings.dev/internal/datadir"
	"tidings.dev/internal/engine"
	"tidings.dev/internal/group"
	"tidings.dev/internal/meta"
	"tidings.dev/internal/vfs"
)

func must(t testing.TB, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func openDisk(t testing.TB, dir string) vfs.FS {
	t.Helper()
	disk, err := vfs.Disk(dir)
	must(t, err)
	t.Cleanup(func() { disk.(io.Closer).Close() })
	return disk
}

// A log is an engine with one topic, and what was sent to it.
type log struct {
	*engine.Engine
	disk  vfs.FS
	topic meta.Topic
	sent  []string
}

func openLog(t testing.TB, disk vfs.FS) *log {
	t.Helper()
	e, err := engine.Open(engine.Config{FS: disk, SegmentBytes: 64 << 10, JournalFileBytes: 256 << 10})
	must(t, err)
	t.Cleanup(func() { e.Close() })
	l := &log{Engine: e, disk: disk}
	var ok bool
	if l.topic, ok = e.Topic("orders"); !ok {
		l.topic, err = e.CreateTopic(t.Context(), meta.TopicSpec{Name: "orders", Partitions: 2}, false)
		must(t, err)
	}
	return l
}

// send appends n records of about 1 KiB to partition 0 and commits the position behind them; partition 1 stays empty.
func (l *log) send(t testing.TB, n int) {
	t.Helper()
	for range n {
		value := fmt.Sprintf("%06d %s", len(l.sent), strings.Repeat("x", 1000))
		var b batch.Builder
		b.Add(time.Now().UnixMilli(), nil, []byte(value))
		done := make(chan engine.Appended, 1)
		l.Append(engine.Partition{Topic: l.topic.ID}, b.Batch(), func(a engine.Appended) { done <- a })
		must(t, (<-done).Err)
		l.sent = append(l.sent, value)
	}
	errs := l.Commit(t.Context(), group.CommitRequest{Group: "g", Generation: -1, Offsets: map[group.TopicPartition]group.Committed{
		{Topic: "orders"}: {Offset: int64(len(l.sent)), LeaderEpoch: -1}}})
	for _, err := range errs {
		must(t, err)
	}
}

// read returns all records of partition 0 and the committed position.
func (l *log) read(t testing.TB) (values []string, position int64) {
	t.Helper()
	for next := int64(0); ; {
		f := l.Fetch(context.Background(), engine.FetchRequest{MaxBytes: 1 << 20, Partitions: []engine.FetchPartition{
			{Partition: engine.Partition{Topic: l.topic.ID}, Offset: next, MaxBytes: 1 << 20, LeaderEpoch: -1}}}, nil)[0]
		must(t, f.Err)
		if len(f.Records) == 0 {
			break
		}
		for _, run := range f.Records {
			for v, err := range batch.Split(run) {
				must(t, err)
				for r, err := range batch.Records(v, 1<<20) {
					must(t, err)
					values = append(values, string(r.Value))
				}
				next = v.NextOffset()
			}
		}
	}
	offsets, err := l.FetchOffsets("g", nil)
	must(t, err)
	return values, offsets[group.TopicPartition{Topic: "orders"}].Offset
}

func (l *log) backUp(t testing.TB, store *backup.Store, o backup.Options) backup.Taken {
	t.Helper()
	snap, err := l.Snapshot(t.Context(), datadir.SnapshotDir)
	must(t, err)
	taken, err := store.Take(t.Context(), l.disk, datadir.SnapshotDir, snap, o)
	must(t, err, l.disk.RemoveAll(datadir.SnapshotDir))
	return taken
}

// Case: three backups of a growing log. Each after the first stores little more than what was appended since, reads no
// segment that was closed before, and each can be restored: the records, the position and the identity of its moment.
func TestEachBackupIsRestored(t *testing.T) {
	l := openLog(t, openDisk(t, t.TempDir()))
	target := openDisk(t, t.TempDir())
	store, err := backup.Create(target)
	must(t, err)
	type moment struct {
		taken backup.Taken
		sent  int
	}
	var moments []moment
	for range 3 {
		l.send(t, 400)
		moments = append(moments, moment{l.backUp(t, store, backup.Options{}), len(l.sent)})
	}
	for i, m := range moments[1:] {
		if m.taken.UnchangedFiles < 5 || m.taken.NewBytes > 1<<20+600<<10 || m.taken.Since != moments[i].taken.Name {
			t.Errorf("backup %d: %+v", i+1, m.taken)
		}
	}
	if again := l.backUp(t, store, backup.Options{ReadAll: true}); again.UnchangedFiles > 0 || again.NewBytes > 1<<20+100<<10 {
		t.Errorf("everything read again: %+v", again)
	}
	if names, err := store.Names(); err != nil || len(names) != 4 || !slices.IsSorted(names) {
		t.Fatalf("%v %v", names, err)
	}
	l.send(t, 10) // in no backup
	for _, m := range moments {
		into := openDisk(t, t.TempDir())
		manifest, err := store.Load(m.taken.Name)
		must(t, err, store.Restore(t.Context(), manifest, into, nil))
		r := openLog(t, into)
		values, position := r.read(t)
		if !slices.Equal(values, l.sent[:m.sent]) || position != int64(m.sent) || r.ClusterID() != l.ClusterID() {
			t.Errorf("restored %d records, position %d; it had %d", len(values), position, m.sent)
		}
		r.send(t, 1) // it goes on
		if _, _, err := r.InitProducerID(t.Context(), -1, -1); err != nil {
			t.Error(err)
		}
	}
}

// Case: nobody has the directory open. The backup is made without a byte written to it, after a clean stop and after a
// kill.
func TestBackupAtRest(t *testing.T) {
	for _, clean := range []bool{true, false} {
		dir := t.TempDir()
		l := openLog(t, openDisk(t, dir))
		l.send(t, 300)
		if clean {
			must(t, l.Close())
		} else {
			// What a kill leaves: the files as they are, and nobody who holds them.
			kept := t.TempDir()
			must(t, os.CopyFS(kept, os.DirFS(dir)))
			must(t, l.Close())
			dir = kept
		}
		before := readTree(t, dir)
		source, err := backup.AtRest(t.Context(), dir, nil)
		must(t, err)
		store, err := backup.Create(openDisk(t, t.TempDir()))
		must(t, err)
		_, err = store.Take(t.Context(), source.FS, source.Dir, source.Snapshot, backup.Options{})
		must(t, err, source.Close())
		if after := readTree(t, dir); after != before {
			t.Error("the directory was written to")
		}
		into := openDisk(t, t.TempDir())
		m, err := store.Load("")
		must(t, err, store.Restore(t.Context(), m, into, nil))
		if values, position := openLog(t, into).read(t); !slices.Equal(values, l.sent) || position != 300 {
			t.Errorf("clean %v: %d records, position %d", clean, len(values), position)
		}
	}
}

func readTree(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	must(t, filepath.WalkDir(dir, func(name string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(name)
		fmt.Fprintf(&b, "%s %x\n", name, content)
		return err
	}))
	return b.String()
}

// Case: a backup is cut off at any of its operations on the target, by an error or by a power cut. What was there before
// can be restored, and the next backup succeeds.
func TestBackupIsCutOff(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	rng := rand.New(rand.NewPCG(seed, 1))
	l := openLog(t, vfs.NewMem())
	target := vfs.NewMem()
	store, err := backup.Create(target)
	must(t, err)
	l.send(t, 50)
	l.backUp(t, store, backup.Options{})
	l.send(t, 50)
	snap, err := l.Snapshot(t.Context(), datadir.SnapshotDir)
	must(t, err)
	for at, done := 1, false; !done; at++ {
		disk := target.CrashClone(newRand(rng.Uint64()))
		ops, cut := 0, errors.New("the power is off")
		faulty := vfs.NewFaulty(disk, func(op vfs.Op) error {
			if ops++; ops >= at {
				return cut
			}
			return nil
		})
		broken, err := backup.Open(faulty)
		if err == nil {
			_, err = broken.Take(t.Context(), l.disk, datadir.SnapshotDir, snap, backup.Options{})
		}
		done = err == nil
		after := disk.CrashClone(newRand(rng.Uint64()))
		whole, err := backup.Open(after)
		must(t, err)
		names, err := whole.Names()
		must(t, err)
		if len(names) < 1 || len(names) > 2 || done && len(names) != 2 {
			t.Fatalf("operation %d: %v", at, names)
		}
		for _, name := range names {
			m, err := whole.Load(name)
			must(t, err, whole.Restore(t.Context(), m, vfs.NewMem(), nil))
		}
		if _, err := whole.Take(t.Context(), l.disk, datadir.SnapshotDir, snap, backup.Options{}); err != nil {
			t.Fatalf("operation %d: the next backup: %v", at, err)
		}
	}
}

// Case: a restore is cut off at any of its operations. No broker opens what is there, until the next restore has ended.
func TestRestoreIsCutOff(t *testing.T) {
	l := openLog(t, vfs.NewMem())
	store, err := backup.Create(vfs.NewMem())
	must(t, err)
	l.send(t, 20)
	l.backUp(t, store, backup.Options{})
	m, err := store.Load("")
	must(t, err)
	for at, done := 1, false; !done; at++ {
		disk := vfs.NewMem()
		ops := 0
		err := store.Restore(t.Context(), m, vfs.NewFaulty(disk, func(vfs.Op) error {
			if ops++; ops >= at {
				return errors.New("no more")
			}
			return nil
		}), nil)
		done = err == nil
		after := disk.CrashClone(newRand(uint64(at)))
		if _, err := after.Stat("FORMAT"); err != nil {
			// A broker takes it for what it is: nothing of its own.
			if infos, _ := after.List("."); len(infos) > 1 && datadir.Check(after) == nil {
				t.Fatalf("operation %d: half a log would be opened", at)
			}
			must(t, store.Restore(t.Context(), m, after, nil))
		}
		if values, _ := openLog(t, after).read(t); !slices.Equal(values, l.sent) {
			t.Fatalf("operation %d: %d records", at, len(values))
		}
	}
}

// Case: any byte of any file of the backups is changed, or a file is missing. Verify names the file, and a restore that
// needs it fails with its name; it never restores a wrong byte.
func TestDamagedBackupIsNamed(t *testing.T) {
	l := openLog(t, vfs.NewMem())
	target := vfs.NewMem()
	store, err := backup.Create(target)
	must(t, err)
	l.send(t, 5)
	l.backUp(t, store, backup.Options{})
	v, err := store.Verify(t.Context())
	must(t, err)
	if len(v.Damage) != 0 || len(v.Foreign) != 0 || v.Unused != 0 || len(v.Backups) != 1 {
		t.Fatalf("%+v", v)
	}
	rng := rand.New(rand.NewPCG(7, 7))
	for _, name := range allFiles(t, target, ".") {
		if path.Base(name) == "TIDINGS-BACKUP" {
			continue
		}
		for _, harm := range []string{"flip", "cut", "missing"} {
			disk := target.CrashClone(newRand(1))
			damage(t, disk, name, harm, rng)
			store, err := backup.Open(disk)
			must(t, err)
			v, err := store.Verify(t.Context())
			must(t, err)
			if harm == "missing" && strings.HasPrefix(name, "backups/") {
				continue // there is one less
			}
			if !slices.ContainsFunc(v.Damage, func(d *backup.DamageError) bool { return d.File == name }) {
				t.Errorf("%s %s: not named in %v", harm, name, v.Damage)
			}
			m, err := store.Load("")
			if err == nil {
				err = store.Restore(t.Context(), m, vfs.NewMem(), nil)
			}
			if d, ok := errors.AsType[*backup.DamageError](err); !ok || d.File != name {
				t.Errorf("%s %s: restored: %v", harm, name, err)
			}
		}
	}
}

func damage(t *testing.T, disk vfs.FS, name, harm string, rng *rand.Rand) {
	t.Helper()
	if harm == "missing" {
		must(t, disk.Remove(name))
		return
	}
	f, err := disk.Open(name)
	must(t, err)
	defer f.Close()
	size, err := f.Size()
	must(t, err)
	at := rng.Int64N(size)
	if harm == "cut" {
		must(t, f.Truncate(at))
		return
	}
	b := make([]byte, 1)
	if _, err := f.ReadAt(b, at); err != nil && err != io.EOF {
		t.Fatal(err)
	}
	b[0] ^= 1 << rng.IntN(8)
	_, err = f.WriteAt(b, at)
	must(t, err)
}

func allFiles(t *testing.T, fs vfs.FS, dir string) (names []string) {
	t.Helper()
	infos, err := fs.List(dir)
	must(t, err)
	for _, i := range infos {
		if name := path.Join(dir, i.Name); i.Dir {
			names = append(names, allFiles(t, fs, name)...)
		} else {
			names = append(names, name)
		}
	}
	return names
}

// Case: the target holds something else, backups of another log, or those of a newer program; the directory to restore
// to is in use. Each is refused and nothing is touched.
func TestRefusals(t *testing.T) {
	foreign := vfs.NewMem()
	put(t, foreign, "holiday.jpg", "x")
	_, err := backup.Create(foreign)
	if e, ok := errors.AsType[*backup.ForeignError](err); !ok || !slices.Equal(e.Names, []string{"holiday.jpg"}) {
		t.Errorf("foreign: %v", err)
	}
	newer := vfs.NewMem()
	put(t, newer, "TIDINGS-BACKUP", "tidings backup 2\n")
	if _, err := backup.Create(newer); !isType[*backup.FormatError](err) {
		t.Errorf("newer: %v", err)
	}
	if _, err := backup.Open(vfs.NewMem()); !errors.Is(err, backup.ErrNone) {
		t.Errorf("empty: %v", err)
	}

	target := vfs.NewMem()
	store, err := backup.Create(target)
	must(t, err)
	l, other := openLog(t, vfs.NewMem()), openLog(t, vfs.NewMem())
	l.send(t, 1)
	l.backUp(t, store, backup.Options{})
	snap, err := other.Snapshot(t.Context(), datadir.SnapshotDir)
	must(t, err)
	if _, err := store.Take(t.Context(), other.disk, datadir.SnapshotDir, snap, backup.Options{}); !errors.Is(err, backup.ErrOtherLog) {
		t.Errorf("of another log: %v", err)
	}
	m, err := store.Load("")
	must(t, err)
	if err := store.Restore(t.Context(), m, other.disk, nil); !isType[*backup.NotEmptyError](err) {
		t.Errorf("over a log: %v", err)
	}
	if _, err := store.Load("20260101T000000.000Z"); !errors.Is(err, backup.ErrNone) {
		t.Errorf("no such backup: %v", err)
	}
	if _, err := store.Load("../../etc/passwd"); !errors.Is(err, backup.ErrNone) {
		t.Errorf("no name: %v", err)
	}
}

func isType[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

func put(t *testing.T, fs vfs.FS, name, content string) {
	t.Helper()
	f, err := fs.Create(name)
	must(t, err)
	_, err = f.WriteAt([]byte(content), 0)
	must(t, err, f.Close())
}

// Case: of five backups the last two are kept: they can be restored, and what only the others needed is gone.
func TestPrune(t *testing.T) {
	l := openLog(t, vfs.NewMem())
	target := vfs.NewMem()
	store, err := backup.Create(target)
	must(t, err)
	for range 5 {
		l.send(t, 30)
		l.backUp(t, store, backup.Options{})
	}
	names, err := store.Names()
	must(t, err)
	pruned, err := store.Prune(2)
	must(t, err)
	if !slices.Equal(pruned.Backups, names[:3]) || pruned.FreedBytes == 0 {
		t.Errorf("%+v", pruned)
	}
	v, err := store.Verify(t.Context())
	must(t, err)
	if len(v.Backups) != 2 || len(v.Damage) != 0 || v.Unused != 0 {
		t.Errorf("%+v", v)
	}
	m, err := store.Load(names[4])
	into := vfs.NewMem()
	must(t, err, store.Restore(t.Context(), m, into, nil))
	if values, _ := openLog(t, into).read(t); !slices.Equal(values, l.sent) {
		t.Errorf("%d records", len(values))
	}
}

func newRand(seed uint64) *mathrand.Rand { return mathrand.New(mathrand.NewSource(int64(seed))) }
