package kafka

import (
	"net"
	"syscall"
)

// inputProbe asks the kernel whether bytes can be read from a TCP connection. It neither blocks nor consumes the bytes.
// The zero value has no connection, and reports that bytes can be read. An inputProbe is not safe for concurrent use.
type inputProbe struct {
	raw     syscall.RawConn
	peek    func(fd uintptr) bool // made once, so that hasInput allocates nothing
	buf     [1]byte               // for peekInput
	pending bool                  // result of the last call of peek
}

// init sets the connection that the probe asks about. On a platform where that is impossible, the probe stays zero.
func (p *inputProbe) init(nc *net.TCPConn) {
	raw, err := nc.SyscallConn()
	if err != nil || !canPeek {
		return
	}
	p.raw = raw
	p.peek = func(fd uintptr) bool {
		p.pending = peekInput(fd, p.buf[:])
		return true
	}
}

// hasInput reports whether a read of the connection would return at once. It returns true if that cannot be determined.
func (p *inputProbe) hasInput() bool {
	if p.raw == nil {
		return true
	}
	return p.raw.Read(p.peek) != nil || p.pending
}
