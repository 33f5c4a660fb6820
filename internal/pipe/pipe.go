// Package pipe provides network connections in memory. A connection has two ends, each a [net.Conn], and a buffer for
// each direction. Unlike with [net.Pipe], a write does not wait for the reader, so that a request and its response need
// fewer switches between goroutines.
package pipe

import (
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// DefaultBufferBytes is the default size of the buffer for one direction, in bytes.
const DefaultBufferBytes = 256 << 10

const firstBufferBytes = 4 << 10 // size in bytes with which a buffer begins, since most connections carry little

// New returns the two ends of a connection. local is the address of the first end, remote that of the second.
// bufferBytes is the size of the buffer for each direction: a write blocks while the buffer is full. If bufferBytes is
// not positive, the size is [DefaultBufferBytes].
//
// The ends are safe for concurrent use. Once a deadline has passed, blocked and later calls return
// [os.ErrDeadlineExceeded]. After Close, all calls on that end return [io.ErrClosedPipe]. The other end can read the
// bytes that were written before the Close, and then gets [io.EOF]; its writes return io.ErrClosedPipe.
func New(bufferBytes int, local, remote net.Addr) (net.Conn, net.Conn) {
	if bufferBytes <= 0 {
		bufferBytes = DefaultBufferBytes
	}
	there, back := newStream(bufferBytes), newStream(bufferBytes)
	return &end{in: back, out: there, local: local, remote: remote}, &end{in: there, out: back, local: remote, remote: local}
}

// Addr is the address of an end of a connection. It can be any text.
type Addr string

// Network returns "pipe".
func (Addr) Network() string { return "pipe" }

// String returns the text of the address.
func (a Addr) String() string { return string(a) }

// end is one end of a connection. Its state is in the two streams, so an end may be copied.
type end struct {
	in, out       *stream
	local, remote net.Addr
}

func (e *end) Read(p []byte) (int, error)  { return e.in.read(p) }
func (e *end) Write(p []byte) (int, error) { return e.out.write(p) }

// Buffered returns the number of bytes that can be read without blocking. If a Read would return io.EOF or an error
// because an end is closed, Buffered returns 1.
func (e *end) Buffered() int { return e.in.buffered() }

func (e *end) Close() error {
	e.in.close(true)
	e.out.close(false)
	return nil
}

func (e *end) LocalAddr() net.Addr  { return e.local }
func (e *end) RemoteAddr() net.Addr { return e.remote }

func (e *end) SetDeadline(t time.Time) error {
	e.in.readBy.set(e.in, t)
	e.out.writeBy.set(e.out, t)
	return nil
}

func (e *end) SetReadDeadline(t time.Time) error  { e.in.readBy.set(e.in, t); return nil }
func (e *end) SetWriteDeadline(t time.Time) error { e.out.writeBy.set(e.out, t); return nil }

// stream is one direction of a connection: a ring buffer that grows up to maxBytes.
//
// mu protects all fields except maxBytes, which does not change. The n bytes that are written and not yet read begin at
// ring[first] and wrap around at the end of ring. Invariants: 0 <= n <= len(ring) <= maxBytes, and n is 0 once
// readerClosed is set.
type stream struct {
	mu       sync.Mutex
	readable sync.Cond // signalled when there are bytes to read, an end is closed, or readBy has passed
	writable sync.Cond // signalled when there is room to write, an end is closed, or writeBy has passed
	ring     []byte
	first    int
	n        int
	maxBytes int

	writerClosed, readerClosed bool
	readBy, writeBy            deadline
}

func newStream(maxBytes int) *stream {
	s := &stream{maxBytes: maxBytes}
	s.readable.L, s.writable.L = &s.mu, &s.mu
	return s
}

// read implements Read of the end that reads. It blocks until there are bytes, the stream is closed, or readBy has
// passed.
func (s *stream) read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case s.readerClosed:
			return 0, io.ErrClosedPipe
		case s.readBy.passed:
			return 0, os.ErrDeadlineExceeded
		case s.n > 0 || len(p) == 0:
			n := s.readRing(p)
			s.writable.Signal()
			return n, nil
		case s.writerClosed:
			return 0, io.EOF
		}
		s.readable.Wait()
	}
}

// write implements Write of the end that writes. It blocks until all of p is in the ring, the stream is closed, or
// writeBy has passed. With an error, it returns the number of bytes of p that are in the ring.
func (s *stream) write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for written := 0; ; {
		switch {
		case s.writerClosed, s.readerClosed:
			return written, io.ErrClosedPipe
		case s.writeBy.passed:
			return written, os.ErrDeadlineExceeded
		case written == len(p):
			return written, nil
		}
		if s.n == s.maxBytes {
			s.writable.Wait()
			continue
		}
		written += s.writeRing(p[written:])
		s.readable.Signal()
		if written == len(p) {
			return written, nil
		}
	}
}

// buffered implements Buffered of the end that reads.
func (s *stream) buffered() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.n == 0 && (s.writerClosed || s.readerClosed) {
		return 1
	}
	return s.n
}

// readRing moves up to len(p) bytes from the ring to p, and returns their number. mu must be held.
func (s *stream) readRing(p []byte) int {
	n := min(len(p), s.n)
	k := copy(p[:n], s.ring[s.first:])
	copy(p[k:n], s.ring)
	s.n -= n
	if s.n == 0 {
		s.first = 0
	} else {
		s.first = (s.first + n) % len(s.ring)
	}
	return n
}

// writeRing copies bytes of p to the ring, as many as have room in maxBytes, and returns their number. It enlarges the
// ring as needed. mu must be held.
func (s *stream) writeRing(p []byte) int {
	if need := min(s.n+len(p), s.maxBytes); need > len(s.ring) {
		size := max(firstBufferBytes, 2*len(s.ring))
		for size < need {
			size *= 2
		}
		larger := make([]byte, min(size, s.maxBytes))
		k := copy(larger[:s.n], s.ring[s.first:])
		copy(larger[k:s.n], s.ring)
		s.ring, s.first = larger, 0
	}
	n := min(len(p), len(s.ring)-s.n)
	at := (s.first + s.n) % len(s.ring)
	k := copy(s.ring[at:], p[:n])
	copy(s.ring, p[k:n])
	s.n += n
	return n
}

// close closes the stream for its reader if reader is true, else for its writer, and unblocks both. Bytes that were
// written before can still be read, unless the reader has closed.
func (s *stream) close(reader bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if reader {
		s.readerClosed = true
		s.ring, s.n = nil, 0
	} else {
		s.writerClosed = true
	}
	s.readBy.stop()
	s.writeBy.stop()
	s.readable.Broadcast()
	s.writable.Broadcast()
}

// deadline is the time after which reads, or writes, of a stream fail. The stream's mu protects it. Each call of set
// and stop increments version, and a timer that fires for an older version has no effect: Timer.Stop cannot stop a
// timer function that has begun and waits for mu.
type deadline struct {
	passed  bool        // calls fail with os.ErrDeadlineExceeded
	timer   *time.Timer // nil if no deadline is set or it has passed at once
	version int
}

// stop cancels the timer. The stream's mu must be held.
func (d *deadline) stop() {
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	d.version++
}

// set replaces the deadline by t; the zero time means no deadline. It acquires mu of s, the stream that d belongs to.
func (d *deadline) set(s *stream, t time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d.stop()
	d.passed = false
	if t.IsZero() {
		return
	}
	wait := time.Until(t)
	if wait <= 0 {
		d.pass(s)
		return
	}
	version := d.version
	d.timer = time.AfterFunc(wait, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if d.version == version {
			d.pass(s)
		}
	})
}

// pass marks the deadline as passed and wakes all blocked reads and writes of s, so that those with this deadline
// return os.ErrDeadlineExceeded. The stream's mu must be held.
func (d *deadline) pass(s *stream) {
	d.passed = true
	s.readable.Broadcast()
	s.writable.Broadcast()
}
