//go:build unix

package kafka

import "syscall"

// canPeek reports whether peekInput works on this platform.
const canPeek = true

// peekInput reports whether a read of the non-blocking socket fd would return bytes, the end of the stream or an error.
// It copies bytes of the socket to buf without consuming them.
func peekInput(fd uintptr, buf []byte) bool {
	_, _, err := syscall.Recvfrom(int(fd), buf, syscall.MSG_PEEK)
	return err != syscall.EAGAIN
}
