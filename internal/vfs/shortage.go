package vfs

import (
	"errors"
	"syscall"
)

// IsFull reports whether err means that the disk, or what its user may use of it, is full.
func IsFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// IsNoDescriptors reports whether err means that the process or the system has no free file descriptor. Nothing is in
// doubt after such an error, not even if it is that of a sync: a file or directory could not be opened, and nothing was
// done to it (docs/kafka-traps.md, trap 26).
func IsNoDescriptors(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}
