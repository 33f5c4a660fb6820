package logclient_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"tidings.dev/broker"
	"tidings.dev/internal/batch"
	"tidings.dev/internal/logclient"
	"tidings.dev/internal/oldlog"
)

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
	dir := oldlog.Make(t,
		oldlog.Batch{Records: 2, Claimed: 2, Of: oldlog.AsTheyAre},
		oldlog.Batch{Records: 4, Claimed: 4, Codec: batch.Gzip, Of: oldlog.AsTheyAre},                                      // no gzip
		oldlog.Batch{Records: 2, Claimed: 2, Codec: batch.Gzip, Of: oldlog.Zipped},                                         // good
		oldlog.Batch{Records: 2, Claimed: 2, Codec: batch.Zstd, Of: oldlog.Zipped},                                         // the wrong codec
		oldlog.Batch{Records: 1, Claimed: 1, Of: oldlog.AsTheyAre},                                                         // good
		oldlog.Batch{Records: 2, Claimed: 2, Codec: batch.Gzip, Of: func(b []byte) []byte { return oldlog.Zipped(b[2:]) }}, // no records
		oldlog.Batch{Records: 3, Claimed: 5, Codec: batch.Gzip, Of: oldlog.Zipped},                                         // two records less than claimed, at the end
	)
	c, said := readerOf(t, dir)
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

// readerOf returns a client of a broker on the directory, and the places that it logs.
func readerOf(t *testing.T, dir string) (*logclient.Client, *places) {
	t.Helper()
	b, err := broker.Open(broker.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	said := new(places)
	c, err := logclient.New(logclient.Config{
		Addresses: []string{"tidings:9092"},
		Dial:      func(ctx context.Context, _, _ string) (net.Conn, error) { return b.Dial(ctx) },
		Logger:    slog.New(said),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c, said
}

// The log has batches that cannot be decoded and that no decompressor can replace. A reader gets
// what they have of records, and an empty one at the last offset of each. It says so once for each batch, also when it reads the
// log again.
func TestBatchesThatHoldUpReadersArePassed(t *testing.T) {
	garbage := func(b []byte) []byte { return bytes.Repeat([]byte{0xff}, len(b)) }
	dir := oldlog.Make(t,
		oldlog.Batch{Records: 1, Claimed: 1, Of: oldlog.AsTheyAre},
		oldlog.Batch{Records: 3, Claimed: 3, Of: garbage},                                                           // offsets 1 to 3
		oldlog.Batch{Records: 1, Claimed: 1, Of: oldlog.AsTheyAre},                                                  // 4
		oldlog.Batch{Records: 2, Claimed: 100_000, Codec: batch.Gzip, Of: oldlog.AsTheyAre},                         // no gzip: 5 to 100,004
		oldlog.Batch{Records: 1, Claimed: 1, Codec: batch.Gzip, Of: oldlog.Zipped},                                  // 100,005
		oldlog.Batch{Records: 2, Claimed: 2_000_000_000, Codec: batch.Gzip, Of: oldlog.Zipped},                      // to 2,000,100,005
		oldlog.Batch{Records: 1, Claimed: 1, Of: oldlog.AsTheyAre},                                                  // 2,000,100,006
		oldlog.Batch{Records: 3, Claimed: 3, Of: func(b []byte) []byte { return append(b[:len(b)-3], 0, 0, 0xff) }}, // to 2,000,100,009
	)
	c, said := readerOf(t, dir)
	for range 2 {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		var good []int64
		last := int64(-1)
		for r, err := range c.ReadAll(ctx, oldlog.Topic, 0) {
			if err != nil {
				t.Fatalf("after %d: %v", last, err)
			}
			if r.Offset <= last {
				t.Errorf("offset %d follows %d", r.Offset, last)
			}
			if last = r.Offset; !logclient.Undecodable(r) {
				good = append(good, r.Offset)
			}
		}
		cancel()
		if got, want := fmt.Sprint(good), "[0 4 100005 100006 100007 2000100006 2000100007 2000100008]"; got != want {
			t.Errorf("records at %s, want %s", got, want)
		}
		if last != 2_000_100_009 {
			t.Errorf("the last offset is %d", last)
		}
	}
	said.mu.Lock()
	defer said.mu.Unlock()
	slices.Sort(said.offsets) // kgo went past one in the first reading, as another was behind it in the same response
	if got := fmt.Sprint(said.offsets); got != "[1 5 100008 2000100009]" {
		t.Errorf("said of the offsets %s", got)
	}
}

// The log has batches that claim records and have no bytes of any. They are passed over like the others that cannot be decoded.
func TestBatchesWithoutRecordBytesArePassed(t *testing.T) {
	nothing := func([]byte) []byte { return nil }
	zippedNothing := func([]byte) []byte { return oldlog.Zipped(nil) }
	good := oldlog.Batch{Records: 1, Claimed: 1, Of: oldlog.AsTheyAre}
	dir := oldlog.Make(t,
		good,
		oldlog.Batch{Records: 1, Claimed: 3, Codec: batch.Gzip, Of: zippedNothing}, // offsets 1 to 3
		good, // 4
		oldlog.Batch{Records: 1, Claimed: 2, Codec: batch.Zstd, Of: nothing}, // 5 and 6
		good, // 7
		oldlog.Batch{Records: 1, Claimed: 100_000, Codec: batch.Gzip, Of: zippedNothing}, // to 100,007
		good, // 100,008
		oldlog.Batch{Records: 1, Claimed: 2, Codec: batch.Snappy, Of: nothing}, // and 100,010: not compressed
		good, // 100,011
		oldlog.Batch{Records: 1, Claimed: 4, Codec: batch.Snappy, Of: nothing}, // to 100,015: not compressed
		good, // 100,016
	)
	decompress(t, dir, batch.Snappy, 2)
	c, said := readerOf(t, dir)
	for range 2 {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		var good []int64
		last := int64(-1)
		for r, err := range c.ReadAll(ctx, oldlog.Topic, 0) {
			if err != nil {
				t.Fatalf("after %d: %v", last, err)
			}
			if last = r.Offset; !logclient.Undecodable(r) {
				good = append(good, r.Offset)
			}
		}
		cancel()
		if got, want := fmt.Sprint(good), "[0 4 7 100008 100011 100016]"; got != want {
			t.Errorf("records at %s, want %s", got, want)
		}
	}
	said.mu.Lock()
	defer said.mu.Unlock()
	slices.Sort(said.offsets)
	if got := fmt.Sprint(said.offsets); got != "[1 5 8 100009 100012]" {
		t.Errorf("said of the offsets %s", got)
	}
}

// decompress makes those batches of a log say that they are not compressed which say that they are by codec. There must be
// n of them, without records, and none may be the first or the last of the log, by which the broker knows its files.
func decompress(t *testing.T, dir string, codec batch.Codec, n int) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".log" {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for at := 0; at+batch.HeaderBytes <= len(content); {
			size, _ := batch.Length(content[at:])
			if v := batch.View(content[at : at+size]); v.Codec() == codec && size == batch.HeaderBytes {
				v[22] = byte(batch.None)
				binary.BigEndian.PutUint32(v[17:], v.Checksum())
				n--
			}
			at += size
		}
		return os.WriteFile(path, content, 0o600)
	})
	if err != nil || n != 0 {
		t.Fatalf("%d batches were not found: %v", n, err)
	}
}
