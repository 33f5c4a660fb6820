package client

import (
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
	// Case: it can be kept, and nothing is said.
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	if r := s.Want(s.Run("story", "door/7"), 0, "1 event"); r.Stderr != "" {
		t.Errorf("stderr is %q", r.Stderr)
	}
}
