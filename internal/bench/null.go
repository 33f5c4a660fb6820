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

// Null is a Kafka server that does as little as a client lets it: it acknowledges Produce at once and stores nothing,
// and answers Fetch from memory with the first batches that it was given (KeepBytes of them), over and over, without end.
// What a broker reaches of its rates is what its durability, order and bookkeeping leave.
//
// It checks nothing, has no groups, transactions or authentication, and knows topics only by their partition counts.
// Older versions of some APIs are spoken, whose bytes are simpler; one connection's requests are answered in order.
type Null struct {
	// KeepBytes is how much of what is produced is kept for Fetch, in all; 0: nothing, and fetches find nothing.
	KeepBytes int64

	mu       sync.Mutex
	topics   map[string]int32 // partitions
	logs     map[nullPartition]*nullLog
	kept     int64
	producer int64
}

type nullPartition struct {
	topic string
	index int32
}

// nullLog is one partition: how many records came, and the first of their batches.
type nullLog struct {
	end     int64
	batches [][]byte
	firsts  []int64 // each kept batch's base offset in the first round
	cycle   int64   // records in batches
}

// nullVersions is what ApiVersions answers: key, min, max.
var nullVersions = [][3]int16{
	{0, 3, 9}, {1, 4, 11}, {2, 1, 6}, {3, 4, 9}, {18, 0, 3}, {19, 2, 6}, {20, 1, 5}, {22, 0, 4},
}

// nullHost is what clients on connections without an address are told; their dialer ignores it.
const nullHost = "null"

// Serve takes connections until l is closed, and serves each in the background. It returns nil then.
func (n *Null) Serve(l net.Listener) error {
	for {
		conn, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		go n.ServeConn(conn)
	}
}

// ServeConn serves one connection until the client leaves or asks for what is not here, and closes it.
func (n *Null) ServeConn(conn net.Conn) {
	defer conn.Close()
	c := &nullConn{null: n, net: conn, in: bufio.NewReaderSize(conn, 64<<10), out: bufio.NewWriterSize(conn, 64<<10), host: nullHost, port: 9092}
	if host, port, err := net.SplitHostPort(conn.LocalAddr().String()); err == nil {
		number, _ := strconv.Atoi(port)
		c.host, c.port = host, int32(number)
	}
	for c.request() == nil {
	}
}

// Dial connects within the process, by the same kind of connection that an in-process broker has.
func (n *Null) Dial(context.Context, string, string) (net.Conn, error) {
	ours, theirs := pipe.New(0, pipe.Addr(nullHost), pipe.Addr("client"))
	go n.ServeConn(ours)
	return theirs, nil
}

// nullConn is one connection. Its buffers are used again for each request: fresh ones would cost a third of the rate.
type nullConn struct {
	null  *Null
	net   net.Conn
	in    *bufio.Reader
	out   *bufio.Writer
	host  string
	port  int32
	frame []byte
	reply []byte
	parts net.Buffers
	heads []byte // base offsets and frame heads that parts point into

	unknownVersion bool // the request in hand is an ApiVersions of a version that is not spoken
}

// A request begins with: size int32, key int16, version int16, correlation int32, client id int16 and its bytes; then
// tags in flexible versions.
const nullHeaderBytes = 4 + 2 + 2 + 4 + 2

var errNull = errors.New("the null server does not answer this")

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
		req.SetVersion(0) // the answer is one of version 0, from which a client learns the rest
	} else if err := req.ReadFrom(body); err != nil { // aliases the frame
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

// answer makes a response; nil: there is none.
func (c *nullConn) answer(req kmsg.Request) (kmsg.Response, error) {
	n := c.null
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
		n.producer++
		resp := kmsg.NewPtrInitProducerIDResponse()
		resp.ProducerID = n.producer
		return resp, nil
	}
	return nil, fmt.Errorf("%w: key %d", errNull, req.Key())
}

func (n *Null) createTopics(r *kmsg.CreateTopicsRequest) kmsg.Response {
	n.mu.Lock()
	defer n.mu.Unlock()
	resp := kmsg.NewPtrCreateTopicsResponse()
	if n.topics == nil {
		n.topics, n.logs = map[string]int32{}, map[nullPartition]*nullLog{}
	}
	for _, t := range r.Topics {
		answer := kmsg.NewCreateTopicsResponseTopic()
		answer.Topic, answer.NumPartitions, answer.ReplicationFactor = t.Topic, max(t.NumPartitions, 1), 1
		n.topics[t.Topic] = answer.NumPartitions
		for i := range answer.NumPartitions {
			n.logs[nullPartition{t.Topic, i}] = &nullLog{}
		}
		resp.Topics = append(resp.Topics, answer)
	}
	return resp
}

func (n *Null) deleteTopics(r *kmsg.DeleteTopicsRequest) kmsg.Response {
	n.mu.Lock()
	defer n.mu.Unlock()
	resp := kmsg.NewPtrDeleteTopicsResponse()
	for _, name := range r.TopicNames {
		for i := range n.topics[name] {
			for _, b := range n.logs[nullPartition{name, i}].batches {
				n.kept -= int64(len(b))
			}
			delete(n.logs, nullPartition{name, i})
		}
		delete(n.topics, name)
		answer := kmsg.NewDeleteTopicsResponseTopic()
		answer.Topic = kmsg.StringPtr(name)
		resp.Topics = append(resp.Topics, answer)
	}
	return resp
}

func (n *Null) metadata(r *kmsg.MetadataRequest, host string, port int32) kmsg.Response {
	n.mu.Lock()
	defer n.mu.Unlock()
	resp := kmsg.NewPtrMetadataResponse()
	broker := kmsg.NewMetadataResponseBroker()
	broker.NodeID, broker.Host, broker.Port = 1, host, port
	resp.Brokers, resp.ControllerID = append(resp.Brokers, broker), 1
	var names []string
	if r.Topics == nil {
		for name := range n.topics {
			names = append(names, name)
		}
	}
	for _, t := range r.Topics {
		names = append(names, *t.Topic)
	}
	for _, name := range names {
		topic := kmsg.NewMetadataResponseTopic()
		topic.Topic = kmsg.StringPtr(name)
		if n.topics[name] == 0 {
			topic.ErrorCode = kerr.UnknownTopicOrPartition.Code
		}
		for i := range n.topics[name] {
			p := kmsg.NewMetadataResponseTopicPartition()
			p.Partition, p.Leader, p.Replicas, p.ISR = i, 1, []int32{1}, []int32{1}
			topic.Partitions = append(topic.Partitions, p)
		}
		resp.Topics = append(resp.Topics, topic)
	}
	return resp
}
