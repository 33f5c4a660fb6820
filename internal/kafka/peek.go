package kafka

import (
	"net"
	"syscall"
)

// peeker asks the kernel whether a connection has something to read, without waiting or reading it. The zero value knows of
// no connection and assumes that it has.
type peeker struct {
	raw   syscall.RawConn
	look  func(fd uintptr) bool // made once, so that asking allocates nothing
	buf   [1]byte
	waits bool // what look has found
}

func (p *peeker) init(nc *net.TCPConn) {
	raw, err := nc.SyscallConn()
	if err != nil {
		return
	}
	p.raw = raw
	p.look = func(fd uintptr) bool {
		_, _, err := syscall.Recvfrom(int(fd), p.buf[:], syscall.MSG_PEEK)
		p.waits = err != syscall.EAGAIN // an end and an error are something to read, too
		return true
	}
}

func (p *peeker) hasInput() bool {
	if p.raw == nil {
		return true
	}
	return p.raw.Read(p.look) != nil || p.waits
}
