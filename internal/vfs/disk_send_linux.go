package vfs

import (
	"io"
	"net"

	"golang.org/x/sys/unix"
)

// Cached implements Sender.
func (f *diskFile) Cached(sizeBytes int, off int64) bool {
	return control(f.f, func(fd int) error { return allCached(fd, sizeBytes, off) }) == nil
}

// SendTo implements Sender.
func (f *diskFile) SendTo(to *net.TCPConn, sizeBytes int, off int64) (int, error) {
	sent := 0
	err := control(f.f, func(from int) (err error) {
		sent, err = sendFile(to, from, sizeBytes, off)
		return err
	})
	if err != nil && err != io.ErrUnexpectedEOF {
		err = pathError("send", f.name, err)
	}
	return sent, err
}

// sendFile does what SendTo does, from the descriptor from. It waits while the connection's send buffer is full.
func sendFile(to *net.TCPConn, from, sizeBytes int, off int64) (sent int, err error) {
	conn, err := to.SyscallConn()
	if err != nil {
		return 0, err
	}
	var failed error
	err = conn.Write(func(fd uintptr) bool {
		for sent < sizeBytes {
			at := off + int64(sent)
			n, err := unix.Sendfile(int(fd), from, &at, sizeBytes-sent)
			switch {
			case err == unix.EINTR:
				continue
			case err == unix.EAGAIN:
				return false // conn.Write calls the function again when the send buffer has space
			case err != nil:
				failed = err
				return true
			case n == 0:
				failed = io.ErrUnexpectedEOF
				return true
			}
			sent += n
		}
		return true
	})
	if err == nil {
		err = failed
	}
	return sent, err
}
