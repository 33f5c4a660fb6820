package vfs

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// lockWithoutWaiting takes a lock on an open file by LockFileEx. The lock is exclusive or shared. If another lock
// excludes it, lockWithoutWaiting returns errLocked. The lock ends when the file is closed. It covers one byte far
// behind the end of the file, because other processes could not read the process id in a range that is locked.
func lockWithoutWaiting(f *os.File, exclusive bool) error {
	flags := uint32(windows.LOCKFILE_FAIL_IMMEDIATELY)
	if exclusive {
		flags |= windows.LOCKFILE_EXCLUSIVE_LOCK
	}
	at := windows.Overlapped{OffsetHigh: 1 << 30}
	err := windows.LockFileEx(windows.Handle(f.Fd()), flags, 0, 1, 0, &at)
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) || errors.Is(err, windows.ERROR_IO_PENDING) {
		return errLocked
	}
	return err
}
