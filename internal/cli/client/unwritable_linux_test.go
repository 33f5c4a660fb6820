package client

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"tidings.dev/internal/cli/clitest"
)

// The index is not kept where its place cannot be written: the story is told all the same, and why it took longer is said.
func TestAStoryWhereTheIndexCannotBeKept(t *testing.T) {
	s := program(t).On(clitest.Broker(t))
	s.Want(s.Run("topic", "create", "doors"), 0)
	s.Want(s.Pipe("{}\n", "emit", "home.door.opened", "--topic", "doors", "--subject", "door/7"), 0)
	asked := func(cache, why string) {
		t.Helper()
		t.Setenv("XDG_CACHE_HOME", cache)
		r := s.Want(s.Run("story", "door/7"), 0, "1 event")
		if !strings.Contains(r.Stderr, "the story's index cannot be kept") || !strings.Contains(r.Stderr, why) {
			t.Errorf("%s: stderr is %q", why, r.Stderr)
		}
	}
	t.Run("a file is in its place", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "cache")
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		asked(file, "not a directory")
	})
	t.Run("the file system is read-only", func(t *testing.T) {
		cache := t.TempDir()
		if err := unix.Mount("tmpfs", cache, "tmpfs", unix.MS_RDONLY, ""); err != nil {
			t.Skipf("may not mount: %v", err)
		}
		defer unix.Unmount(cache, 0)
		asked(cache, "read-only file system")
	})
	t.Run("the disk is full", func(t *testing.T) {
		asked(fullDisk(t, "256k", 256<<10), "no space left")
	})
	t.Run("the disk gets full while the log is read", func(t *testing.T) {
		// There is room for an empty index.
		lines := strings.Repeat(`{"text":"`+strings.Repeat("x", 200)+"\"}\n", 3000)
		s.Want(s.Pipe(lines, "emit", "home.door.heard", "--topic", "doors", "--subject", "door/8"), 0)
		asked(fullDisk(t, "256k", 192<<10), "no space left")
	})
	t.Run("that for temporary files is full, too", func(t *testing.T) {
		full := fullDisk(t, "256k", 256<<10)
		t.Setenv("XDG_CACHE_HOME", full)
		t.Setenv("TMPDIR", full)
		r := s.Want(s.Run("story", "door/7", "-o", "json"), 1, `"code":"disk_full"`, "TMPDIR", "XDG_CACHE_HOME")
		if strings.Contains(r.Stderr, "--data") {
			t.Errorf("stderr is %q", r.Stderr)
		}
	})
	// Case: it can be kept, and nothing is said.
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	if r := s.Want(s.Run("story", "door/7"), 0, "1 event"); r.Stderr != "" {
		t.Errorf("stderr is %q", r.Stderr)
	}
}

// fullDisk returns a directory on a disk of a size, of which so many bytes are taken, if there are so many.
func fullDisk(t *testing.T, size string, taken int) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Skipf("may not mount: %v", err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	if err := os.WriteFile(filepath.Join(dir, "taken"), make([]byte, taken), 0o600); err != nil && !errors.Is(err, unix.ENOSPC) {
		t.Fatal(err)
	}
	return dir
}
