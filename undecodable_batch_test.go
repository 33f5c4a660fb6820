package tidings_test

import (
	"bytes"
	"compress/gzip"
	"context"
	wire "encoding/binary" // another test of the package has a function binary
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"tidings.dev"
	"tidings.dev/embedded"
	"tidings.dev/internal/batch"
	"tidings.dev/internal/engine"
	"tidings.dev/internal/meta"
	"tidings.dev/internal/vfs"
)

// undecodableLog makes a data directory with the topic orders, whose only partition begins with three batches: four records
// that claim to be compressed and are not, three records in a batch that claims five, and two compressed with a codec that
// cannot read them.
func undecodableLog(t *testing.T) (dir string) {
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
	zipped := func(records []byte) []byte {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		w.Write(records)
		w.Close()
		return b.Bytes()
	}
	for _, x := range []struct {
		records, claimed int32
		codec            batch.Codec
		block            func(records []byte) []byte
	}{
		{4, 4, batch.Gzip, bytes.Clone},
		{3, 5, batch.Gzip, zipped},
		{2, 2, batch.Zstd, zipped},
	} {
		var b batch.Builder
		for range x.records {
			b.Add(time.Now().UnixMilli(), []byte("order/1"), []byte("{}"))
		}
		good := b.Batch()
		v := batch.View(append(bytes.Clone(good[:batch.HeaderBytes]), x.block(good.Payload())...))
		wire.BigEndian.PutUint32(v[8:], uint32(len(v)-batch.PrefixBytes))
		v[22] = byte(x.codec)
		wire.BigEndian.PutUint32(v[23:], uint32(x.claimed-1))
		wire.BigEndian.PutUint32(v[57:], uint32(x.claimed))
		wire.BigEndian.PutUint32(v[17:], v.Checksum())
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

// logLines keeps what is logged.
type logLines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logLines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logLines) count(what string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), what)
}

// The log begins with batches that nobody can decode, from a time before brokers refused them. Reactions and the indexer
// say so with their place, and go on after them.
func TestUndecodableBatchesArePassedOver(t *testing.T) {
	t.Parallel()
	var lines logLines
	app := open(t, "audit", embedded.File(undecodableLog(t)), tidings.WithLogger(slog.New(slog.NewTextHandler(&lines, nil))))
	handled := make(chan int64, 10)
	tidings.React(app, placed, func(_ context.Context, e tidings.Event[order]) error {
		handled <- e.Offset
		return nil
	}, tidings.FromBeginning())
	run := start(t, app)
	receipt := run.emit(placed, order{ID: "1"})
	select {
	case at := <-handled:
		if at != 11 {
			t.Errorf("the event at offset %d was handled, it is at 11", at)
		}
	case <-time.After(patience):
		t.Fatal("the event after them was not handled")
	}
	ctx, cancel := context.WithTimeout(run.ctx, patience)
	defer cancel()
	if err := receipt.Settled(ctx); err != nil {
		t.Error("its story does not settle:", err)
	}
	run.stop()
	// Warnings of one cause are written once a second, so that the later batches may not have a line of their own.
	if n := lines.count("app=audit topic=orders partition=0 offset=0\n"); n != 1 {
		t.Errorf("the first place was logged %d times", n)
	}
	if n := lines.count("cannot be decoded"); n > 3 {
		t.Errorf("%d lines about three batches", n)
	}
}
