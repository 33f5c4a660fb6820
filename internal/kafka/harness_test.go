package kafka

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"tidings.dev/internal/batch"
	"tidings.dev/internal/engine"
	"tidings.dev/internal/meta"
	"tidings.dev/internal/vfs"
)

// patience is the longest time that a test waits for an event that must happen.
const patience = 10 * time.Second

// testServer is a server with a real engine on a file system in memory. It listens on a loopback address.
type testServer struct {
	t      testing.TB
	engine *engine.Engine
	server *Server
	addr   string
	close  func() // closes the server; called at the end of the test if not before
}

// newTestServer starts a testServer, which is closed at the end of the test. Each of configs may change its Config.
func newTestServer(t testing.TB, configs ...func(*Config)) *testServer {
	t.Helper()
	return openTestServer(t, vfs.NewMem(), configs...)
}

// openTestServer is like newTestServer, with the file system files, on which an earlier server may have left its data.
func openTestServer(t testing.TB, files vfs.FS, configs ...func(*Config)) *testServer {
	t.Helper()
	e, err := engine.Open(engine.Config{FS: files, AutoCreateTopics: true, DefaultPartitions: 1})
	if err != nil {
		t.Fatal(err)
	}
	c := Config{Engine: e}
	for _, change := range configs {
		change(&c)
	}
	h := &testServer{t: t, engine: e, server: New(c)}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h.addr = l.Addr().String()
	go func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			go h.server.ServeConn(context.Background(), nc)
		}
	}()
	h.close = sync.OnceFunc(func() {
		l.Close()
		h.server.Close()
		if err := e.Close(); err != nil {
			t.Error("closing the engine:", err)
		}
	})
	t.Cleanup(h.close)
	return h
}

// requestsInWork returns the number of requests that are read and not answered yet, in all connections.
func (h *testServer) requestsInWork() (n int64) {
	h.server.mu.Lock()
	defer h.server.mu.Unlock()
	for c := range h.server.conns {
		n += c.unhandled.Load()
	}
	return n
}

// topic creates a topic and returns it.
func (h *testServer) topic(name string, partitions int32) meta.Topic {
	h.t.Helper()
	topic, err := h.engine.CreateTopic(h.t.Context(), meta.TopicSpec{Name: name, Partitions: partitions}, false)
	if err != nil {
		h.t.Fatal(err)
	}
	return topic
}

// client returns a kgo client of the server, which is closed at the end of the test.
func (h *testServer) client(opts ...kgo.Opt) *kgo.Client {
	h.t.Helper()
	c, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(h.addr), kgo.MetadataMinAge(50 * time.Millisecond)}, opts...)...)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(c.Close)
	return c
}

// rawClient is a client that writes and reads frames on a connection of its own.
type rawClient struct {
	t    testing.TB
	net  net.Conn
	next int32
}

// dial returns a rawClient that is connected to the server. The connection is closed at the end of the test.
func (h *testServer) dial() *rawClient {
	h.t.Helper()
	nc, err := net.Dial("tcp", h.addr)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(patience))
	return &rawClient{t: h.t, net: nc}
}

// frameOf returns the frame of req, with this correlation id, as a client sends it.
func frameOf(req kmsg.Request, correlation int32) []byte {
	return kmsg.NewRequestFormatter(kmsg.FormatterClientID("test")).AppendRequest(nil, req, correlation)
}

// send sends req and returns its correlation id.
func (w *rawClient) send(req kmsg.Request) int32 {
	w.t.Helper()
	w.next++
	w.write(frameOf(req, w.next))
	return w.next
}

// write sends bytes as they are.
func (w *rawClient) write(b []byte) {
	w.t.Helper()
	if _, err := w.net.Write(b); err != nil {
		w.t.Fatal("write:", err)
	}
}

// read reads the next frame, and returns its correlation id and the rest of it.
func (w *rawClient) read() (int32, []byte) {
	w.t.Helper()
	correlation, body, err := w.tryRead()
	if err != nil {
		w.t.Fatal("read:", err)
	}
	return correlation, body
}

// tryRead is read that returns an error instead of failing the test.
func (w *rawClient) tryRead() (int32, []byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(w.net, size[:]); err != nil {
		return 0, nil, err
	}
	body := make([]byte, binary.BigEndian.Uint32(size[:]))
	if _, err := io.ReadFull(w.net, body); err != nil {
		return 0, nil, err
	}
	return int32(binary.BigEndian.Uint32(body)), body[4:], nil
}

// receive reads the next frame and decodes it as the response to req. It fails the test unless the frame has the
// correlation id want and is encoded exactly as kmsg encodes the response.
func receive[R kmsg.Response](w *rawClient, req kmsg.Request, want int32) R {
	w.t.Helper()
	got, body := w.read()
	if got != want {
		w.t.Fatalf("answer to %d, not to %d", got, want)
	}
	resp := req.ResponseKind()
	if resp.IsFlexible() && req.Key() != int16(keyApiVersions) {
		if body[0] != 0 {
			w.t.Fatalf("response header with tags: %x", clip(body))
		}
		body = body[1:]
	}
	if err := resp.ReadFrom(body); err != nil {
		w.t.Fatalf("%T v%d: %v\n%x", resp, req.GetVersion(), err, clip(body))
	}
	// kmsg drops bytes that it does not know. Encoding the response again shows whether there were any.
	if again := resp.AppendTo(nil); string(again) != string(body) {
		w.t.Fatalf("%T v%d is\n%x, by kmsg\n%x", resp, req.GetVersion(), clip(body), clip(again))
	}
	return resp.(R)
}

// roundTrip sends req in this version, and returns the response.
func roundTrip[R kmsg.Response](w *rawClient, req kmsg.Request, version int16) R {
	w.t.Helper()
	req.SetVersion(version)
	return receive[R](w, req, w.send(req))
}

// closedByServer waits until the server closes the connection.
func (w *rawClient) closedByServer() {
	w.t.Helper()
	for {
		_, _, err := w.tryRead()
		if err == nil {
			continue
		}
		var timeout net.Error
		if errors.As(err, &timeout) && timeout.Timeout() {
			w.t.Fatal("the connection is still open")
		}
		return
	}
}

// records returns one record batch with a record for each value.
func records(values ...string) []byte {
	var b batch.Builder
	for _, v := range values {
		b.Add(time.Now().UnixMilli(), nil, []byte(v))
	}
	return b.Batch()
}

// produceTo returns a Produce request with one batch for one partition.
func produceTo(topic meta.Topic, partition int32, records []byte) *kmsg.ProduceRequest {
	req := kmsg.NewPtrProduceRequest()
	req.Acks, req.TimeoutMillis = -1, 1000
	req.Topics = []kmsg.ProduceRequestTopic{{Topic: topic.Name, TopicID: topic.ID,
		Partitions: []kmsg.ProduceRequestTopicPartition{{Partition: partition, Records: records}}}}
	return req
}

// fetchFrom returns a Fetch request for one partition, with wait as its max_wait_ms.
func fetchFrom(topic meta.Topic, partition int32, offset int64, wait time.Duration) *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.MaxWaitMillis, req.MinBytes, req.MaxBytes = int32(wait.Milliseconds()), 1, 1<<20
	req.SessionEpoch = -1
	p := kmsg.NewFetchRequestTopicPartition()
	p.Partition, p.FetchOffset, p.PartitionMaxBytes, p.CurrentLeaderEpoch = partition, offset, 1<<20, -1
	p.LastFetchedEpoch = -1
	req.Topics = []kmsg.FetchRequestTopic{{Topic: topic.Name, TopicID: topic.ID, Partitions: []kmsg.FetchRequestTopicPartition{p}}}
	return req
}
