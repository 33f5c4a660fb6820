package logclient_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"tidings.dev/broker"
	"tidings.dev/internal/batch"
	"tidings.dev/internal/engine"
	"tidings.dev/internal/logclient"
	"tidings.dev/internal/meta"
	"tidings.dev/internal/vfs"
)

// block is what a batch of undecodableLog has in place of the records that it should have.
type block struct {
	records, claimed int32
	codec            batch.Codec
	of               func(records []byte) []byte
}

// undecodableLog makes a data directory with the topic orders, whose only partition has these batches, as a broker took
// them before it looked into them.
func undecodableLog(t *testing.T, blocks ...block) (dir string) {
	t.Helper()
	dir = t.TempDir()
	files, err := vfs.Disk(dir)
	if err != nil {
		t.Fatal(err)
	}
	e, err := engine.Open(engine.Config{FS: files, TrustRecords: true})
	if err != nil {
		t.Fatal(err)
	}
	topic, err := e.CreateTopic(t.Context(), meta.TopicSpec{Name: "orders", Partitions: 1}, false)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range blocks {
		var b batch.Builder
		for range x.records {
			b.Add(time.Now().UnixMilli(), []byte("order/1"), []byte("{}"))
		}
		good := b.Batch()
		v := batch.View(append(bytes.Clone(good[:batch.HeaderBytes]), x.of(good.Payload())...))
		binary.BigEndian.PutUint32(v[8:], uint32(len(v)-batch.PrefixBytes))
		v[22] = byte(x.codec)
		binary.BigEndian.PutUint32(v[23:], uint32(x.claimed-1))
		binary.BigEndian.PutUint32(v[57:], uint32(x.claimed))
		binary.BigEndian.PutUint32(v[17:], v.Checksum())
		done := make(chan engine.Appended, 1)
		e.Append(engine.Partition{Topic: topic.ID}, v, func(a engine.Appended) { done <- a })
		if a := <-done; a.Err != nil {
			t.Fatal(a.Err)
		}
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

// zipped returns records compressed by gzip.
func zipped(records []byte) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Write(records)
	w.Close()
	return b.Bytes()
}

// places keeps the offsets in log lines.
type places struct {
	slog.Handler
	mu      sync.Mutex
	offsets []int64
}

func (p *places) Handle(_ context.Context, r slog.Record) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "offset" && strings.Contains(r.Message, "cannot be decoded") {
			p.offsets = append(p.offsets, a.Value.Int64())
		}
		return true
	})
	return nil
}

func (p *places) Enabled(context.Context, slog.Level) bool { return true }

// The log has batches that nobody can decode, from a time before brokers refused them. A reader gets an empty record for
// each of their offsets, and goes on. It says so once for each batch, also when it reads the log again.
func TestUndecodableBatchesAreRead(t *testing.T) {
	dir := undecodableLog(t,
		block{2, 2, batch.None, bytes.Clone},
		block{4, 4, batch.Gzip, bytes.Clone},                                    // no gzip
		block{2, 2, batch.Gzip, zipped},                                         // good
		block{2, 2, batch.Zstd, zipped},                                         // the wrong codec
		block{1, 1, batch.None, bytes.Clone},                                    // good
		block{2, 2, batch.Gzip, func(b []byte) []byte { return zipped(b[2:]) }}, // no records
		block{3, 5, batch.Gzip, zipped},                                         // two records less than claimed, at the end
	)
	b, err := broker.Open(broker.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	var said places
	c, err := logclient.New(logclient.Config{
		Addresses: []string{"tidings:9092"},
		Dial:      func(ctx context.Context, _, _ string) (net.Conn, error) { return b.Dial(ctx) },
		Logger:    slog.New(&said),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for range 2 {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		got := ""
		for r, err := range c.ReadAll(ctx, "orders", 0) {
			if err != nil {
				t.Fatalf("after %s: %v", got, err)
			}
			if r.Offset != int64(len(got)) {
				t.Errorf("offset %d follows %d records", r.Offset, len(got))
			}
			if logclient.Undecodable(r) {
				got += "-"
			} else {
				got += string(r.Value[:1])
			}
		}
		cancel()
		if want := "{{----{{--{--{{{--"; got != want {
			t.Errorf("read %s, want %s", got, want)
		}
	}
	said.mu.Lock()
	defer said.mu.Unlock()
	if got := fmt.Sprint(said.offsets); got != "[2 8 11 16]" {
		t.Errorf("said of the offsets %s", got)
	}
}
