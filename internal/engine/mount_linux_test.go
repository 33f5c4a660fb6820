package engine

import (
	"fmt"
	"syscall"
	"testing"
)

// mountTmpfs mounts an empty tmpfs at dir until the test ends.
func mountTmpfs(t *testing.T, dir string, sizeBytes int64) error {
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", sizeBytes)); err != nil {
		return err
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	return nil
}
