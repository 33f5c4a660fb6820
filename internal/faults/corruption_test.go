package faults

import (
	"errors"
	"fmt"
	"log/slog"
	"path"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"tidings.dev/internal/batch"
	"tidings.dev/internal/datadir"
	"tidings.dev/internal/engine"
	"tidings.dev/internal/journal"
	"tidings.dev/internal/vfs"
)

// sampleDir is a data directory of about 64 KiB with every kind of file: two checkpoints, a journal of several files with
// spares, segments, indexes and, unless it was closed cleanly, a journal to be replayed.
type sampleDir struct {
	disk   *vfs.Mem
	book   *ledger
	closed bool
	files  []vfs.Info // by their whole name
	dirs   []string
	ending string // the last file of the journal that holds a commit
}

func sampleConfig(fsys vfs.FS, logger *slog.Logger) engine.Config {
	return engine.Config{FS: fsys, Logger: logger, JournalFileBytes: 8 << 10, CheckpointBytes: 6 << 10, TailBytes: 2 << 10, SegmentBytes: 3 << 10}
}

func newSampleDir(t *testing.T, closed bool) *sampleDir {
	t.Helper()
	disk := vfs.NewMem()
	r := &sampleDir{book: newLedger(), closed: closed}
	p := topicPartition{"orders", 1}
	for session := range 2 {
		e, err := engine.Open(sampleConfig(disk, nil))
		if err != nil {
			t.Fatal(err)
		}
		d := engineLog{e, r.book}
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		if session == 0 {
			must(d.make("orders", 2, nil))
		}
		id, err := d.producer()
		must(err)
		who := fmt.Sprintf("i-%d", session)
		for i := range int32(24) {
			must(d.send(topicPartition{"orders", 0}, who, id, i, 150))
			must(d.send(p, "p", -1, 0, 150))
			must(d.commit("readers", p, int64(session*100)+int64(i)+1))
		}
		must(d.send(p, "p", -1, 0, 10))
		if session == 0 || closed {
			must(e.Close())
			e, err = engine.Open(sampleConfig(disk, nil)) // a life without work leaves nothing to replay
			must(errors.Join(err, e.Close()))
		}
		disk.PowerOff()
		e.Close()
		disk = copyOf(disk, 1)
	}
	r.disk = disk
	r.list(t, ".")
	inspection, err := journal.Inspect(r.disk, "journal", 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range inspection.Files {
		if f.Frames > 0 { // a file begun ahead of its use has none, and may be there or not
			r.ending = f.Name
		}
	}
	if !isJournal(r.ending) {
		t.Fatalf("no file of the journal holds a commit: %+v", inspection)
	}
	return r
}

func (r *sampleDir) list(t *testing.T, dir string) {
	t.Helper()
	infos, err := r.disk.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, info := range infos {
		info.Name = path.Join(dir, info.Name)
		if info.Dir {
			r.dirs = append(r.dirs, info.Name)
			r.list(t, info.Name)
		} else {
			r.files = append(r.files, info)
		}
	}
}

// damage is one way to damage a copy of a sampleDir.
type damage struct {
	what  string
	files []string // that are harmed; one of them must be named
	do    func(vfs.FS) error
	// loses is how many of the last commits may be gone after an unclean stop, since the damage cannot be distinguished from
	// a torn tail, or from one that never reached the disk.
	loses int
	// moved means that files are missing or have changed places: an error that names the directory is enough.
	moved bool
}

func (r *sampleDir) damages() []damage {
	var all []damage
	// A flipped byte or a cut can look like one torn commit. If the whole content of the last file is gone, as if the file
	// had just been created, the number of its commits is not known.
	const one, whole = 1, 1 << 30
	loses := func(name string, commits int) int {
		if r.closed || name != r.ending {
			return 0
		}
		return commits
	}
	add := func(d damage) { all = append(all, d) }
	write := func(name string, at int64, change func([]byte), bytes int64) func(vfs.FS) error {
		return func(fsys vfs.FS) error {
			f, err := fsys.Open(name)
			if err != nil {
				return err
			}
			b := make([]byte, bytes)
			if n, err := f.ReadAt(b, at); int64(n) < bytes {
				return err
			}
			change(b)
			_, err = f.WriteAt(b, at)
			return errors.Join(err, f.Close())
		}
	}
	for _, info := range r.files {
		name := info.Name
		for at := range info.SizeBytes {
			flip := func(b []byte) { b[0] ^= 1 << (at % 8) }
			add(damage{fmt.Sprintf("%s, byte %d flipped", name, at), []string{name}, write(name, at, flip, 1), loses(name, one), false})
		}
		for at := int64(0); at < info.SizeBytes; at += 61 {
			cut := func(fsys vfs.FS) error {
				f, err := fsys.Open(name)
				if err != nil {
					return err
				}
				return errors.Join(f.Truncate(at), f.Close())
			}
			add(damage{fmt.Sprintf("%s cut to %d", name, at), []string{name}, cut, loses(name, one), false})
		}
		for _, page := range []int64{512, 4096} {
			for at := int64(0); at < info.SizeBytes; at += page {
				zero := func(b []byte) { clear(b) }
				add(damage{fmt.Sprintf("%s, %d zeros at %d", name, page, at), []string{name},
					write(name, at, zero, min(page, info.SizeBytes-at)), loses(name, whole), false})
			}
		}
		add(damage{name + " missing", []string{name}, func(fsys vfs.FS) error { return fsys.Remove(name) }, 0, true})
		for _, other := range r.files {
			if other.Name > name {
				swap := func(fsys vfs.FS) error {
					return errors.Join(fsys.Rename(name, "swap"), fsys.Rename(other.Name, name), fsys.Rename("swap", other.Name))
				}
				add(damage{
					what: fmt.Sprintf("%s and %s swapped", name, other.Name), files: []string{name, other.Name}, do: swap, moved: true,
					loses: max(loses(name, whole), loses(other.Name, whole)),
				})
			}
		}
	}
	for _, dir := range r.dirs {
		add(damage{dir + " missing", []string{dir}, func(fsys vfs.FS) error { return fsys.RemoveAll(dir) }, 0, true})
	}
	return all
}

// verdict is the result of a damage.
type verdict string

const (
	harmless verdict = "harmless"       // everything that was promised is there
	refused  verdict = "refused"        // the start names the file
	partly   verdict = "refused partly" // reads of what was damaged name the file; the rest is served
	tail     verdict = "torn tail"      // commits at the end of the journal are gone, after an unclean stop
)

// try damages a copy, opens it and returns the verdict. wrong is "" unless a promise was broken and nothing reported
// it.
func (r *sampleDir) try(d damage) (v verdict, wrong string) {
	disk := copyOf(r.disk, 1)
	if err := d.do(disk); err != nil {
		return "", "the damage failed: " + err.Error()
	}
	var logged safeBuffer
	e, err := engine.Open(sampleConfig(disk, slog.New(slog.NewTextHandler(&logged, nil))))
	if err != nil {
		if !d.isNamedBy(err) {
			return "", "it is refused, but no damaged file is named: " + err.Error()
		}
		return refused, ""
	}
	defer e.Close()
	engineLog := engineLog{e, r.book}
	v = harmless
	lost := 0
	for p, records := range r.book.records {
		start, end, found := r.readAround(engineLog, p)
		if start > 0 {
			return "", fmt.Sprintf("%v starts at %d", p, start)
		}
		for offset, want := range records {
			switch got, read := found.records[offset]; {
			case read && got != want:
				return "", fmt.Sprintf("wrong bytes are served: %v offset %d is %q, it was %q", p, offset, got, want)
			case read:
			case found.errs[offset] != nil:
				if !errors.Is(found.errs[offset], batch.ErrCorrupt) || !d.isNamedBy(found.errs[offset]) {
					return "", fmt.Sprintf("%v offset %d is refused, but no damaged file is named: %v", p, offset, found.errs[offset])
				}
				v = partly
			case d.loses > 0 && offset >= end: // a suffix
				v, lost = tail, lost+1
			default:
				return "", fmt.Sprintf("%v offset %d is gone without a word; it ends at %d", p, offset, end)
			}
		}
	}
	positions, err := engineLog.committed("readers")
	if err != nil {
		return "", "positions: " + err.Error()
	}
	for k, offset := range r.book.acked {
		if have := positions[k.topicPartition]; have != offset && (d.loses == 0 || have > offset) {
			return "", fmt.Sprintf("the position in %v is %d, it was %d", k.topicPartition, have, offset)
		} else if have != offset {
			v, lost = tail, lost+1
		}
	}
	if lost > d.loses {
		return "", fmt.Sprintf("%d commits at the end are gone without a word", lost)
	}
	if lost > 0 && d.loses == 1 && !strings.Contains(logged.String(), "torn") {
		return "", "the last commit is gone and no torn tail was reported"
	}
	return v, ""
}

type found struct {
	records map[int64]string
	errs    map[int64]error
}

// readAround reads a partition and skips what is refused, one offset at a time.
func (r *sampleDir) readAround(d engineLog, p topicPartition) (start, end int64, f found) {
	f = found{map[int64]string{}, map[int64]error{}}
	id, err := d.partition(p)
	if err != nil {
		return 0, 0, f
	}
	first, err := d.engine.OffsetFor(id, engine.Earliest)
	last, err2 := d.engine.OffsetFor(id, engine.Latest)
	if err != nil || err2 != nil {
		return 0, 0, f
	}
	for next := first.Offset; next < last.Offset; {
		got, after, err := d.fetch(id, next)
		for _, r := range got {
			f.records[r.offset] = r.value
		}
		next = after
		if err != nil || len(got) == 0 {
			f.errs[next] = err
			next++
		}
	}
	return first.Offset, last.Offset, f
}

// isNamedBy reports whether an error names what is damaged.
func (d damage) isNamedBy(err error) bool {
	if _, ok := errors.AsType[*datadir.ForeignError](err); ok {
		return true // FORMAT is missing, and it says what is there
	}
	if _, ok := errors.AsType[*datadir.FormatError](err); ok {
		return true // only FORMAT has a format
	}
	for _, name := range d.files {
		if dir := path.Dir(name); strings.Contains(err.Error(), name) || d.moved && dir != "." && strings.Contains(err.Error(), dir) {
			return true
		}
	}
	return false
}

// Case: every byte of a data directory is flipped, one at a time; files are cut, lose pages, change places and go
// missing. No wrong byte is ever served, and nothing that was promised is missing without a file being named.
func TestCorruption(t *testing.T) {
	for _, closed := range []bool{true, false} {
		r := newSampleDir(t, closed)
		var size int64
		for _, info := range r.files {
			size += info.SizeBytes
		}
		damages := r.damages()
		began := time.Now()
		var mu sync.Mutex
		counts, bad := map[verdict]int{}, 0
		next := make(chan damage)
		var workers sync.WaitGroup
		for range runtime.GOMAXPROCS(0) {
			workers.Go(func() {
				for d := range next {
					v, wrong := r.try(d)
					mu.Lock()
					counts[v]++
					if wrong != "" {
						if bad++; bad <= 20 {
							t.Errorf("I7: closed %v: %s: %s", closed, d.what, wrong)
						}
					}
					mu.Unlock()
				}
			})
		}
		for i, d := range damages {
			if i%*every == 0 || strings.HasSuffix(d.what, "missing") {
				next <- d
			}
		}
		close(next)
		workers.Wait()
		if bad > 20 {
			t.Errorf("and %d more", bad-20)
		}
		t.Logf("closed %v: %d bytes in %d files, %d ways to harm them, every %d. tried in %v: %v", closed, size, len(r.files), len(damages), *every, time.Since(began), counts)
	}
}
