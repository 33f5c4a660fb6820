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

// patience is how long a test waits for what must happen.
const patience = 10 * time.Second

// house is a server on a real engine in memory, listening on loopback.
type house struct {
	t      testing.TB
	engine *engine.Engine
	server *Server
	addr   string
	close  func() // happens with the test at the latest
}

// newHouse opens one; it is closed with the test. configs may change what the server is started with.
func newHouse(t testing.TB, configs ...func(*Config)) *house {
	t.Helper()
	return openHouse(t, vfs.NewMem(), configs...)
}

// openHouse is newHouse on files that may have something in them.
func openHouse(t testing.TB, files vfs.FS, configs ...func(*Config)) *house {
	t.Helper()
	e, err := engine.Open(engine.Config{FS: files, AutoCreateTopics: true, DefaultPartitions: 1})
	if err != nil {
		t.Fatal(err)
	}
	c := Config{Engine: e}
	for _, change := range configs {
		change(&c)
	}
	h := &house{t: t, engine: e, server: New(c)}
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

// topic creates a topic.
func (h *house) topic(name string, partitions int32) meta.Topic {
	h.t.Helper()
	topic, err := h.engine.CreateTopic(h.t.Context(), meta.TopicSpec{Name: name, Partitions: partitions}, false)
	if err != nil {
		h.t.Fatal(err)
	}
	return topic
}

// client is a kgo client, closed with the test.
func (h *house) client(opts ...kgo.Opt) *kgo.Client {
	h.t.Helper()
	c, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(h.addr), kgo.MetadataMinAge(50 * time.Millisecond)}, opts...)...)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(c.Close)
	return c
}

// wire is a client that speaks raw frames.
type wire struct {
	t    testing.TB
	net  net.Conn
	next int32
}

// dial connects; the connection is closed with the test.
func (h *house) dial() *wire {
	h.t.Helper()
	nc, err := net.Dial("tcp", h.addr)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(patience))
	return &wire{t: h.t, net: nc}
}

// frameOf is req as a client writes it.
func frameOf(req kmsg.Request, correlation int32) []byte {
	return kmsg.NewRequestFormatter(kmsg.FormatterClientID("test")).AppendRequest(nil, req, correlation)
}

// send writes req and returns its correlation id.
func (w *wire) send(req kmsg.Request) int32 {
	w.t.Helper()
	w.next++
	w.write(frameOf(req, w.next))
	return w.next
}

func (w *wire) write(b []byte) {
	w.t.Helper()
	if _, err := w.net.Write(b); err != nil {
		w.t.Fatal("write:", err)
	}
}

// read returns the next frame's correlation id and what follows it.
func (w *wire) read() (int32, []byte) {
	w.t.Helper()
	correlation, body, err := w.tryRead()
	if err != nil {
		w.t.Fatal("read:", err)
	}
	return correlation, body
}

func (w *wire) tryRead() (int32, []byte, error) {
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

// receive reads the answer to req, whose correlation id is want.
func receive[R kmsg.Response](w *wire, req kmsg.Request, want int32) R {
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
	// What the client does not understand it would lose: the answer must be exactly what kmsg says of it.
	if again := resp.AppendTo(nil); string(again) != string(body) {
		w.t.Fatalf("%T v%d is\n%x, by kmsg\n%x", resp, req.GetVersion(), clip(body), clip(again))
	}
	return resp.(R)
}

// ask sends req at a version and reads its answer.
func ask[R kmsg.Response](w *wire, req kmsg.Request, version int16) R {
	w.t.Helper()
	req.SetVersion(version)
	return receive[R](w, req, w.send(req))
}

// closedByServer waits for the end of the connection.
func (w *wire) closedByServer() {
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

// records is one batch of n records with a value each.
func records(values ...string) []byte {
	var b batch.Builder
	for _, v := range values {
		b.Add(time.Now().UnixMilli(), nil, []byte(v))
	}
	return b.Batch()
}

// produceTo asks for one append.
func produceTo(topic meta.Topic, partition int32, records []byte) *kmsg.ProduceRequest {
	req := kmsg.NewPtrProduceRequest()
	req.Acks, req.TimeoutMillis = -1, 1000
	req.Topics = []kmsg.ProduceRequestTopic{{Topic: topic.Name, TopicID: topic.ID,
		Partitions: []kmsg.ProduceRequestTopicPartition{{Partition: partition, Records: records}}}}
	return req
}

// fetchFrom asks for one partition.
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
