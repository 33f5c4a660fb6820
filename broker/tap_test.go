package broker_test

import (
	"context"
	"encoding/binary"
	"net"
	"sync"

	"github.com/twmb/franz-go/pkg/kmsg"

	"tidings.dev"
)

// tap is a connection to a log that is listened in on: it notes in a ledger what the broker answers to whoever uses the
// connection. It sees bytes on their way, and shares nothing with the broker nor with the clients.
type tap struct {
	tidings.Connection
	book *ledger
}

func (t tap) Connect(ctx context.Context) (*tidings.Link, error) {
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
		return &tappedConn{Conn: c, book: t.book, asked: map[uint32]kmsg.Request{}}, nil
	}
	return link, nil
}

// tappedConn is the client's end of one connection.
type tappedConn struct {
	net.Conn
	book    *ledger
	out, in frames

	mu    sync.Mutex
	asked map[uint32]kmsg.Request // by correlation id: the requests whose answers are noted
}

func (c *tappedConn) Write(b []byte) (int, error) {
	c.out.add(b, c.onRequest) // before it is sent: its answer may be there before Write returns
	return c.Conn.Write(b)
}

func (c *tappedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.in.add(b[:n], c.onResponse)
	return n, err
}

// onRequest gets: API key (2 bytes), version (2), correlation id (4), client id (2 and that many), tags, body.
func (c *tappedConn) onRequest(frame []byte) {
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
		body = body[1:] // no tags
	}
	if err := request.ReadFrom(body); err != nil {
		c.book.broke("a request of the shop can't be read: %v", err)
		return
	}
	c.mu.Lock()
	c.asked[binary.BigEndian.Uint32(frame[4:])] = request
	c.mu.Unlock()
	if r, ok := request.(*kmsg.OffsetCommitRequest); ok {
		c.book.commitAsked(r)
	}
}

// onResponse gets: correlation id (4 bytes), tags, body.
func (c *tappedConn) onResponse(frame []byte) {
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
		body = body[1:] // no tags
	}
	response := request.ResponseKind()
	if err := response.ReadFrom(body); err != nil {
		c.book.broke("an answer of the broker can't be read: %v", err)
		return
	}
	switch r := response.(type) {
	case *kmsg.ProduceResponse:
		c.book.produced(request.(*kmsg.ProduceRequest), r)
	case *kmsg.FetchResponse:
		c.book.fetched(r)
	case *kmsg.OffsetCommitResponse:
		c.book.committed(request.(*kmsg.OffsetCommitRequest), r)
	}
}

// frames cuts a stream into frames: length (4 bytes), and that many bytes.
type frames struct{ rest []byte }

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
