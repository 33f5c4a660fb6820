package partition

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"tidings.dev/internal/batch"
	"tidings.dev/internal/vfs"
)

// TestModel drives a log by random steps beside a model that is nothing but a list of records, and compares what both
// answer. rapid prints the failing steps and the flags that replay them.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &model{disk: vfs.NewMem(), config: Config{
			SegmentBytes:       rapid.Int64Range(200, 3000).Draw(t, "segment"),
			IndexIntervalBytes: rapid.IntRange(1, 600).Draw(t, "interval"),
			SegmentAge:         time.Duration(rapid.IntRange(0, 300).Draw(t, "age")) * time.Millisecond,
			Files:              sendingAnything(rapid.IntRange(2, 5).Draw(t, "files")),
			ReadAhead:          anyAhead(rapid.Int64Range(0, 5000).Draw(t, "ahead")),
		}}
		var err error
		m.log, err = Create((&pageCache{disk: m.disk}).files(), "p", m.config)
		m.must(t, err)
		t.Repeat(map[string]func(*rapid.T){
			"append":       m.append,
			"flush":        func(t *rapid.T) { m.must(t, m.log.Flush()) },
			"sync":         func(t *rapid.T) { m.must(t, m.log.Sync()) },
			"evict":        func(t *rapid.T) { m.log.EvictTail(rapid.Int64Range(0, 1000).Draw(t, "keep")) },
			"delete":       m.deleteBefore,
			"retain":       m.retain,
			"bump":         m.bump,
			"reopen":       m.reopen,
			"lose indexes": m.loseIndexes,
			"read":         m.read,
			"end":          m.endTransaction,
			"committed":    m.readCommitted,
			"reconstruct":  m.reconstruct,
			"replay":       m.replay,
			"time":         m.time,
			"":             m.compare,
		})
	})
}

type modelRecord struct {
	timestamp int64
	batch     batch.View // shared by its records
	epoch     int32
}

// model is record i at index i, and the first that may be read.
type model struct {
	disk    *vfs.Mem
	config  Config
	log     *Log
	records []modelRecord
	start   int64
	epoch   int32
}

func (m *model) must(t *rapid.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (m *model) append(t *rapid.T) {
	for range rapid.IntRange(1, 8).Draw(t, "batches") {
		var b batch.Builder
		b.Reset(int64(len(m.records)))
		b.LeaderEpoch(m.epoch)
		if producer := rapid.Int64Range(-3, 3).Draw(t, "producer"); producer > 0 {
			b.Producer(producer, 0, 0)
			b.Transactional(false)
		}
		times := rapid.SliceOfN(rapid.Int64Range(0, 1000), 1, 3).Draw(t, "times")
		for _, ms := range times {
			b.Add(ms, nil, bytes.Repeat([]byte{byte(len(m.records))}, rapid.IntRange(0, 300).Draw(t, "value")))
		}
		v := b.Batch()
		m.log.Append(v)
		for _, ms := range times {
			m.records = append(m.records, modelRecord{ms, v, m.epoch})
		}
	}
}

func (m *model) deleteBefore(t *rapid.T) {
	start := rapid.Int64Range(0, int64(len(m.records))).Draw(t, "start")
	m.must(t, m.log.DeleteBefore(start))
	m.start = max(m.start, start)
}

func (m *model) retain(t *rapid.T) {
	c := Config{RetentionBytes: rapid.Int64Range(-1, 10_000).Draw(t, "retention bytes")}
	if rapid.Bool().Draw(t, "by time") {
		c.Retention = time.Duration(rapid.IntRange(1, 1000).Draw(t, "retention")) * time.Millisecond
	}
	now := time.UnixMilli(rapid.Int64Range(0, 1500).Draw(t, "now"))
	size, start := m.log.SizeBytes(), m.log.Retain(now, c)
	for _, r := range m.records[m.start:max(start, m.start)] {
		if young := now.UnixMilli()-r.timestamp <= c.Retention.Milliseconds(); young && c.Retention > 0 && c.RetentionBytes <= 0 {
			t.Fatalf("retention of %v at %d deletes a record of %d", c.Retention, now.UnixMilli(), r.timestamp)
		}
	}
	m.must(t, m.log.DeleteBefore(start))
	m.start = max(m.start, start)
	if left := m.log.SizeBytes(); c.Retention == 0 && c.RetentionBytes > 0 && left < min(c.RetentionBytes, size) {
		t.Fatalf("retention to %d bytes leaves %d of %d", c.RetentionBytes, left, size)
	}
}

func (m *model) bump(t *rapid.T) {
	m.epoch += rapid.Int32Range(1, 3).Draw(t, "by")
	m.log.BumpEpoch(m.epoch)
}

// reopen is a restart from the last checkpoint: what came after it is appended again, as by the journal.
func (m *model) reopen(t *rapid.T) {
	if rapid.Bool().Draw(t, "clean") {
		m.must(t, m.log.Sync())
	}
	s, rest, err := DecodeState(m.log.State().AppendTo(nil))
	m.must(t, err)
	if len(rest) != 0 {
		t.Fatalf("%d bytes after the state", len(rest))
	}
	m.must(t, m.log.Close())
	m.log, err = Open((&pageCache{disk: m.disk}).files(), "p", m.config, s)
	m.must(t, err)
	for m.log.End() < int64(len(m.records)) {
		r := m.records[m.log.End()]
		m.log.BumpEpoch(r.epoch)
		m.log.Append(bytes.Clone(r.batch))
	}
	m.log.BumpEpoch(m.epoch)
	m.must(t, m.log.DeleteBefore(m.start))
	if damage := m.log.Damage(); len(damage) != 0 {
		t.Fatalf("damage after a restart: %v", damage)
	}
}

// loseIndexes removes or spoils index files under the log: only time is lost.
func (m *model) loseIndexes(t *rapid.T) {
	entries, err := m.disk.List("p")
	m.must(t, err)
	for _, e := range entries {
		if _, kind, _ := parseName(e.Name); kind != indexFile {
			continue
		}
		f, err := m.disk.Open("p/" + e.Name)
		m.must(t, err)
		switch rapid.SampledFrom([]string{"keep", "cut", "spoil"}).Draw(t, "how") {
		case "cut":
			m.must(t, f.Truncate(rapid.Int64Range(0, e.SizeBytes).Draw(t, "size")))
		case "spoil":
			at := rapid.Int64Range(0, e.SizeBytes).Draw(t, "at")
			_, err := f.WriteAt(rapid.SliceOfN(rapid.Byte(), 1, 40).Draw(t, "bytes"), at)
			m.must(t, err)
		}
		m.must(t, f.Close())
	}
}

func (m *model) read(t *rapid.T) {
	offset := rapid.Int64Range(-1, int64(len(m.records))+1).Draw(t, "offset")
	maxBytes := rapid.IntRange(0, 4000).Draw(t, "max")
	pieces, err := m.log.Read(nil, offset, maxBytes)
	if outside := offset < m.start || offset > int64(len(m.records)); outside || err != nil {
		if !outside || !errors.Is(err, ErrOffsetOutOfRange) {
			t.Fatalf("read at %d of [%d, %d): %v", offset, m.start, len(m.records), err)
		}
		return
	}
	m.expect(t, pieces, offset, maxBytes)
}

// replay reads all there is as a consumer that files can be sent to.
func (m *model) replay(t *rapid.T) {
	maxBytes := rapid.IntRange(100, 4000).Draw(t, "max")
	for offset := m.start; offset < int64(len(m.records)); {
		pieces, _, err := readOrSend(m.log, offset, maxBytes)
		m.must(t, err)
		offset = m.expect(t, pieces, offset, maxBytes)
	}
}

// expect compares what was read from an offset on with what was appended, and returns where the next read begins.
func (m *model) expect(t *rapid.T, pieces [][]byte, offset int64, maxBytes int) int64 {
	size, count := 0, 0
	for _, piece := range pieces {
		size += len(piece)
		for v, err := range batch.Split(piece) {
			m.must(t, err)
			if want := m.records[offset].batch; !bytes.Equal(v, want) {
				t.Fatalf("offset %d has %x, want %x", offset, []byte(v), []byte(want))
			}
			offset = v.NextOffset()
			count++
		}
	}
	if count == 0 && offset < int64(len(m.records)) {
		t.Fatalf("nothing at %d of [%d, %d)", offset, m.start, len(m.records))
	}
	if count > 1 && size > maxBytes {
		t.Fatalf("%d bytes, %d allowed", size, maxBytes)
	}
	return offset
}

func (m *model) time(t *rapid.T) {
	ms := rapid.Int64Range(-1, 1001).Draw(t, "ms")
	want := "none"
	for i := m.start; i < int64(len(m.records)); i++ {
		if m.records[i].timestamp >= ms {
			want = fmt.Sprintf("%d at %d", i, m.records[i].timestamp)
			break
		}
	}
	got := "none"
	offset, timestamp, ok, err := m.log.OffsetForTime(ms)
	m.must(t, err)
	if ok {
		got = fmt.Sprintf("%d at %d", offset, timestamp)
	}
	if got != want {
		t.Fatalf("first record of time %d: %s, want %s", ms, got, want)
	}

	wantOffset, latest := int64(-1), int64(-1)
	for i := m.start; i < int64(len(m.records)); i++ {
		if m.records[i].timestamp > latest {
			wantOffset, latest = i, m.records[i].timestamp
		}
	}
	if offset, timestamp := m.log.MaxTimestamp(); offset != wantOffset || timestamp != latest {
		t.Fatalf("largest timestamp %d at %d, want %d at %d", timestamp, offset, latest, wantOffset)
	}
}

// compare is what must hold after every step.
func (m *model) compare(t *rapid.T) {
	if m.log.Start() != m.start || m.log.End() != int64(len(m.records)) {
		t.Fatalf("the log is [%d, %d), want [%d, %d)", m.log.Start(), m.log.End(), m.start, len(m.records))
	}
	if s := m.log.State(); s.check() != nil || s.End > m.log.End() || s.Start > m.start {
		t.Fatalf("state %+v of a log [%d, %d): %v", s, m.log.Start(), m.log.End(), s.check())
	}
	if m.log.Epoch() != m.epoch {
		t.Fatalf("epoch %d, want %d", m.log.Epoch(), m.epoch)
	}
	for i := m.start; i < int64(len(m.records)); i++ {
		if got := m.log.EpochAt(i); got != m.records[i].epoch {
			t.Fatalf("epoch of %d is %d, want %d", i, got, m.records[i].epoch)
		}
	}
	m.compareTransactions(t)
}
