package kafka

import "golang.org/x/sys/unix"

const (
	canGather   = true // gather works on this platform
	maxGathered = 1024 // slices that the kernel takes at a time
)

// gather writes to the non-blocking socket fd what it takes of bufs, of which there are at most maxGathered, and returns how
// many bytes these are.
func gather(fd uintptr, bufs [][]byte) (int, error) { return unix.Writev(int(fd), bufs) }
