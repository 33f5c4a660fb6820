package doctor_test

import (
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"tidings.dev/internal/doctor"
	"tidings.dev/internal/engine"
	"tidings.dev/internal/vfs"
)

// Case: the disk is full. The doctor says so, and how much is missing, and says nothing of it when there is room.
func TestFullDisk(t *testing.T) {
	small := t.TempDir()
	if err := syscall.Mount("tmpfs", small, "tmpfs", 0, "size=16m"); err != nil {
		t.Skipf("a tmpfs can't be mounted here: %v", err)
	}
	defer syscall.Unmount(small, syscall.MNT_DETACH)
	dir, ballast := filepath.Join(small, "data"), filepath.Join(small, "ballast")
	must(t, os.Mkdir(dir, 0o700))
	disk, err := vfs.Disk(dir)
	must(t, err)
	e, err := engine.Open(engine.Config{FS: disk, JournalFileBytes: 1 << 20})
	must(t, err)
	must(t, e.Close())
	must(t, disk.(io.Closer).Close())

	said := func() (room []string) {
		t.Helper()
		report, err := doctor.CheckDir(dir)
		must(t, err)
		for _, f := range report.Findings {
			if f.Kind == "room" {
				room = append(room, string(f.Severity)+": "+f.What)
			}
		}
		return room
	}
	if room := said(); len(room) != 0 {
		t.Errorf("with room: %q", room)
	}
	f, err := os.Create(ballast)
	must(t, err)
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	must(t, f.Close())
	spares, err := filepath.Glob(filepath.Join(dir, "journal", "*.spare"))
	must(t, err)
	reserves, err := filepath.Glob(filepath.Join(dir, "journal", "*.reserve"))
	must(t, err)
	for _, name := range slices.Concat(spares, reserves[:4]) { // used up
		must(t, os.Rename(name, filepath.Join(small, filepath.Base(name))))
	}
	if room := strings.Join(said(), "; "); !strings.Contains(room, "warning: the disk has 0 bytes free") || !strings.Contains(room, "note: 6 of 10") {
		t.Errorf("on a full disk: %q", room)
	}
}
