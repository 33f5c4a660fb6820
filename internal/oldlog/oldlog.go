// Package oldlog makes data directories as brokers left them that took batches without looking into them. It is for tests
// of those who read such a log.
package oldlog

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"testing"
	"time"

	"tidings.dev/internal/batch"
	"tidings.dev/internal/engine"
	"tidings.dev/internal/meta"
	"tidings.dev/internal/vfs"
)

// Topic is the topic of a log that Make has made.
const Topic = "orders"

// Batch says what a batch has in place of the records that it should have.
type Batch struct {
	Records int32                       // number of records with the key order/1 and the value {}
	Claimed int32                       // number of records that the batch claims to have
	Codec   batch.Codec                 // codec that the batch claims
	Of      func(records []byte) []byte // what the batch has, given the records
}

// Make returns a new data directory with the topic Topic, whose only partition has these batches.
func Make(t testing.TB, batches ...Batch) (dir string) {
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
	topic, err := e.CreateTopic(t.Context(), meta.TopicSpec{Name: Topic, Partitions: 1}, false)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range batches {
		done := make(chan engine.Appended, 1)
		e.Append(engine.Partition{Topic: topic.ID}, b.view(), func(a engine.Appended) { done <- a })
		if a := <-done; a.Err != nil {
			t.Fatal(a.Err)
		}
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

// view returns the bytes of the batch.
func (b Batch) view() batch.View {
	var good batch.Builder
	for range b.Records {
		good.Add(time.Now().UnixMilli(), []byte("order/1"), []byte("{}"))
	}
	whole := good.Batch()
	v := batch.View(append(bytes.Clone(whole[:batch.HeaderBytes]), b.Of(whole.Payload())...))
	binary.BigEndian.PutUint32(v[8:], uint32(len(v)-batch.PrefixBytes))
	v[22] = byte(b.Codec)
	binary.BigEndian.PutUint32(v[23:], uint32(b.Claimed-1))
	binary.BigEndian.PutUint32(v[57:], uint32(b.Claimed))
	binary.BigEndian.PutUint32(v[17:], v.Checksum())
	return v
}

// AsTheyAre is an Of that changes nothing.
func AsTheyAre(records []byte) []byte { return records }

// Zipped is an Of that compresses the records by gzip.
func Zipped(records []byte) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Write(records)
	w.Close()
	return b.Bytes()
}
