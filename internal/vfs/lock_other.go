//go:build !unix && !windows

package vfs

import (
	"errors"
	"os"
)

// lockWithoutWaiting returns errors.ErrUnsupported, because this system has no file locks that end with the process.
// Without a lock two brokers could open one directory and destroy it.
func lockWithoutWaiting(*os.File, bool) error { return errors.ErrUnsupported }
