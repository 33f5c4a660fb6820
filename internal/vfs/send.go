package vfs

import "net"

// Sender is what a File of a Disk also is where the kernel can send files by itself: on Linux.
type Sender interface {
	// Cached says whether all of a range is in the page cache. False also where the kernel can't tell (before Linux 6.5).
	Cached(sizeBytes int, off int64) bool
	// SendTo writes a range of the file to a connection by sendfile(2): the bytes don't pass through this process, and
	// nobody has looked at them. It blocks as a Write does, and ends with the connection's write deadline. Fewer bytes
	// than asked for come with an error; io.ErrUnexpectedEOF says that the file has no more.
	SendTo(to *net.TCPConn, sizeBytes int, off int64) (sentBytes int, err error)
}
