package vfs

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/windows"
)

// syncDirectory does nothing, because Windows has no call that makes the entries of a directory durable. NTFS writes
// changes of names to its own log, in order, but does not report when they reach the disk. After a power cut, a file
// that was created or renamed shortly before may therefore be missing or have its old name. If recovery needs the file,
// it reports that as damage. The end of a process loses nothing. docs/guarantees.md names the systems on which power
// cuts are tested.
func syncDirectory(*os.File) error { return nil }

// classify adds syscall.ENOSPC to the errors with which Windows reports a full disk, since Windows does not use that
// number.
func classify(err error) error {
	if errors.Is(err, windows.ERROR_DISK_FULL) || errors.Is(err, windows.ERROR_HANDLE_DISK_FULL) {
		return fmt.Errorf("%w (%w)", syscall.ENOSPC, err)
	}
	return err
}
