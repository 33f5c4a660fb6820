package kafka

import (
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// responseBody is the content of a response. encode encodes it in the given version of the API. The responseWriter
// calls encode at most once, in the goroutine that writes, after it has encoded all earlier responses of the
// connection. encode may return its receiver to a pool.
type responseBody interface {
	encode(e *responseEncoder, version int16)
}

// response is one response of a connection. The fields body to headerTags do not change after it is made; the mu of the
// responseWriter protects the others.
type response struct {
	body        responseBody
	correlation int32
	version     int16
	flexible    bool // the body has compact lengths and tags
	headerTags  bool // the header ends in tags (response header version 1)

	inline bool // the goroutine that handles the request will call flushInline
	ready  bool // the body can be encoded
	// size of the encoded response, about; included in queuedBytes and in the budget while it is queued and ready
	estimatedBytes int
}

// responseWriter sends the responses of one connection in the order of their requests, in whatever order they become
// ready. At most one goroutine writes at a time. If no earlier response waits, the goroutine that handles a request
// writes its response itself, which saves a switch of goroutines for a client that sends one request at a time; else
// the goroutine of run writes.
//
// The field mu protects all fields below it except enc and those after it, which belong to the goroutine that has set
// writing.
// Invariants:
//
//   - queue is in the order of requests. Responses are written from its head, and removed when they are written.
//   - unless failed, queuedBytes is the sum of estimatedBytes over the ready responses in queue, and the budget includes
//     queuedBytes.
//   - while writing is true, no other goroutine removes responses from the queue.
//   - failed is never reset. While it is true, nothing is written and no call waits.
type responseWriter struct {
	net     net.Conn
	tcp     *net.TCPConn    // net if it is a TCP connection, else nil
	budget  *responseBudget // shared by all connections of a server
	onError func(error)     // called once, with mu held, when a write fails

	blockedSince atomic.Int64 // when the present write began or last went on, in nanoseconds since the Unix epoch; 0 without one
	heldBytes    atomic.Int64 // queuedBytes, for those who do not hold mu

	mu          sync.Mutex
	notFull     sync.Cond   // signalled when responses have left queue, or failed is set
	wake        sync.Cond   // signals run: the head of queue may be ready and no goroutine writes, or closed or failed is set
	queue       []*response // reserved and not yet written
	queuedBytes int
	writing     bool // a goroutine is encoding and writing responses
	closed      bool // no response will be reserved any more
	failed      bool // the connection has failed

	enc       responseEncoder
	bufs      net.Buffers
	gather    gatherWriter // unset (zero) if the connection is not TCP
	stepBytes int          // bytes written since blockedSince was set
}

// Bounds on one responseWriter. A new response is reserved only while the queue is below the first two, so that the
// last one reserved may exceed maxQueuedResponseBytes.
const (
	maxQueuedResponses     = 256
	maxQueuedResponseBytes = 8 << 20
	maxFlushBytes          = 1 << 20 // about the number of bytes encoded for one write
)

// init sets the connection to write to, the budget and the function that is called when a write fails. It must be called
// before any other method.
func (w *responseWriter) init(conn net.Conn, b *responseBudget, onError func(error)) {
	w.net, w.budget, w.onError = conn, b, onError
	if w.tcp, _ = conn.(*net.TCPConn); w.tcp != nil {
		w.gather.init(w.tcp, w.wrote)
	}
	w.notFull.L, w.wake.L = &w.mu, &w.mu
}

// reserve appends r to the queue of responses, before its body can be encoded; complete must follow. It blocks while
// the queue is full. If the connection has failed, reserve returns false, and r must not be completed.
func (w *responseWriter) reserve(r *response) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for !w.failed && (len(w.queue) >= maxQueuedResponses || w.queuedBytes >= maxQueuedResponseBytes) {
		w.notFull.Wait()
	}
	if w.failed {
		return false
	}
	w.queue = append(w.queue, r)
	return true
}

// complete marks r, which was reserved, as ready to be encoded. estimatedBytes is about the size of the encoded
// response. complete never writes to the network, because the engine calls it from the goroutine that commits.
func (w *responseWriter) complete(r *response, estimatedBytes int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.failed {
		return
	}
	w.budget.add(estimatedBytes)
	w.markReady(r, estimatedBytes)
	if w.queue[0] == r && !w.writing && !r.inline {
		w.wake.Signal()
	}
}

// flushInline writes r, which was reserved with inline set, in the calling goroutine if r is ready and at the head of
// the queue. Otherwise run writes r later. flushInline may block on the network.
func (w *responseWriter) flushInline(r *response) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r.inline = false
	if !w.failed && r.ready && len(w.queue) > 0 && w.queue[0] == r && !w.writing {
		w.flush()
	}
}

// send reserves and completes r, and writes r in the calling goroutine if it is at the head of the queue. The caller must
// have added estimatedBytes to the budget. send blocks while the queue is full, and may block on the network.
func (w *responseWriter) send(r *response, estimatedBytes int) {
	if !w.reserve(r) {
		w.budget.remove(estimatedBytes)
		return
	}
	w.mu.Lock()
	if w.failed {
		w.budget.remove(estimatedBytes)
		w.mu.Unlock()
		return
	}
	w.markReady(r, estimatedBytes)
	if w.queue[0] == r && !w.writing {
		w.flush()
	}
	w.mu.Unlock()
}

// markReady sets r.ready and adds estimatedBytes, which are in the budget, to queuedBytes. mu must be held.
func (w *responseWriter) markReady(r *response, estimatedBytes int) {
	r.ready, r.estimatedBytes = true, estimatedBytes
	w.queuedBytes += estimatedBytes
	w.heldBytes.Store(int64(w.queuedBytes))
}

// run writes the responses that are not written by the goroutines that handle requests. It returns when close was
// called and the queue is empty, or when the connection has failed.
func (w *responseWriter) run() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for !w.failed {
		switch {
		case !w.writing && len(w.queue) > 0 && w.queue[0].ready:
			w.flush()
		case !w.writing && len(w.queue) == 0 && w.closed:
			return
		default:
			w.wake.Wait()
		}
	}
}

// flush writes responses from the head of the queue until the head is not ready or a write fails. The caller must hold
// mu, and writing must be false; flush unlocks mu while it encodes and writes.
func (w *responseWriter) flush() {
	w.writing = true
	for !w.failed && len(w.queue) > 0 && w.queue[0].ready {
		var batch [32]*response
		n, bytes := 0, 0
		for n < len(batch) && n < len(w.queue) && w.queue[n].ready && (n == 0 || bytes < maxFlushBytes) {
			batch[n] = w.queue[n]
			bytes += batch[n].estimatedBytes
			n++
		}
		w.mu.Unlock()
		err := w.write(batch[:n])
		w.mu.Lock()
		w.budget.remove(bytes)
		w.queuedBytes -= bytes
		w.heldBytes.Store(int64(w.queuedBytes))
		if err != nil {
			w.setFailed()
			w.onError(err)
			break
		}
		left := copy(w.queue, w.queue[n:])
		clear(w.queue[left:])
		w.queue = w.queue[:left]
		w.notFull.Broadcast()
	}
	w.writing = false
	w.wake.Signal()
}

// write encodes responses and writes them to the connection, with as few system calls as possible: bytes in memory are
// gathered into one writev, and each run of bytes that is in a file is sent by a call of its own. The caller must have
// set writing, and must not hold mu.
func (w *responseWriter) write(responses []*response) error {
	e := &w.enc
	defer e.reset()
	for _, r := range responses {
		e.begin(r.correlation, r.flexible, r.headerTags)
		r.body.encode(e, r.version)
		e.end()
	}
	now := time.Now()
	w.net.SetWriteDeadline(now.Add(frameTimeout(e.size())))
	w.blockedSince.Store(now.UnixNano())
	w.stepBytes = 0
	defer w.blockedSince.Store(0)
	if len(e.parts) == 0 && len(e.buf) <= unreadStepBytes {
		_, err := w.net.Write(e.buf)
		return err
	}
	from := 0
	for _, p := range e.parts {
		if p.at > from {
			w.bufs = append(w.bufs, e.buf[from:p.at])
			from = p.at
		}
		if p.stored == nil {
			w.bufs = append(w.bufs, p.data)
			continue
		}
		if err := w.writeBufs(); err != nil {
			return err
		}
		if err := p.stored.SendTo(w.tcp); err != nil {
			return err
		}
	}
	if from < len(e.buf) {
		w.bufs = append(w.bufs, e.buf[from:])
	}
	return w.writeBufs()
}

// writeBufs writes the byte slices in bufs to the connection, and empties bufs. Each time that the connection has taken
// unreadStepBytes, blockedSince is set anew.
func (w *responseWriter) writeBufs() error {
	rest := w.bufs
	w.bufs = w.bufs[:0]
	if w.gather.usable() {
		return w.gather.write(rest)
	}
	for len(rest) > 0 {
		n, roomBytes := 0, unreadStepBytes
		for n < len(rest) && len(rest[n]) <= roomBytes {
			roomBytes -= len(rest[n])
			n++
		}
		step, after := rest[:n:n], []byte(nil)
		if n < len(rest) { // the step ends within a slice
			step, after = rest[:n+1:n+1], rest[n][roomBytes:]
			rest[n] = rest[n][:roomBytes]
		}
		written, err := step.WriteTo(w.net) // it consumes step and clears its elements
		if err != nil {
			return err
		}
		w.wrote(int(written))
		if rest = rest[n:]; len(rest) > 0 {
			rest[0] = after
		}
	}
	return nil
}

// wrote counts bytes that the connection has taken, and notes the time when they are unreadStepBytes.
func (w *responseWriter) wrote(bytes int) {
	if w.stepBytes += bytes; w.stepBytes >= unreadStepBytes {
		w.stepBytes = 0
		w.blockedSince.Store(time.Now().UnixNano())
	}
}

// close makes run return once all reserved responses are written. No response may be reserved afterwards.
func (w *responseWriter) close() {
	w.mu.Lock()
	w.closed = true
	w.wake.Signal()
	w.mu.Unlock()
}

// abandon marks the connection as failed: queued responses are not written, and every blocked or later call returns at
// once.
func (w *responseWriter) abandon() {
	w.mu.Lock()
	w.setFailed()
	w.mu.Unlock()
}

// setFailed sets failed and unblocks all waiting goroutines. mu must be held. The bytes of queued responses stay in
// queuedBytes and in the budget: flush subtracts the bytes of the responses that it is writing, and releaseUnwritten
// those of the others.
func (w *responseWriter) setFailed() {
	if w.failed {
		return
	}
	w.failed = true
	w.wake.Broadcast()
	w.notFull.Broadcast()
}

// empty reports whether all reserved responses are written.
func (w *responseWriter) empty() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.queue) == 0
}

// releaseUnwritten empties the queue and subtracts the bytes of its responses from the budget. It must be called last,
// when no goroutine writes or completes responses any more.
func (w *responseWriter) releaseUnwritten() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.budget.remove(w.queuedBytes)
	w.queuedBytes, w.queue = 0, nil
}
