package framework

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"tidings.dev/internal/bench"
)

// fetched counts the bytes of the responses to fetch requests, on all connections of all clients of a program. The
// framework's clients cannot be given hooks of kgo, so the frames are counted on their way. The time that this takes
// is the same on both sides of a comparison.
//
// A connection counts as one of the topic from the first fetch request on that names it: later ones of a session name
// only what has changed. kgo has one connection for the fetches of a client from a broker.
type fetched struct {
	topic  [][]byte     // the name and the id of the topic, one of which fetch requests have
	bytes  atomic.Int64 // on connections of the topic
	others atomic.Int64 // on other connections
}

// fetchedOf returns a counter for the fetches from a topic.
func fetchedOf(ctx context.Context, e bench.Endpoint, topic string) (*fetched, error) {
	client, err := e.Client(ctx)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	topics, err := kadm.NewClient(client).ListTopics(ctx, topic)
	if err == nil {
		err = topics[topic].Err
	}
	if err != nil {
		return nil, fmt.Errorf("topic %s: %w", topic, err)
	}
	f := &fetched{topic: [][]byte{[]byte(topic)}}
	if id := topics[topic].ID; id != (kadm.TopicID{}) {
		f.topic = append(f.topic, id[:])
	}
	return f, nil
}

// names reports whether a request names the topic.
func (f *fetched) names(request []byte) bool {
	return slices.ContainsFunc(f.topic, func(name []byte) bool { return bytes.Contains(request, name) })
}

// on returns an endpoint whose connections are counted.
func (f *fetched) on(e bench.Endpoint) bench.Endpoint {
	dial := e.Dial
	if dial == nil {
		dial = (&net.Dialer{Timeout: dialTimeout}).DialContext
	}
	e.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &countedConn{Conn: conn, fetched: f, requests: map[uint32]bool{}}, nil
	}
	return e
}

const dialTimeout = 10 * time.Second // kgo's own

// A frame begins with its size. The part that is read of it is, in bytes:
//
//	           0      4         6         8             12
//	           +------+---------+---------+-------------+
//	request:   | size | api key | version | correlation |
//	           +------+---------+---------+-------------+
//	response:  | size | correlation |
//	           +------+-------------+
const (
	requestHead  = 12
	responseHead = 8
	fetchKey     = 1
)

// countedConn is a connection of a kgo client. One goroutine writes to it at a time, and one reads.
type countedConn struct {
	net.Conn
	fetched  *fetched
	out, in  frames
	counting bool // whether the response that is being read is one to a fetch
	ofTopic  atomic.Bool

	mu       sync.Mutex
	requests map[uint32]bool // correlation ids of fetch requests that were not answered
}

// Write implements net.Conn. kgo writes a request at a time.
func (c *countedConn) Write(b []byte) (int, error) {
	c.out.pass(b, requestHead, func(head []byte) {
		if binary.BigEndian.Uint16(head[4:]) == fetchKey {
			if c.fetched.names(b) {
				c.ofTopic.Store(true)
			}
			c.mu.Lock()
			c.requests[binary.BigEndian.Uint32(head[8:])] = true
			c.mu.Unlock()
		}
	}, func(int) {})
	return c.Conn.Write(b)
}

// Read implements net.Conn.
func (c *countedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.in.pass(b[:n], responseHead, func(head []byte) {
		id := binary.BigEndian.Uint32(head[4:])
		c.mu.Lock()
		c.counting = c.requests[id]
		delete(c.requests, id)
		c.mu.Unlock()
	}, func(n int) {
		switch {
		case !c.counting:
		case c.ofTopic.Load():
			c.fetched.bytes.Add(int64(n))
		default:
			c.fetched.others.Add(int64(n))
		}
	})
	return n, err
}

// frames follows the frames of a stream of bytes.
type frames struct {
	head [requestHead]byte
	have int   // bytes of head
	left int64 // bytes of the frame after head
}

// pass takes the next bytes of the stream. It calls begin with the first headBytes of each frame, and then body with
// numbers of bytes, which together are all bytes of the frame.
func (f *frames) pass(b []byte, headBytes int, begin func(head []byte), body func(n int)) {
	for len(b) > 0 {
		if f.have < headBytes {
			n := copy(f.head[f.have:headBytes], b)
			b = b[n:]
			if f.have += n; f.have < headBytes {
				return
			}
			f.left = 4 + int64(binary.BigEndian.Uint32(f.head[:])) - int64(headBytes)
			begin(f.head[:headBytes])
			body(headBytes)
		}
		n := int(min(int64(len(b)), f.left))
		body(n)
		b = b[n:]
		if f.left -= int64(n); f.left <= 0 {
			f.have = 0
		}
	}
}
