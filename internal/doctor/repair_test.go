package doctor_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	mathrand "math/rand"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"tidings.dev/internal/datadir"
	"tidings.dev/internal/doctor"
	"tidings.dev/internal/engine"
	"tidings.dev/internal/vfs"
)

// Case: a repair is cut off at any of its operations, by an error and then a power cut. No broker opens what is half
// repaired; the next repair goes on, and comes to the same end.
func TestRepairIsCutOff(t *testing.T) {
	s := makeSample(t, false)
	harmed := copyTree(t, s.disk)
	// What was there at the last clean stop: damage to what only the journal is believed of would be none.
	change(t, harmed, files(t, harmed, "topics/"+s.topic("orders")+"/0/*.log")[0], flip(1000))
	used := journals(t, harmed)
	change(t, harmed, used[len(used)-1], zero(16<<10, 1024))
	must(t, settle(harmed, "."))
	chance := mathrand.New(mathrand.NewSource(1))
	resumed, began := 0, 0
	attempt := func(cut powerCut) (err error) {
		disk := harmed.CrashClone(chance)
		report, checkErr := doctor.Check(disk, "dir")
		must(t, checkErr)
		_, err = doctor.Repair(vfs.NewFaulty(disk, cut.fault()), report, time.Now())
		after := disk.CrashClone(chance)
		if _, err := after.Stat(datadir.FormatFile); err != nil {
			began++
			if datadir.Check(after) == nil {
				t.Fatalf("%v: a broker would open it", cut)
			}
		}
		report, checkErr = doctor.Check(after, "dir")
		if checkErr != nil {
			t.Fatalf("%v: %v", cut, checkErr)
		}
		if !report.Clean() {
			if slices.ContainsFunc(report.Findings, func(f doctor.Finding) bool { return f.Kind == "repair" }) {
				resumed++
			}
			repair(t, after, report)
		}
		if b := s.audit(t, after, false); b.count() > 3 {
			t.Fatalf("%v: missing %v\n%s", cut, b.missing, summary(report))
		}
		return err
	}
	// How many operations stage the new journal depends on how its entries fall into groups: those that put it in its
	// place are counted on their own, so that each of them is met.
	for n := 1; attempt(powerCut{at: n}) != nil; n += 1 + n/40 {
	}
	for n := 1; attempt(powerCut{placing: true, at: n}) != nil; n++ {
	}
	if resumed == 0 || began == 0 {
		t.Errorf("resumed %d, without FORMAT %d: the test cuts nothing off", resumed, began)
	}
}

// A powerCut lets every operation that changes something fail from one on: the at-th of all, or of those that put what a
// repair has staged in its place.
type powerCut struct {
	placing bool
	at      int
}

func (c powerCut) String() string {
	if c.placing {
		return fmt.Sprintf("operation %d of placing", c.at)
	}
	return fmt.Sprintf("operation %d", c.at)
}

func (c powerCut) fault() func(vfs.Op) error {
	counting, ops, no := !c.placing, 0, errors.New("the power is off")
	var mu sync.Mutex
	return func(op vfs.Op) error {
		mu.Lock()
		defer mu.Unlock()
		if counting = counting || op.Kind == vfs.OpRename && op.Name == datadir.FormatFile; !counting || !op.Kind.Changes() {
			return nil
		}
		if ops++; ops >= c.at {
			return no
		}
		return nil
	}
}

// settle makes all of a tree durable.
func settle(disk vfs.FS, dir string) error {
	infos, err := disk.List(dir)
	for _, i := range infos {
		name := filepath.ToSlash(filepath.Join(dir, i.Name))
		if i.Dir {
			err = errors.Join(err, settle(disk, name))
			continue
		}
		f, openErr := disk.Open(name)
		if openErr == nil {
			openErr = errors.Join(f.Sync(), f.Close())
		}
		err = errors.Join(err, openErr)
	}
	return errors.Join(err, disk.SyncDir(dir))
}

// Case: a newer program wrote the directory, or its checkpoint, or its journal. It is refused, with both versions, and
// nothing is touched.
func TestNewerVersions(t *testing.T) {
	s := makeSample(t, true)
	castagnoli := crc32.MakeTable(crc32.Castagnoli)
	for name, harm := range map[string]func(disk vfs.FS){
		"directory": func(disk vfs.FS) { put(t, disk, "FORMAT", []byte("tidings 2\n")) },
		"checkpoint": func(disk vfs.FS) {
			all := files(t, disk, "checkpoint-*")
			change(t, disk, all[len(all)-1], func(b []byte) []byte {
				b[7] = 3
				binary.BigEndian.PutUint32(b[len(b)-4:], crc32.Checksum(b[:len(b)-4], castagnoli))
				return b
			})
		},
		"journal": func(disk vfs.FS) {
			all := journals(t, disk)
			change(t, disk, all[len(all)-1], func(b []byte) []byte {
				b[3]++
				length := int(binary.BigEndian.Uint32(b[36:]))
				frame := b[:(48+length+511)/512*512]
				binary.BigEndian.PutUint32(b[4:], crc32.Update(crc32.Checksum(frame[:4], castagnoli), castagnoli, frame[8:]))
				return b
			})
		},
	} {
		disk := copyTree(t, s.disk)
		harm(disk)
		before := dumpTree(t, disk)
		_, err := doctor.Check(disk, "dir")
		if !errors.Is(err, doctor.ErrNewer) || !strings.Contains(err.Error(), map[bool]string{true: "\\x03", false: "2"}[name == "checkpoint"]) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := engine.Open(config(vfs.NewOverlay(disk))); err == nil && name != "checkpoint" {
			t.Errorf("%s: a broker opens it", name)
		}
		if dumpTree(t, disk) != before {
			t.Errorf("%s: the directory was touched", name)
		}
	}
}

func dumpTree(t testing.TB, disk vfs.FS) string {
	var b strings.Builder
	for _, name := range files(t, disk, "") {
		fmt.Fprintf(&b, "%s %x\n", name, get(t, disk, name))
	}
	return b.String()
}

// toDisk writes a tree to a real directory.
func toDisk(t testing.TB, from vfs.FS) string {
	t.Helper()
	dir := t.TempDir()
	disk, err := vfs.Disk(dir)
	must(t, err)
	for _, name := range files(t, from, "") {
		must(t, disk.MkdirAll(filepath.ToSlash(filepath.Dir(name))))
		put(t, disk, name, get(t, from, name))
	}
	must(t, disk.(interface{ Close() error }).Close())
	return dir
}

// Case: a real directory. Others may read a file; a link leads out; a broker runs.
func TestRealDirectory(t *testing.T) {
	s := makeSample(t, true)
	dir := toDisk(t, s.disk)
	for name, mode := range map[string]fs.FileMode{"FORMAT": 0o644, "journal": 0o755} {
		must(t, os.Chmod(filepath.Join(dir, name), mode))
	}
	must(t, os.Symlink("/etc/passwd", filepath.Join(dir, "story.db.link")))
	report, err := doctor.CheckDir(dir)
	must(t, err)
	for _, want := range []string{"FORMAT", "journal", "story.db.link"} {
		if !slices.ContainsFunc(report.Findings, func(f doctor.Finding) bool { return f.File == want && f.Severity == doctor.Warning }) {
			t.Errorf("%s is not named:\n%s", want, summary(report))
		}
	}
	_, done, err := doctor.RepairDir(dir)
	must(t, err)
	if len(done.Done) != 2 || slices.ContainsFunc(done.After.Findings, func(f doctor.Finding) bool { return f.Kind == "mode" }) {
		t.Errorf("%v\n%s", done.Done, summary(done.After))
	}
	must(t, os.Remove(filepath.Join(dir, "story.db.link")))
	if _, _, err := doctor.RepairDir(dir); !errors.Is(err, doctor.ErrNothing) {
		t.Errorf("a second repair: %v", err)
	}

	lock, err := vfs.Lock(dir)
	must(t, err)
	if _, err := doctor.CheckDir(dir); !isLocked(err) {
		t.Errorf("while a broker runs: %v", err)
	}
	if _, _, err := doctor.RepairDir(dir); !isLocked(err) {
		t.Errorf("repair while a broker runs: %v", err)
	}
	must(t, lock.Release())

	for _, dir := range []string{t.TempDir(), filepath.Join(dir, "topics")} {
		if _, err := doctor.CheckDir(dir); !errors.Is(err, doctor.ErrNotADirectory) {
			t.Errorf("no data directory: %v", err)
		}
		if left, _ := os.ReadDir(dir); slices.ContainsFunc(left, func(e os.DirEntry) bool { return e.Name() == "LOCK" }) {
			t.Error("a lock was left in it")
		}
	}
}

func isLocked(err error) bool {
	locked, ok := errors.AsType[*vfs.LockedError](err)
	return ok && locked.PID == os.Getpid()
}
