package demo

import (
	"path/filepath"
	"syscall"
	"testing"
)

// Case: a data directory on a disk that is full. The demo reports it and ends.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("only who may mount can have a small disk: %v", err)
	}
	defer syscall.Unmount(dir, 0)
	s := program(t).On(filepath.Join(dir, "data"))
	s.Want(s.Run("demo", "--settle", "--listen", "127.0.0.1:0", "-o", "json"), 1, `"code":"disk_full"`, "no space left", "make room")
}
