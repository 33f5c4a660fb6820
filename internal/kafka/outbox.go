package kafka

import (
	"net"
	"sync"
	"time"
)

// body is what an answer says. encode is called once, when the answer's turn has come.
type body interface {
	encode(e *encoder, version int16)
}

// answer is one response in its place in the line.
type answer struct {
	body        body
	correlation int32
	version     int16
	flexible    bool // the body
	headerTags  bool
	held        bool // who has reserved it will push it; under the outbox's lock
	ready       bool // likewise
	bytes       int  // counted by the meter
}

// outbox sends a connection's answers in the order of their requests, whatever the order they become ready in. One
// goroutine writes at a time: who handles the request, when nothing else is waiting, so that a synchronous request needs no
// hand over; else the writer.
type outbox struct {
	net   net.Conn
	tcp   *net.TCPConn // the same, if it is one
	meter *meter
	fail  func(error) // called once when writing fails

	mu      sync.Mutex
	room    sync.Cond // the line got shorter, or the connection broke
	work    sync.Cond // the head may be ready and nobody writes, or the end has come
	line    []*answer // in order; line[0] is next
	bytes   int       // of ready answers in the line
	writing bool
	closed  bool // nothing more is added
	broken  bool // nothing more is written

	enc  encoder // owned by whoever writes
	bufs net.Buffers
}

// Bounds on what waits in one outbox. A single answer may be larger than maxLineBytes.
const (
	maxLine       = 256
	maxLineBytes  = 8 << 20
	maxFlushBytes = 1 << 20 // of answers gathered into one write
)

func (o *outbox) init(conn net.Conn, m *meter, fail func(error)) {
	o.net, o.meter, o.fail = conn, m, fail
	o.tcp, _ = conn.(*net.TCPConn)
	o.room.L, o.work.L = &o.mu, &o.mu
}

// reserve puts a at the end of the line, blocking while the line is full. It reports false when the connection is
// broken; the answer is then never encoded.
func (o *outbox) reserve(a *answer) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	for !o.broken && (len(o.line) >= maxLine || o.bytes >= maxLineBytes) {
		o.room.Wait()
	}
	if o.broken {
		return false
	}
	o.line = append(o.line, a)
	return true
}

// complete says that a, which was reserved, can be encoded; sizeBytes is about how large it is. It never blocks.
func (o *outbox) complete(a *answer, sizeBytes int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.broken {
		return
	}
	o.markReady(a, sizeBytes)
	if o.line[0] == a && !o.writing && !a.held {
		o.work.Signal()
	}
}

// push writes a, which was reserved as held, in the caller's goroutine if it is complete and nothing stands before it. If
// it is not complete yet, the writer will write it. It may block.
func (o *outbox) push(a *answer) {
	o.mu.Lock()
	defer o.mu.Unlock()
	a.held = false
	if !o.broken && a.ready && len(o.line) > 0 && o.line[0] == a && !o.writing {
		o.flush()
	}
}

// send reserves and completes a, and writes it in the caller's goroutine if nothing stands before it. It may block.
func (o *outbox) send(a *answer, sizeBytes int) {
	if !o.reserve(a) {
		return
	}
	o.mu.Lock()
	if o.broken {
		o.mu.Unlock()
		return
	}
	o.markReady(a, sizeBytes)
	if o.line[0] == a && !o.writing {
		o.flush()
	}
	o.mu.Unlock()
}

func (o *outbox) markReady(a *answer, sizeBytes int) {
	a.ready, a.bytes = true, sizeBytes
	o.bytes += sizeBytes
	o.meter.add(sizeBytes)
}

// run is the writer's loop: it ends when the outbox is closed and empty, or broken.
func (o *outbox) run() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for !o.broken {
		switch {
		case !o.writing && len(o.line) > 0 && o.line[0].ready:
			o.flush()
		case !o.writing && len(o.line) == 0 && o.closed:
			return
		default:
			o.work.Wait()
		}
	}
}

// flush writes ready answers from the head of the line until the head is not ready. The lock is held on entry and
// return, but not while writing.
func (o *outbox) flush() {
	o.writing = true
	for !o.broken && len(o.line) > 0 && o.line[0].ready {
		var batch [32]*answer
		n, bytes := 0, 0
		for n < len(batch) && n < len(o.line) && o.line[n].ready && (n == 0 || bytes < maxFlushBytes) {
			batch[n] = o.line[n]
			bytes += batch[n].bytes
			n++
		}
		o.mu.Unlock()
		err := o.write(batch[:n])
		o.mu.Lock()
		o.meter.take(bytes)
		o.bytes -= bytes
		if err != nil {
			o.breakOff()
			o.fail(err)
			break
		}
		left := copy(o.line, o.line[n:])
		clear(o.line[left:])
		o.line = o.line[:left]
		o.room.Broadcast()
	}
	o.writing = false
	o.work.Signal()
}

// write encodes answers and writes them, in one go if all of them is in memory.
func (o *outbox) write(answers []*answer) error {
	e := &o.enc
	defer e.reset()
	for _, a := range answers {
		e.begin(a.correlation, a.flexible, a.headerTags)
		a.body.encode(e, a.version)
		e.end()
	}
	o.net.SetWriteDeadline(time.Now().Add(frameTime(e.size())))
	if len(e.parts) == 0 {
		_, err := o.net.Write(e.buf)
		return err
	}
	from := 0
	for _, p := range e.parts {
		if p.at > from {
			o.bufs = append(o.bufs, e.buf[from:p.at])
			from = p.at
		}
		if p.stored == nil {
			o.bufs = append(o.bufs, p.data)
			continue
		}
		if err := o.writeBufs(); err != nil {
			return err
		}
		if err := p.stored.SendTo(o.tcp); err != nil {
			return err
		}
	}
	if from < len(e.buf) {
		o.bufs = append(o.bufs, e.buf[from:])
	}
	return o.writeBufs()
}

// writeBufs writes what was gathered.
func (o *outbox) writeBufs() error {
	rest := o.bufs // WriteTo consumes it and drops its references
	o.bufs = o.bufs[:0]
	_, err := rest.WriteTo(o.net)
	return err
}

// close says that nothing more will be reserved; what is in the line is still sent.
func (o *outbox) close() {
	o.mu.Lock()
	o.closed = true
	o.work.Signal()
	o.mu.Unlock()
}

// abandon drops what has not been written.
func (o *outbox) abandon() {
	o.mu.Lock()
	o.breakOff()
	o.mu.Unlock()
}

// breakOff drops the line and wakes everybody; the lock is held. Bytes of a batch that is being written are given
// back by its writer.
func (o *outbox) breakOff() {
	if o.broken {
		return
	}
	o.broken = true
	o.work.Broadcast()
	o.room.Broadcast()
}

// empty reports whether nothing waits to be sent.
func (o *outbox) empty() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.line) == 0
}

// settle gives the bytes of answers that were never written back to the meter, once nobody writes any more.
func (o *outbox) settle() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.meter.take(o.bytes)
	o.bytes, o.line = 0, nil
}
