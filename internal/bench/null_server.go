package bench

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"tidings.dev/internal/pipe"
)

// NullServer is a Kafka server that does as little as a client accepts. As a null sink it acknowledges Produce
// requests at once and stores nothing. As a null source it answers Fetch requests from memory with the first batches
// that it received, repeated endlessly at increasing offsets. The difference between a broker and a NullServer is the
// cost of the broker's other work, such as durability and ordering. The zero value is a null sink.
//
// A NullServer checks nothing. It has no groups, transactions or authentication, and knows only the partition counts
// of topics. It supports older versions of some APIs, because they are simpler to encode. The requests of a
// connection are answered in order.
type NullServer struct {
	// KeepBytes is the maximum number of bytes of batches that are kept for Fetch, over all partitions. If it is 0,
	// none are kept, and Fetch responses have no records.
	KeepBytes int64

	mu         sync.Mutex       // protects the fields below
	topics     map[string]int32 // number of partitions, by topic
	partitions map[nullTopicPartition]*nullPartition
	keptBytes  int64
	producerID int64 // the last one that was given to a producer
}

// nullVersions lists the supported APIs: API key, lowest version, highest version.
var nullVersions = [][3]int16{
	{0, 3, 9},  // Produce
	{1, 4, 11}, // Fetch
	{2, 1, 6},  // ListOffsets
	{3, 4, 9},  // Metadata
	{18, 0, 3}, // ApiVersions
	{19, 2, 6}, // CreateTopics
	{20, 1, 5}, // DeleteTopics
	{22, 0, 4}, // InitProducerId
}

// nullHost is the host name of the server in Metadata responses on in-process connections. The dial function of the
// client ignores it.
const nullHost = "null"

// Serve accepts connections until l is closed, and serves each of them in a goroutine. It then returns nil.
func (n *NullServer) Serve(l net.Listener) error { return serveConns(l, n.ServeConn) }

// serveConns accepts connections until l is closed, and calls serve for each of them in a goroutine. It then returns
// nil.
func serveConns(l net.Listener, serve func(net.Conn)) error {
	for {
		conn, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		go serve(conn)
	}
}

// ServeConn serves one connection until the client closes it or sends a request that is not supported. It then closes
// the connection.
func (n *NullServer) ServeConn(conn net.Conn) {
	defer conn.Close()
	c := &nullConn{server: n, net: conn, in: bufio.NewReaderSize(conn, 64<<10), out: bufio.NewWriterSize(conn, 64<<10), host: nullHost, port: 9092}
	if host, port, err := net.SplitHostPort(conn.LocalAddr().String()); err == nil {
		number, _ := strconv.Atoi(port)
		c.host, c.port = host, int32(number)
	}
	for c.request() == nil {
	}
}

// Dial connects to the server within this process. The connection is of the same kind as that of an in-process
// broker.
func (n *NullServer) Dial(context.Context, string, string) (net.Conn, error) {
	ours, theirs := pipe.New(0, pipe.Addr(nullHost), pipe.Addr("client"))
	go n.ServeConn(ours)
	return theirs, nil
}

// nullConn is one connection. It is used by one goroutine. Its buffers are reused for each request, because
// allocating them would cost a third of the request rate.
type nullConn struct {
	server  *NullServer
	net     net.Conn
	in      *bufio.Reader
	out     *bufio.Writer
	host    string
	port    int32
	frame   []byte
	reply   []byte
	fetched nullFetchResponse

	unknownVersion bool // the current request is an ApiVersions request of an unsupported version
}

// nullHeaderBytes is the size of a request up to its client id: size int32, key int16, version int16, correlation
// int32, length of the client id int16. The client id follows, and in flexible versions tagged fields.
const nullHeaderBytes = 4 + 2 + 2 + 4 + 2

// errNull is returned for a request that the server cannot answer; the connection is then closed.
var errNull = errors.New("the null server has no answer")

// request reads one request and writes its response. The output is flushed first if no further request has arrived.
func (c *nullConn) request() error {
	if c.in.Buffered() == 0 {
		if err := c.out.Flush(); err != nil {
			return err
		}
	}
	var size [4]byte
	if _, err := io.ReadFull(c.in, size[:]); err != nil {
		return err
	}
	n := int(binary.BigEndian.Uint32(size[:]))
	if n < nullHeaderBytes-4 || n > 128<<20 {
		return fmt.Errorf("%w: a frame of %d bytes", errNull, n)
	}
	if cap(c.frame) < n {
		c.frame = make([]byte, n+n/2)
	}
	frame := c.frame[:n]
	if _, err := io.ReadFull(c.in, frame); err != nil {
		return err
	}
	key, version := int16(binary.BigEndian.Uint16(frame)), int16(binary.BigEndian.Uint16(frame[2:]))
	correlation := binary.BigEndian.Uint32(frame[4:])
	body := frame[10:]
	if id := int16(binary.BigEndian.Uint16(frame[8:])); id > 0 {
		if len(body) < int(id) {
			return errNull
		}
		body = body[id:]
	}
	req := kmsg.RequestForKey(key)
	if req == nil {
		return fmt.Errorf("%w: key %d", errNull, key)
	}
	req.SetVersion(version)
	if req.IsFlexible() {
		if len(body) == 0 || body[0] != 0 {
			return fmt.Errorf("%w: header tags", errNull)
		}
		body = body[1:]
	}
	if c.unknownVersion = key == 18 && version > 3; c.unknownVersion {
		req.SetVersion(0) // KIP-511: the response has version 0, and lists the supported versions
	} else if err := req.ReadFrom(body); err != nil { // the request refers to the frame, which must stay unchanged
		return err
	}
	if fetch, ok := req.(*kmsg.FetchRequest); ok {
		return c.fetch(fetch, correlation)
	}
	resp, err := c.answer(req)
	if err != nil || resp == nil {
		return err
	}
	resp.SetVersion(req.GetVersion())
	c.reply = append(c.reply[:0], 0, 0, 0, 0, 0, 0, 0, 0)
	binary.BigEndian.PutUint32(c.reply[4:], correlation)
	if resp.IsFlexible() && key != 18 {
		c.reply = append(c.reply, 0)
	}
	c.reply = resp.AppendTo(c.reply)
	binary.BigEndian.PutUint32(c.reply, uint32(len(c.reply)-4))
	_, err = c.out.Write(c.reply)
	return err
}

// answer returns the response to a request, or nil if the request is a Produce with acks=0.
func (c *nullConn) answer(req kmsg.Request) (kmsg.Response, error) {
	n := c.server
	switch r := req.(type) {
	case *kmsg.ProduceRequest:
		return n.produce(r), nil
	case *kmsg.ListOffsetsRequest:
		return n.listOffsets(r), nil
	case *kmsg.MetadataRequest:
		return n.metadata(r, c.host, c.port), nil
	case *kmsg.CreateTopicsRequest:
		return n.createTopics(r), nil
	case *kmsg.DeleteTopicsRequest:
		return n.deleteTopics(r), nil
	case *kmsg.ApiVersionsRequest:
		resp := kmsg.NewPtrApiVersionsResponse()
		if c.unknownVersion {
			resp.ErrorCode = kerr.UnsupportedVersion.Code
		}
		for _, v := range nullVersions {
			resp.ApiKeys = append(resp.ApiKeys, kmsg.ApiVersionsResponseApiKey{ApiKey: v[0], MinVersion: v[1], MaxVersion: v[2]})
		}
		return resp, nil
	case *kmsg.InitProducerIDRequest:
		n.mu.Lock()
		defer n.mu.Unlock()
		n.producerID++
		resp := kmsg.NewPtrInitProducerIDResponse()
		resp.ProducerID = n.producerID
		return resp, nil
	}
	return nil, fmt.Errorf("%w: key %d", errNull, req.Key())
}
