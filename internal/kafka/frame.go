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

// A request frame, big-endian. The size counts what follows it.
//
//	0      4         6         8             12
//	+------+---------+---------+-------------+-------------------------+-------------------+------
//	| size | api key | api     | correlation | client id: int16 length | tags, in flexible | body
//	| int32| int16   | version | int32       | and bytes, or -1        | versions only     |
//	+------+---------+---------+-------------+-------------------------+-------------------+------
const (
	prefixBytes    = 8 // what is read before the limit of the API is known
	minFrameBytes  = 10
	sizeFieldBytes = 4
)

// ErrUnsupported means a request of an API or version that is not served. There is no answer that its sender would
// understand; the connection is closed, as Apache Kafka does.
var ErrUnsupported = errors.New("kafka: unsupported api or version")

// frame is one request's bytes in a buffer that is used again, as the frame is. It has one owner at a time, who releases
// it once; nothing may alias it afterwards.
type frame struct {
	buf         *batch.Buffer // from the api key on
	api         *versions
	version     int16
	correlation int32
	clientID    []byte
	body        []byte
	held        int // bytes held in the budgets
}

var frames = sync.Pool{New: func() any { return new(frame) }}

// newFrame returns a frame with sizeBytes of room.
func newFrame(sizeBytes int) *frame {
	f := frames.Get().(*frame)
	f.buf = batch.NewBuffer(sizeBytes)
	return f
}

// holds says whether the log should keep records, which stand in the frame, where they are: what is left over of the buffer
// is memory that nobody counts.
func (f *frame) holds(records []byte) bool { return f.buf.FilledBy(len(records)) }

// handOver gives the frame back without its bytes, which are the caller's from now on.
func (f *frame) handOver() *batch.Buffer {
	buf := f.buf
	*f = frame{}
	frames.Put(f)
	return buf
}

// recycle gives the frame and its bytes back.
func (f *frame) recycle() { f.handOver().Release() }

// frameLimits bound one frame by its API.
type frameLimits struct {
	produceBytes, requestBytes int
}

// openBytes bounds the requests that a client may send before it is authenticated.
const openBytes = 64 << 10

func (l frameLimits) of(key Key) int {
	switch key {
	case keyProduce:
		return l.produceBytes
	case keyApiVersions, keySaslHandshake, keySaslAuthenticate:
		return openBytes
	default:
		return l.requestBytes
	}
}

// parsePrefix reads size, key and version, and finds the row of the API. An unserved version of ApiVersions is no
// error: it has an answer.
func parsePrefix(b []byte, l frameLimits) (sizeBytes int, api *versions, version int16, err error) {
	size := int64(int32(binary.BigEndian.Uint32(b)))
	key := Key(binary.BigEndian.Uint16(b[4:]))
	version = int16(binary.BigEndian.Uint16(b[6:]))
	api = lookup(key)
	switch {
	case size < minFrameBytes:
		return 0, nil, 0, fmt.Errorf("%w: a frame of %d bytes", ErrMalformed, size)
	case api == nil:
		return 0, nil, 0, fmt.Errorf("%w: key %d version %d", ErrUnsupported, key, version)
	case (version < api.min || version > api.max) && key != keyApiVersions:
		return 0, nil, 0, fmt.Errorf("%w: %s version %d", ErrUnsupported, api.name, version)
	case size > int64(l.of(key)):
		return 0, nil, 0, fmt.Errorf("%w: %s of %d bytes, at most %d are taken", ErrRequestTooLarge, api.name, size, l.of(key))
	}
	return int(size), api, version, nil
}

// parseHeader reads what stands between version and body.
func (f *frame) parseHeader() error {
	d := decoder{rest: f.buf.Bytes[4:]}
	f.correlation = d.int32()
	f.clientID = d.nullableStr() // never compact
	if d.flexible = f.version >= f.api.flexible; d.flexible {
		d.skipTags()
	}
	if !d.ok() {
		return fmt.Errorf("%w: header of %s version %d", ErrMalformed, f.api.name, f.version)
	}
	f.body = d.rest
	return nil
}

// frameTime is how long a client may take to send a frame that it has begun: half a minute and a second for each
// 256 KiB, so that nobody holds bytes of the budget for nothing.
func frameTime(sizeBytes int) time.Duration {
	return 30*time.Second + time.Duration(sizeBytes>>18)*time.Second
}

// readFrame reads the next frame. It blocks until one is there, and takes its bytes from the budgets before it makes
// room for it. io.EOF means that the client has closed between two frames.
func (c *conn) readFrame() (*frame, error) {
	var prefix [prefixBytes]byte
	if err := c.readFirst(prefix[:1]); err != nil {
		return nil, err
	}
	if err := c.readWithin(frameTime(0), prefix[1:]); err != nil {
		return nil, torn(err)
	}
	size, api, version, err := parsePrefix(prefix[:], c.server.limits)
	if err != nil {
		return nil, err
	}
	if err := c.acquire(size); err != nil {
		return nil, err
	}
	f := newFrame(size)
	f.api, f.version, f.held = api, version, size
	copy(f.buf.Bytes, prefix[sizeFieldBytes:])
	if err := c.readWithin(frameTime(size), f.buf.Bytes[prefixBytes-sizeFieldBytes:]); err != nil {
		c.release(f)
		return nil, torn(err)
	}
	if err := f.parseHeader(); err != nil {
		c.release(f)
		return nil, err
	}
	return f, nil
}

// readFirst waits for the first byte of a frame. A connection is closed after the idle timeout only if nothing of it is
// in work: a client that waits for a long answer has no reason to speak.
func (c *conn) readFirst(b []byte) error {
	for {
		err := c.readWithin(c.server.config.IdleTimeout, b)
		if isTimeout(err) && !c.draining.Load() && !c.idle() {
			continue
		}
		return err
	}
}

// readWithin fills b, for d at most.
func (c *conn) readWithin(d time.Duration, b []byte) error {
	if c.in.Buffered() < len(b) {
		c.net.SetReadDeadline(time.Now().Add(d))
	}
	if c.draining.Load() { // asked after the deadline was set, so that a drain's own deadline isn't overwritten
		return errDraining
	}
	_, err := io.ReadFull(c.in, b)
	return err
}

// torn tells an end in the middle of a frame from one between frames.
func torn(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
