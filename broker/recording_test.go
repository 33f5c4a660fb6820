package broker_test

import (
	"context"
	"encoding/binary"
	"net"
	"sync"

	"github.com/twmb/franz-go/pkg/kmsg"

	"tidings.dev"
)

// recordingConnection is a connection to a log that records in a history what the broker answers to clients. It decodes
// the bytes that pass through the connection, with code that is independent of the broker and the clients.
type recordingConnection struct {
	tidings.Connection
	history *history
}

func (t recordingConnection) Connect(ctx context.Context) (*tidings.Link, error) {
	link, err := t.Connection.Connect(ctx)
	if err != nil {
		return nil, err
	}
	dial := link.Dial
	link.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &recordingConn{Conn: c, history: t.history, asked: map[uint32]kmsg.Request{}}, nil
	}
	return link, nil
}

// recordingConn is a client's end of one connection whose bytes are recorded.
type recordingConn struct {
	net.Conn
	history *history
	out, in frames

	mu    sync.Mutex
	asked map[uint32]kmsg.Request // requests whose responses will be recorded, by correlation id
}

func (c *recordingConn) Write(b []byte) (int, error) {
	c.out.add(b, c.onRequest) // before b is sent, because the response may arrive before Write returns
	return c.Conn.Write(b)
}

func (c *recordingConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.in.add(b[:n], c.onResponse)
	return n, err
}

// onRequest decodes a request frame without its length: API key (2 bytes), version (2), correlation id (4), client id
// (length of 2 bytes and content), tagged fields, body.
func (c *recordingConn) onRequest(frame []byte) {
	request := kmsg.RequestForKey(int16(binary.BigEndian.Uint16(frame)))
	switch request.(type) {
	case *kmsg.ProduceRequest, *kmsg.FetchRequest, *kmsg.OffsetCommitRequest:
	default:
		return
	}
	request.SetVersion(int16(binary.BigEndian.Uint16(frame[2:])))
	body := frame[10:]
	if length := int16(binary.BigEndian.Uint16(frame[8:])); length > 0 {
		body = body[length:]
	}
	if request.IsFlexible() {
		body = body[1:] // skips the number of tagged fields, which is 0
	}
	if err := request.ReadFrom(body); err != nil {
		c.history.violation("a request of the shop can't be read: %v", err)
		return
	}
	c.mu.Lock()
	c.asked[binary.BigEndian.Uint32(frame[4:])] = request
	c.mu.Unlock()
	if r, ok := request.(*kmsg.OffsetCommitRequest); ok {
		c.history.recordCommitRequest(r)
	}
}

// onResponse decodes a response frame without its length: correlation id (4 bytes), tagged fields, body.
func (c *recordingConn) onResponse(frame []byte) {
	correlation := binary.BigEndian.Uint32(frame)
	c.mu.Lock()
	request := c.asked[correlation]
	delete(c.asked, correlation)
	c.mu.Unlock()
	if request == nil {
		return
	}
	body := frame[4:]
	if request.IsFlexible() {
		body = body[1:] // skips the number of tagged fields, which is 0
	}
	response := request.ResponseKind()
	if err := response.ReadFrom(body); err != nil {
		c.history.violation("an answer of the broker can't be read: %v", err)
		return
	}
	switch r := response.(type) {
	case *kmsg.ProduceResponse:
		c.history.recordProduce(request.(*kmsg.ProduceRequest), r)
	case *kmsg.FetchResponse:
		c.history.recordFetch(r)
	case *kmsg.OffsetCommitResponse:
		c.history.recordCommit(request.(*kmsg.OffsetCommitRequest), r)
	}
}

// frames splits a stream of bytes into frames: a length (4 bytes) and that many bytes.
type frames struct{ rest []byte }

// add adds bytes of the stream, and calls each with every frame that is complete, without its length.
func (f *frames) add(b []byte, each func(frame []byte)) {
	f.rest = append(f.rest, b...)
	for len(f.rest) >= 4 {
		end := 4 + int(binary.BigEndian.Uint32(f.rest))
		if len(f.rest) < end {
			return
		}
		each(f.rest[4:end])
		f.rest = f.rest[end:]
	}
}
