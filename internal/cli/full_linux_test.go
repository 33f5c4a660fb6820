package cli

import (
	"path/filepath"
	"syscall"
	"testing"
)

// Case: a data directory on a disk that is full. It is said so, and nothing hangs.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("only who may mount can have a small disk: %v", err)
	}
	defer syscall.Unmount(dir, 0)
	s := shell{t, filepath.Join(dir, "data")}
	s.want(s.run("demo", "--settle", "--listen", "127.0.0.1:0", "-o", "json"), 1, `"code":"disk_full"`, "no space left", "make room")
}
