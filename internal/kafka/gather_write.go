package kafka

import (
	"net"
	"os"
	"syscall"
)

// gatherWriter writes byte slices to a TCP connection by writev(2), and reports how it gets on while the client reads.
// Package net has the same without the reports, and many shorter writes in its place cost a switch of goroutines and
// processes each. The zero value has no connection, and cannot be used. A gatherWriter is not safe for concurrent use.
type gatherWriter struct {
	raw   syscall.RawConn
	wrote func(bytes int)       // called after each system call that has written bytes
	step  func(fd uintptr) bool // made once, so that write allocates nothing
	rest  [][]byte              // for step: what is not yet written
	err   error                 // result of step
}

// init sets the connection to write to and the function that is told how many bytes were written. On a platform where that is
// impossible, the gatherWriter stays zero.
func (g *gatherWriter) init(nc *net.TCPConn, wrote func(bytes int)) {
	raw, err := nc.SyscallConn()
	if err != nil || !canGather {
		return
	}
	g.raw, g.wrote = raw, wrote
	g.step = func(fd uintptr) bool {
		var again bool
		again, g.err = g.writeSome(fd)
		return !again
	}
}

// usable reports whether write can be called.
func (g *gatherWriter) usable() bool { return g.raw != nil }

// write writes bufs and clears its elements. It blocks as a Write to the connection does, up to the write deadline.
func (g *gatherWriter) write(bufs [][]byte) error {
	g.rest = bufs
	err := g.raw.Write(g.step)
	if err == nil {
		err = g.err
	}
	clear(bufs)
	g.rest, g.err = nil, nil
	return err
}

// writeSome writes from rest until nothing is left or the send buffer of the socket fd is full. again is true in the latter
// case.
func (g *gatherWriter) writeSome(fd uintptr) (again bool, err error) {
	for len(g.rest) > 0 {
		n, err := gather(fd, g.rest[:min(len(g.rest), maxGathered)])
		switch {
		case err == syscall.EINTR:
			continue
		case err == syscall.EAGAIN:
			return true, nil
		case err != nil:
			return false, os.NewSyscallError("writev", err)
		}
		g.wrote(n)
		for len(g.rest) > 0 && len(g.rest[0]) <= n {
			n -= len(g.rest[0])
			g.rest = g.rest[1:]
		}
		if len(g.rest) > 0 {
			g.rest[0] = g.rest[0][n:]
		}
	}
	return false, nil
}
