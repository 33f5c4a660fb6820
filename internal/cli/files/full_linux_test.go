package files

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"tidings.dev/internal/cli/clitest"
)

// Case: the directory of backups is on a disk that is full. The hint names the flag that has named it.
func TestABackupToAFullDisk(t *testing.T) {
	data := clitest.Broker(t)
	beside := program(t).On(data)
	beside.Want(beside.Run("topic", "create", "doors"), 0)
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=16m"); err != nil {
		t.Skipf("may not mount: %v", err)
	}
	defer unix.Unmount(dir, 0)
	made, used := filepath.Join(dir, "made"), filepath.Join(dir, "used")
	if err := os.Mkdir(made, 0o700); err != nil {
		t.Fatal(err)
	}
	s := program(t)
	s.Want(s.Run("backup", data, "--to", used), 0)
	if os.WriteFile(filepath.Join(dir, "taken"), make([]byte, 32<<20), 0o600) == nil {
		t.Fatal("the disk has room")
	}
	beside.Want(beside.Run("emit", "home.door.opened", `{}`, "--topic", "doors"), 0)
	// The directory cannot be made, its first files cannot, and the next backup cannot.
	for _, to := range []string{filepath.Join(dir, "new"), made, used} {
		r := s.Want(s.Run("backup", data, "--to", to, "-o", "json"), 1, `"code":"disk_full"`, "no space left", "--to")
		if strings.Contains(r.Stderr, "--data") {
			t.Errorf("stderr is %q", r.Stderr)
		}
	}
}
