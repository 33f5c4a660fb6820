package engine

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"tidings.dev/internal/batch"
	"tidings.dev/internal/meta"
	"tidings.dev/internal/txn"
	"tidings.dev/internal/vfs"
)

// Case: what is refused, and that nothing of it gets an offset.
func TestAppendRefuses(t *testing.T) {
	e := openMem(t, nil)
	topic := makeTopic(t, e, "orders", 1)
	id := Partition{Topic: topic.ID, Index: 0}
	compacted, err := e.CreateTopic(noWait, meta.TopicSpec{Name: "latest", Partitions: 1, Configs: map[string]string{"cleanup.policy": "compact"}}, false)
	if err != nil {
		t.Fatal(err)
	}
	damaged := newBatch(-1, -1, "a")
	damaged[len(damaged)-1]++
	var b batch.Builder
	b.Add(time.Now().UnixMilli(), nil, []byte("no key"))
	keyless := b.Batch()
	b.Reset(0)
	b.Add(time.Now().Add(48*time.Hour).UnixMilli(), nil, []byte("from the future"))
	early := b.Batch()

	for _, c := range []struct {
		name    string
		p       Partition
		records []byte
		want    error
	}{
		{"nothing", id, nil, ErrInvalidRecord},
		{"a damaged batch", id, damaged, batch.ErrCorrupt},
		{"a batch that is too large", id, newBatch(-1, -1, string(make([]byte, 2<<20))), ErrTooLarge},
		{"half a batch", id, newBatch(-1, -1, "a")[:70], batch.ErrCorrupt},
		{"two batches of an idempotent producer", id, append(newBatch(1, 0, "a"), newBatch(1, 1, "b")...), ErrInvalidRecord},
		{"a record without a key on a compacted topic", Partition{Topic: compacted.ID, Index: 0}, keyless, ErrInvalidRecord},
		{"a timestamp far ahead", id, early, batch.ErrInvalidTimestamp},
		{"a timestamp far ahead that the header does not state", id, rewritten(early, func(v []byte) {
			binary.BigEndian.PutUint64(v[35:], uint64(time.Now().UnixMilli()))
		}), batch.ErrInvalidTimestamp},
		{"gzip that is none", id, rewritten(newBatch(-1, -1, "a"), func(v []byte) { v[22] = byte(batch.Gzip) }), ErrInvalidRecord},
		{"a compressed record without a key on a compacted topic", Partition{Topic: compacted.ID, Index: 0}, zipped(keyless), ErrInvalidRecord},
		{"2^31-1 records in a small batch", id, rewritten(zipped(newBatch(-1, -1, "a")), func(v []byte) {
			binary.BigEndian.PutUint32(v[23:], 1<<31-2)
			binary.BigEndian.PutUint32(v[57:], 1<<31-1)
		}), ErrInvalidRecord},
		{"a record less than counted", id, rewritten(newBatch(-1, -1, "a longer record"), func(v []byte) {
			binary.BigEndian.PutUint32(v[23:], 1)
			binary.BigEndian.PutUint32(v[57:], 2)
		}), ErrInvalidRecord},
		{"64 MiB and more in a small batch", id, zipped(newBatch(-1, -1, string(make([]byte, minDecompressedBytes)))), batch.ErrBomb},
		{"an unknown topic", Partition{Topic: meta.TopicID{9}, Index: 0}, newBatch(-1, -1, "a"), ErrUnknownTopic},
		{"an unknown partition", Partition{Topic: topic.ID, Index: 1}, newBatch(-1, -1, "a"), ErrUnknownPartition},
	} {
		if a := appendNow(e, c.p, c.records); !errors.Is(a.Err, c.want) || a.BaseOffset != -1 {
			t.Errorf("%s: %+v, want %v", c.name, a, c.want)
		}
	}
	if a := appendNow(e, id, newBatch(-1, -1, "a")); a.Err != nil || a.BaseOffset != 0 {
		t.Errorf("a good batch after them: %+v", a)
	}
}

// rewritten returns a copy of a batch that change has changed, with the right length and checksum.
func rewritten(b []byte, change func([]byte)) []byte {
	out := bytes.Clone(b)
	change(out)
	binary.BigEndian.PutUint32(out[8:], uint32(len(out)-batch.PrefixBytes))
	binary.BigEndian.PutUint32(out[17:], batch.View(out).Checksum())
	return out
}

// zipped returns a batch with its records compressed by gzip.
func zipped(b []byte) []byte {
	var out bytes.Buffer
	out.Write(b[:batch.HeaderBytes])
	w := gzip.NewWriter(&out)
	w.Write(b[batch.HeaderBytes:])
	w.Close()
	return rewritten(out.Bytes(), func(v []byte) { v[22] |= byte(batch.Gzip) })
}

// Case: the largest timestamp in a header, and that it is the append's, are the producer's word; what is stored is what
// the records have. A search by time depends on it.
func TestAppendCorrectsTimestamps(t *testing.T) {
	now := time.UnixMilli(1_800_000_000_123)
	e := openMem(t, func(c *Config) { c.Now = func() time.Time { return now } })
	id := Partition{Topic: makeTopic(t, e, "orders", 1).ID, Index: 0}
	var b batch.Builder
	b.Add(now.UnixMilli(), nil, []byte("a"))
	good := b.Batch()
	high := func(v []byte) { binary.BigEndian.PutUint64(v[35:], uint64(now.Add(30*time.Minute).UnixMilli())) }
	sent := slices.Concat(good, rewritten(good, high), rewritten(zipped(good), high), rewritten(good, func(v []byte) { v[22] |= 8 }))
	if a := appendNow(e, id, sent); a.Err != nil || a.BaseOffset != 0 || a.LogAppendTime != -1 {
		t.Fatalf("%+v", a)
	}
	n := 0
	for _, records := range fetchNow(e, id, 0).Records {
		for v := range batch.Split(records) {
			if err := batch.Check(v); err != nil || v.MaxTimestamp() != now.UnixMilli() || v.LogAppendTime() {
				t.Errorf("batch %d: %v, time %d, log append time %v", n, err, v.MaxTimestamp(), v.LogAppendTime())
			}
			n++
		}
	}
	if n != 4 {
		t.Errorf("%d batches, want 4", n)
	}
}

// Case: message.timestamp.after.max.ms at its largest value is no limit.
func TestNoLimitAhead(t *testing.T) {
	e := openMem(t, nil)
	topic, err := e.CreateTopic(noWait, meta.TopicSpec{Name: "ahead", Partitions: 1, Configs: map[string]string{meta.TimestampAfterMS: "9223372036854775807"}}, false)
	if err != nil {
		t.Fatal(err)
	}
	var b batch.Builder
	b.Add(math.MaxInt64, nil, []byte("a"))
	if a := appendNow(e, Partition{Topic: topic.ID, Index: 0}, b.Batch()); a.Err != nil {
		t.Error(a.Err)
	}
}

// Case: several batches in one append get their offsets in order; the caller's bytes are not touched.
func TestAppendOfSeveralBatches(t *testing.T) {
	e := openMem(t, nil)
	id := Partition{Topic: makeTopic(t, e, "orders", 1).ID, Index: 0}
	appendNow(e, id, newBatch(-1, -1, "zero"))
	sent := append(newBatch(-1, -1, "one", "two"), newBatch(-1, -1, "three")...)
	before := string(sent)
	if a := appendNow(e, id, sent); a.Err != nil || a.BaseOffset != 1 {
		t.Fatalf("%+v", a)
	}
	if string(sent) != before {
		t.Error("the caller's bytes were changed")
	}
	got, _, err := readLog(e, id)
	if err != nil || len(got) != 4 || got[2] != "two" || got[3] != "three" {
		t.Errorf("%v, %v", got, err)
	}
}

// Case: a producer that gets no answer sends again: the same offset, once in the log; and a gap is refused.
func TestIdempotentAppend(t *testing.T) {
	e := openMem(t, nil)
	id := Partition{Topic: makeTopic(t, e, "orders", 1).ID, Index: 0}
	for range 2 {
		if a := appendNow(e, id, newBatch(7, 0, "a", "b")); a.Err != nil || a.BaseOffset != 0 {
			t.Errorf("%+v", a)
		}
	}
	if a := appendNow(e, id, newBatch(7, 5, "after a gap")); !errors.Is(a.Err, txn.ErrOutOfOrderSequence) || errors.Is(a.Err, ErrStorage) {
		t.Errorf("after a gap: %v", a.Err)
	}
	if a := appendNow(e, id, newBatch(7, 2, "c")); a.Err != nil || a.BaseOffset != 2 {
		t.Errorf("%+v", a)
	}
}

// Case: under LogAppendTime the broker's clock rules, and the answer says so.
func TestLogAppendTime(t *testing.T) {
	now := time.UnixMilli(1_800_000_000_123)
	e := openMem(t, func(c *Config) { c.Now = func() time.Time { return now } })
	topic, err := e.CreateTopic(noWait, meta.TopicSpec{Name: "stamped", Partitions: 1, Configs: map[string]string{"message.timestamp.type": "LogAppendTime"}}, false)
	if err != nil {
		t.Fatal(err)
	}
	id := Partition{Topic: topic.ID, Index: 0}
	if a := appendNow(e, id, newBatch(-1, -1, "a")); a.Err != nil || a.LogAppendTime != now.UnixMilli() {
		t.Fatalf("%+v", a)
	}
	f := fetchNow(e, id, 0)
	if v := batch.View(f.Records[0]); batch.Check(v) != nil || v.MaxTimestamp() != now.UnixMilli() {
		t.Errorf("stored with %d, %v", v.MaxTimestamp(), batch.Check(v))
	}
}

// Case: memory of batches is used again, at once. What is still read is never overwritten: the later of two batches that
// came together, when the first has left memory; what an append repeated; what is in memory only.
func TestMemoryIsUsedAgain(t *testing.T) {
	large := func(letter string) string { return strings.Repeat(letter, 2*batch.SmallBytes) }
	e := openMem(t, nil)
	others := makeTopicIn(t, e, meta.OS)
	durable, inMemory := makeTopicIn(t, e, meta.Sync), makeTopicIn(t, e, meta.Memory)
	two := slices.Concat(newBatch(-1, -1, large("a")), newBatch(-1, -1, large("b")))
	once := newBatch(7, 0, large("c"))
	for _, c := range []struct {
		name    string
		to      Partition
		appends [][]byte
		want    string // the values' letters
	}{
		{"two in one append", durable, [][]byte{two}, "ab"},
		{"one, again", durable, [][]byte{once, once}, "abc"},
		{"in memory only", inMemory, [][]byte{newBatch(-1, -1, large("d"))}, "d"},
	} {
		for _, records := range c.appends {
			if a := appendNow(e, c.to, records); a.Err != nil {
				t.Fatal(c.name, a.Err)
			}
		}
		if p := e.topics.parts.get(c.to); p.ring == nil {
			if err := p.flush(); err != nil {
				t.Fatal(err)
			}
			p.log.EvictTail(int64(len(once)))
		}
		for range 4 {
			appendNow(e, others, newBatch(-1, -1, large("x")))
			appendNow(e, others, newBatch(-1, -1, large("x"), large("x")))
		}
		values, _, err := readLog(e, c.to)
		if err != nil {
			t.Fatal(c.name, err)
		}
		var got strings.Builder
		for offset := range int64(len(values)) {
			if v := values[offset]; v != large(v[:1]) {
				t.Fatalf("%s: the value at %d is a mixture", c.name, offset)
			}
			got.WriteString(values[offset][:1])
		}
		if got.String() != c.want {
			t.Errorf("%s: read %q, want %q", c.name, got.String(), c.want)
		}
	}
}

// Case: a sync of the journal fails. The append is not acknowledged, nor is any later one, nor a commit or a topic; what
// was acknowledged is still served, and is there after a restart.
func TestFailedSyncFencesTheLog(t *testing.T) {
	mem := vfs.NewMem()
	var broken atomic.Bool
	e := openWith(t, Config{FS: vfs.NewFaulty(mem, func(op vfs.Op) error {
		if broken.Load() && op.Kind == vfs.OpSync {
			return syscall.EIO
		}
		return nil
	}), JournalFileBytes: 1 << 20})
	topic := makeTopic(t, e, "orders", 1)
	id := Partition{Topic: topic.ID, Index: 0}
	appendNow(e, id, newBatch(-1, -1, "safe"))
	broken.Store(true)
	for range 2 {
		if a := appendNow(e, id, newBatch(-1, -1, "lost")); !errors.Is(a.Err, ErrStorage) || !errors.Is(a.Err, syscall.EIO) {
			t.Errorf("append: %v", a.Err)
		}
	}
	broken.Store(false) // it is never tried again
	if a := appendNow(e, id, newBatch(-1, -1, "lost")); !errors.Is(a.Err, ErrStorage) {
		t.Errorf("append after the fault has gone: %v", a.Err)
	}
	if _, err := e.CreateTopic(noWait, meta.TopicSpec{Name: "more"}, false); !errors.Is(err, ErrStorage) {
		t.Errorf("create: %v", err)
	}
	if _, _, err := e.InitProducerID(noWait, -1, -1); !errors.Is(err, ErrStorage) {
		t.Errorf("producer id: %v", err)
	}
	if !errors.Is(e.Err(), syscall.EIO) {
		t.Errorf("Err: %v", e.Err())
	}
	if got, _, err := readLog(e, id); err != nil || len(got) != 1 {
		t.Errorf("reads: %v, %v", got, err)
	}
	e.Close()
	e = openWith(t, Config{FS: mem})
	if got, _, err := readLog(e, id); err != nil || got[0] != "safe" {
		t.Errorf("after a restart: %v, %v", got, err)
	}
	if a := appendNow(e, id, newBatch(-1, -1, "goes on")); a.Err != nil {
		t.Errorf("append after a restart: %v", a.Err)
	}
}
