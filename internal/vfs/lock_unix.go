//go:build unix

package vfs

import (
	"errors"
	"os"
	"syscall"
)

// lockWithoutWaiting takes a lock on an open file by flock(2). The lock is exclusive or shared. If another lock
// excludes it, lockWithoutWaiting returns errLocked. The lock ends when the file is closed.
func lockWithoutWaiting(f *os.File, exclusive bool) error {
	how := syscall.LOCK_SH
	if exclusive {
		how = syscall.LOCK_EX
	}
	for {
		err := syscall.Flock(int(f.Fd()), how|syscall.LOCK_NB)
		switch {
		case err == syscall.EINTR:
			continue
		case errors.Is(err, syscall.EWOULDBLOCK):
			return errLocked
		}
		return err
	}
}
