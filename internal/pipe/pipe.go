// Package pipe is a network connection in memory: two ends, each a net.Conn, with a buffer for each direction. Unlike
// net.Pipe a write does not wait for its reader, so that one request costs one wake-up and not three.
package pipe

import (
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// DefaultBufferBytes is how much may be written in one direction before the writer waits.
const DefaultBufferBytes = 256 << 10

const firstBufferBytes = 4 << 10 // buffers begin small: most connections carry little

// New returns the two ends of a connection. bufferBytes bounds what is under way in each direction; 0 means
// DefaultBufferBytes. Deadlines work as on any net.Conn: they end the calls that wait, and the later ones, with
// os.ErrDeadlineExceeded. After Close the peer reads what was written before and then io.EOF; its writes fail with
// io.ErrClosedPipe, as do all calls on the closed end itself.
func New(bufferBytes int, local, remote net.Addr) (net.Conn, net.Conn) {
	if bufferBytes <= 0 {
		bufferBytes = DefaultBufferBytes
	}
	there, back := newStream(bufferBytes), newStream(bufferBytes)
	return &end{in: back, out: there, local: local, remote: remote}, &end{in: there, out: back, local: remote, remote: local}
}

// Addr is the address of an end.
type Addr string

// Network returns "pipe".
func (Addr) Network() string { return "pipe" }

// String returns the address as it is.
func (a Addr) String() string { return string(a) }

type end struct {
	in, out       *stream
	local, remote net.Addr
}

func (e *end) Read(p []byte) (int, error)  { return e.in.read(p) }
func (e *end) Write(p []byte) (int, error) { return e.out.write(p) }

// Buffered returns how many bytes can be read without waiting; 1 if it is the end that can be read.
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

// stream is one direction: a ring of bytes.
type stream struct {
	mu       sync.Mutex
	readable sync.Cond // there are bytes, or the stream has ended, or readBy has passed
	writable sync.Cond // there is room, or nobody will read, or writeBy has passed
	ring     []byte
	first    int // where the next byte is read
	n        int // bytes in the ring
	maxBytes int

	writerClosed, readerClosed bool
	readBy, writeBy            deadline
}

func newStream(maxBytes int) *stream {
	s := &stream{maxBytes: maxBytes}
	s.readable.L, s.writable.L = &s.mu, &s.mu
	return s
}

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
			n := s.takeOut(p)
			s.writable.Signal()
			return n, nil
		case s.writerClosed:
			return 0, io.EOF
		}
		s.readable.Wait()
	}
}

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
		written += s.putIn(p[written:])
		s.readable.Signal()
		if written == len(p) {
			return written, nil
		}
	}
}

func (s *stream) buffered() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.n == 0 && (s.writerClosed || s.readerClosed) {
		return 1
	}
	return s.n
}

// takeOut moves bytes out of the ring.
func (s *stream) takeOut(p []byte) int {
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

// putIn moves bytes into the ring, which grows up to maxBytes.
func (s *stream) putIn(p []byte) int {
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

// deadline is a time at which calls give up; guarded by its stream's mu.
type deadline struct {
	passed bool
	timer  *time.Timer
	armed  int // counts settings: a timer of an older one has no say
}

func (d *deadline) stop() {
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	d.armed++
}

// set replaces the deadline; the zero time takes it away.
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
	armed := d.armed
	d.timer = time.AfterFunc(wait, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if d.armed == armed {
			d.pass(s)
		}
	})
}

func (d *deadline) pass(s *stream) {
	d.passed = true
	s.readable.Broadcast()
	s.writable.Broadcast()
}
