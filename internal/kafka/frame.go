package kafka

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"tidings.dev/internal/batch"
)

// A request frame, big-endian. The size counts the bytes after it.
//
//	0      4         6         8             12
//	+------+---------+---------+-------------+-------------------------+-------------------+------
//	| size | api key | api     | correlation | client id: int16 length | tags, in flexible | body
//	| int32| int16   | version | int32       | and bytes, or -1        | versions only     |
//	+------+---------+---------+-------------+-------------------------+-------------------+------
const (
	prefixBytes    = 8  // size, api key and version: read before memory is allocated for the frame
	minFrameBytes  = 10 // the smallest value of the size field: a header without client id
	sizeFieldBytes = 4  // length of the size field
)

// ErrUnsupported matches the error for a request whose API or version is not served. It ends the connection, as in
// Apache Kafka, because the client would not understand a response.
var ErrUnsupported = errors.New("kafka: unsupported api or version")

// frame is the bytes of one request. The frame and its buffer are pooled. A frame has one owner at a time, who must
// call recycle or takeBuffer once. The fields body and clientID alias buf and must not be used after that call.
type frame struct {
	buf           *batch.Buffer // the frame without its size field
	api           *servedAPI
	version       int16
	correlation   int32
	clientID      []byte // nil if the client id is null
	body          []byte // the request after the header
	size          int    // value of the size field; taken from the connection's budget, to which the owner returns it
	budgetedBytes int    // taken from the server's budget; the owner returns them
}

var framePool = sync.Pool{New: func() any { return new(frame) }}

// newFrame returns a frame of size bytes from the pool, without a buffer.
func newFrame(size int) *frame {
	f := framePool.Get().(*frame)
	f.size = size
	return f
}

// mostly reports whether records, which alias the frame, fill enough of its buffer that the log should keep the buffer
// instead of copying records. No budget counts the rest of a kept buffer, so that rest must be small.
func (f *frame) mostly(records []byte) bool { return f.buf.FilledBy(len(records)) }

// takeBuffer returns the frame's buffer, which the caller now owns, and returns the frame to its pool.
func (f *frame) takeBuffer() *batch.Buffer {
	buf := f.buf
	*f = frame{}
	framePool.Put(f)
	return buf
}

// recycle returns the frame and its buffer, if it has one, to their pools.
func (f *frame) recycle() {
	if buf := f.takeBuffer(); buf != nil {
		buf.Release()
	}
}

// frameLimits are the largest frames that are accepted, in bytes without the size field: produceBytes for Produce
// requests, requestBytes for requests of other APIs.
type frameLimits struct {
	produceBytes, requestBytes int
}

// maxUnauthenticatedBytes is the largest size of a request that a client may send before it is authenticated:
// ApiVersions and the SASL requests.
const maxUnauthenticatedBytes = 64 << 10

// of returns the limit for requests of the API with this key, in bytes.
func (l frameLimits) of(key Key) int {
	switch key {
	case keyProduce:
		return l.produceBytes
	case keyApiVersions, keySaslHandshake, keySaslAuthenticate:
		return maxUnauthenticatedBytes
	default:
		return l.requestBytes
	}
}

// parseSize decodes the size of a frame from its first sizeFieldBytes bytes, and checks that a request of any API may
// have it. Errors match ErrMalformed or ErrRequestTooLarge.
func (l frameLimits) parseSize(b []byte) (sizeBytes int, err error) {
	size, most := int64(int32(binary.BigEndian.Uint32(b))), max(l.produceBytes, l.requestBytes, maxUnauthenticatedBytes)
	switch {
	case size < minFrameBytes:
		return 0, fmt.Errorf("%w: a frame of %d bytes", ErrMalformed, size)
	case size > int64(most):
		return 0, fmt.Errorf("%w: a frame of %d bytes, at most %d are taken", ErrRequestTooLarge, size, most)
	}
	return int(size), nil
}

// parsePrefix decodes the size, API key and version from the first prefixBytes bytes of a frame, and checks them. An
// unknown version of ApiVersions is accepted, because it is answered (docs/kafka-traps.md, trap 1). Errors match
// ErrMalformed, ErrUnsupported or ErrRequestTooLarge.
func parsePrefix(b []byte, l frameLimits) (sizeBytes int, api *servedAPI, version int16, err error) {
	size, err := l.parseSize(b)
	if err != nil {
		return 0, nil, 0, err
	}
	key := Key(binary.BigEndian.Uint16(b[4:]))
	version = int16(binary.BigEndian.Uint16(b[6:]))
	api = lookupAPI(key)
	switch {
	case api == nil:
		return 0, nil, 0, fmt.Errorf("%w: key %d version %d", ErrUnsupported, key, version)
	case (version < api.min || version > api.max) && key != keyApiVersions:
		return 0, nil, 0, fmt.Errorf("%w: %s version %d", ErrUnsupported, api.name, version)
	case size > l.of(key):
		return 0, nil, 0, fmt.Errorf("%w: %s of %d bytes, at most %d are taken", ErrRequestTooLarge, api.name, size, l.of(key))
	}
	return size, api, version, nil
}

// parseHeader decodes the header after the version, and sets correlation, clientID and body. Errors match ErrMalformed.
func (f *frame) parseHeader() error {
	d := requestDecoder{rest: f.buf.Bytes[4:]}
	f.correlation = d.int32()
	f.clientID = d.nullableStr() // in flexible versions, too, the client id has an int16 length
	if d.flexible = f.version >= f.api.flexible; d.flexible {
		d.skipTags()
	}
	if !d.ok() {
		return fmt.Errorf("%w: header of %s version %d", ErrMalformed, f.api.name, f.version)
	}
	f.body = d.rest
	return nil
}

// frameTimeout returns how long reading or writing sizeBytes may take: 30 s, and a second for each 256 KiB. A peer that
// is slower is disconnected, so that it does not hold memory from the budgets.
func frameTimeout(sizeBytes int) time.Duration {
	return 30*time.Second + time.Duration(sizeBytes>>18)*time.Second
}

// readFrame reads the next frame, which the caller then owns. It blocks until a frame has arrived and the byte budgets
// have room for it. It returns io.EOF if the client has disconnected between two frames, io.ErrUnexpectedEOF if within
// a frame, errDraining if the connection is draining, and an error of parsePrefix or parseHeader for a frame that is
// refused.
func (c *conn) readFrame() (*frame, error) {
	var prefix [prefixBytes]byte
	if err := c.readFirst(prefix[:1]); err != nil {
		return nil, err
	}
	if err := c.readWithin(frameTimeout(0), prefix[1:sizeFieldBytes]); err != nil {
		return nil, midFrame(err)
	}
	// An impossible size ends the connection now: its sender may never send the next bytes.
	if _, err := c.server.limits.parseSize(prefix[:]); err != nil {
		return nil, err
	}
	if err := c.readWithin(frameTimeout(0), prefix[sizeFieldBytes:]); err != nil {
		return nil, midFrame(err)
	}
	size, api, version, err := parsePrefix(prefix[:], c.server.limits)
	if err != nil {
		return nil, err
	}
	alone := c.frameBytes.inUse() == 0
	if err := c.frameBytes.acquire(c.ctx, size); err != nil {
		return nil, err
	}
	f := newFrame(size)
	f.api, f.version = api, version
	if size-(prefixBytes-sizeFieldBytes) <= readBufferBytes {
		err = c.readSmall(f, prefix[sizeFieldBytes:], alone)
	} else {
		err = c.readGrowing(f, prefix[sizeFieldBytes:])
	}
	if err == nil {
		err = f.parseHeader()
	}
	if err != nil {
		c.releaseFrame(f)
		return nil, err
	}
	return f, nil
}

// readSmall reads the rest of a frame that fits into the read buffer of the connection. begin is the beginning of the
// frame, which was read already. The frame takes no memory before it has arrived. If alone is true, because the
// connection has no other frame, it takes nothing from the server's budget, either: heartbeats and commits then never
// wait for other connections, whatever these do.
func (c *conn) readSmall(f *frame, begin []byte, alone bool) error {
	rest := f.size - len(begin)
	if c.in.Buffered() < rest {
		if err := c.setReadTimeout(frameTimeout(f.size)); err != nil {
			return err
		}
		if _, err := c.in.Peek(rest); err != nil {
			return midFrame(err)
		}
	}
	if !alone {
		if err := c.server.requestBytes.take(c.ctx, f.size); err != nil {
			return err
		}
		f.budgetedBytes = f.size
	}
	f.buf = batch.NewBuffer(f.size)
	copy(f.buf.Bytes, begin)
	_, err := io.ReadFull(c.in, f.buf.Bytes[len(begin):]) // from the read buffer
	return err
}

// readGrowing reads the rest of a frame into a buffer that grows as bytes arrive. begin is the beginning of the frame,
// which was read already.
func (c *conn) readGrowing(f *frame, begin []byte) error {
	if c.in.Buffered() == 0 {
		if err := c.setReadTimeout(frameTimeout(0)); err != nil {
			return err
		}
		if _, err := c.in.Peek(1); err != nil {
			return midFrame(err)
		}
	}
	budget := c.server.requestBytes
	arriving := budget.begin(f.size, c.stop)
	defer func() { f.budgetedBytes = budget.end(arriving) }()
	deadline := time.Now().Add(frameTimeout(f.size))
	filled := begin
	for len(filled) < f.size {
		taken, waited, err := budget.grow(c.ctx, arriving)
		if err != nil {
			return err
		}
		buf := batch.NewBuffer(taken)
		at := copy(buf.Bytes, filled)
		if f.buf != nil {
			f.buf.Release()
		}
		f.buf = buf
		deadline = deadline.Add(waited)
		if err := c.setReadTimeout(time.Until(deadline)); err != nil {
			return err
		}
		for at < taken {
			n, err := c.in.Read(buf.Bytes[at:])
			at += n
			arriving.received.Add(int64(n))
			if err != nil && at < taken {
				return midFrame(err)
			}
		}
		filled = buf.Bytes
	}
	return nil
}

// readFirst reads the first byte of a frame into b, and waits for it up to the idle timeout. If the timeout passes
// while a request is being handled, readFirst waits again: a client that waits for the response to a Fetch has no
// reason to send.
func (c *conn) readFirst(b []byte) error {
	for {
		err := c.readWithin(c.server.config.IdleTimeout, b)
		if isTimeout(err) && !c.draining.Load() && !c.idle() {
			continue
		}
		return err
	}
}

// readWithin fills b from the connection. It blocks for at most timeout, and returns errDraining if the connection is
// draining.
func (c *conn) readWithin(timeout time.Duration, b []byte) error {
	if c.in.Buffered() < len(b) {
		if err := c.setReadTimeout(timeout); err != nil {
			return err
		}
	} else if c.draining.Load() {
		return errDraining
	}
	_, err := io.ReadFull(c.in, b)
	return err
}

// setReadTimeout makes reads of the connection fail after timeout. It returns errDraining if the connection is draining.
func (c *conn) setReadTimeout(timeout time.Duration) error {
	c.net.SetReadDeadline(time.Now().Add(timeout))
	if c.draining.Load() { // checked after the deadline was set: a later drain replaces this deadline with its own
		return errDraining
	}
	return nil
}

// midFrame returns err, or io.ErrUnexpectedEOF in place of io.EOF, for a read in the middle of a frame.
func midFrame(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
