package vfs

import "net"

// Sender is implemented by the files of a Disk on Linux, where the kernel can send the content of a file to a
// connection.
type Sender interface {
	// Cached reports whether the whole range [off, off+sizeBytes) is in the page cache. It returns false if the kernel
	// does not support the question (before Linux 6.5).
	Cached(sizeBytes int, off int64) bool
	// SendTo sends the range [off, off+sizeBytes) of the file to a connection by sendfile(2). The bytes do not pass
	// through this process, so that the process cannot check them. SendTo blocks as a Write to the connection does, and
	// fails at the connection's write deadline. If it sends fewer bytes than sizeBytes, it returns an error:
	// io.ErrUnexpectedEOF if the file ends before.
	SendTo(to *net.TCPConn, sizeBytes int, off int64) (sentBytes int, err error)
}
