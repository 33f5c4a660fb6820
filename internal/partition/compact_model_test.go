package partition

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"pgregory.net/rapid"

	"tidings.dev/internal/batch"
	"tidings.dev/internal/vfs"
)

// TestCompactionModel drives a log of keyed records by random steps beside a model that knows each record that was ever
// appended and whether it must still be there (I10): after each step the whole log is read and compared, record by record
// and offset by offset.
func TestCompactionModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &keyedModel{disk: vfs.NewMem(), now: 1_000, config: Config{
			SegmentBytes:       rapid.Int64Range(200, 3000).Draw(t, "segment"),
			IndexIntervalBytes: rapid.IntRange(1, 600).Draw(t, "interval"),
			Files:              NewFileCache(rapid.IntRange(2, 5).Draw(t, "files")),
		}}
		var err error
		m.log, err = Create(m.disk, "p", m.config)
		m.must(t, err)
		t.Repeat(map[string]func(*rapid.T){
			"append":  m.append,
			"sync":    func(t *rapid.T) { m.must(t, m.log.Sync()) },
			"evict":   func(t *rapid.T) { m.log.EvictTail(rapid.Int64Range(0, 1000).Draw(t, "keep")) },
			"compact": m.compact,
			"wait":    func(t *rapid.T) { m.now += rapid.Int64Range(1, 1500).Draw(t, "ms") },
			"delete":  m.deleteBefore,
			"retain":  m.retain,
			"bump":    func(t *rapid.T) { m.epoch++; m.log.BumpEpoch(m.epoch) },
			"reclaim": m.reclaim,
			"reopen":  m.reopen,
			"read":    m.read,
			"time":    m.time,
			"":        m.compare,
		})
	})
}

// tombstoneAge is delete.retention.ms in the tests.
const tombstoneAge = time.Second

type keyedRecord struct {
	key, value string
	tombstone  bool
	keyless    bool
	timestamp  int64
	gone       bool
	horizon    int64 // of a tombstone that a pass has been through, ms; 0: none yet
	batch      int   // in keyedModel.batches
}

// keyedModel is record i at index i.
type keyedModel struct {
	disk    *vfs.Mem
	config  Config
	log     *Log
	records []keyedRecord
	batches []batch.View
	start   int64
	epoch   int32
	now     int64
}

func (m *keyedModel) must(t *rapid.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (m *keyedModel) append(t *rapid.T) {
	for range rapid.IntRange(1, 8).Draw(t, "batches") {
		var b batch.Builder
		b.Reset(int64(len(m.records)))
		b.LeaderEpoch(m.epoch)
		if id := rapid.Int64Range(-1, 2).Draw(t, "producer"); id >= 0 {
			b.Producer(id, 0, int32(len(m.records)))
		}
		for i := range rapid.IntRange(1, 4).Draw(t, "records") {
			r := keyedRecord{key: fmt.Sprint("key-", rapid.IntRange(0, 5).Draw(t, "key")), batch: len(m.batches),
				timestamp: rapid.Int64Range(0, 1000).Draw(t, "time"), value: fmt.Sprint("value ", len(m.records), " ", i)}
			r.value += string(make([]byte, rapid.IntRange(0, 200).Draw(t, "value")))
			r.tombstone = rapid.IntRange(0, 3).Draw(t, "tombstone") == 0
			r.keyless = rapid.IntRange(0, 19).Draw(t, "keyless") == 0
			key, value := []byte(r.key), []byte(r.value)
			if r.tombstone {
				value = nil
			}
			if r.keyless {
				key = nil
			}
			b.Add(r.timestamp, key, value, batch.Header{Key: "n", Value: []byte(r.value)})
			m.records = append(m.records, r)
		}
		v := b.Batch()
		if rapid.Bool().Draw(t, "compressed") {
			v = zstdBatch(v)
		}
		m.batches = append(m.batches, v)
		m.log.Append(bytes.Clone(v))
	}
}

// zstdBatch is a batch with its records compressed.
func zstdBatch(v batch.View) batch.View {
	w, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		panic(err)
	}
	v = w.EncodeAll(v.Payload(), bytes.Clone(v[:batch.HeaderBytes]))
	v[22] |= byte(batch.Zstd)
	binary.BigEndian.PutUint32(v[8:], uint32(len(v)-batch.PrefixBytes))
	binary.BigEndian.PutUint32(v[17:], v.Checksum())
	return v
}

// lastOfProducers is where the last batch of each producer ends.
func (m *keyedModel) lastOfProducers() map[int64]int64 {
	last := map[int64]int64{}
	for _, v := range m.batches {
		if v.ProducerID() >= 0 {
			last[v.ProducerID()] = v.LastOffset()
		}
	}
	return last
}

func (m *keyedModel) compact(t *rapid.T) {
	if rapid.Bool().Draw(t, "sync first") {
		m.must(t, m.log.Sync())
	}
	c := Compaction{Stable: rapid.Int64Range(0, int64(len(m.records))).Draw(t, "stable"), Now: time.UnixMilli(m.now), TombstoneAge: tombstoneAge,
		MapBytes: slotBytes * rapid.IntRange(1, 12).Draw(t, "slots"), LastOfProducer: m.lastOfProducers()}
	if rapid.Bool().Draw(t, "all") {
		c.Stable = int64(len(m.records))
	}
	dirty := m.log.Dirtiness(c)
	did, err := m.log.Compact(c)
	m.must(t, err)
	if did.Through > c.Stable && did.RemovedRecords > 0 && did.Through > m.log.compacted {
		t.Fatalf("compacted to %d, past the stable offset %d", did.Through, c.Stable)
	}
	if dirty.Ratio() == 0 && !dirty.TombstonesDue && did.RemovedRecords > 0 {
		t.Fatalf("nothing was dirty and %d records went", did.RemovedRecords)
	}
	m.compacted(c, did.Through)
	for id, last := range c.LastOfProducer {
		if last < m.start {
			continue
		}
		if v := m.holding(t, last); v.ProducerID() != id || v.LastOffset() != last || v.BaseSequence() < 0 {
			t.Fatalf("the last batch of producer %d, to offset %d, is gone: there is %x", id, last, []byte(v))
		}
	}
}

// compacted returns what a compaction up to an offset must leave.
func (m *keyedModel) compacted(c Compaction, through int64) {
	if through == 0 || len(m.records) == 0 {
		return
	}
	latest := map[string]int64{}
	for i, r := range m.records[:through] {
		if !r.keyless {
			latest[r.key] = int64(i)
		}
	}
	// Tombstones are only taken from segments that the pass may touch.
	m.log.mu.RLock()
	touched := min(through, m.touchable(c))
	m.log.mu.RUnlock()
	for i := range m.records[:through] {
		r := &m.records[i]
		switch {
		case r.keyless, latest[r.key] > int64(i):
			r.gone = true
		case !r.tombstone, m.batches[r.batch].LastOffset() >= through:
		case r.horizon == 0:
			r.horizon = c.Now.Add(c.TombstoneAge).UnixMilli()
		case r.horizon <= c.Now.UnixMilli() && int64(i) < touched:
			r.gone = true
		}
	}
}

// touchable is the end of the segments that a pass may touch. With the log's lock held.
func (m *keyedModel) touchable(c Compaction) int64 {
	n := m.log.compactable(c)
	if n == 0 {
		return 0
	}
	return m.log.segmentEnd(n - 1)
}

// holding reads the batch that holds an offset.
func (m *keyedModel) holding(t *rapid.T, offset int64) batch.View {
	pieces, err := m.log.Read(nil, offset, 1)
	m.must(t, err)
	for v, err := range batch.Split(pieces[0]) {
		m.must(t, err)
		return v
	}
	t.Fatalf("nothing at %d", offset)
	return nil
}

func (m *keyedModel) deleteBefore(t *rapid.T) {
	start := rapid.Int64Range(0, int64(len(m.records))).Draw(t, "start")
	m.must(t, m.log.DeleteBefore(start))
	m.start = max(m.start, start)
}

func (m *keyedModel) retain(t *rapid.T) {
	start := m.log.Retain(time.UnixMilli(m.now), Config{RetentionBytes: rapid.Int64Range(500, 10_000).Draw(t, "retention bytes")})
	m.must(t, m.log.DeleteBefore(start))
	m.start = max(m.start, start)
}

// reclaim is what a checkpoint does once it is durable.
func (m *keyedModel) reclaim(t *rapid.T) {
	m.must(t, m.log.Sync())
	_, err := m.log.Reclaim(m.log.State())
	m.must(t, err)
}

func (m *keyedModel) reopen(t *rapid.T) {
	s, rest, err := DecodeState(m.log.State().AppendTo(nil))
	m.must(t, err)
	if len(rest) != 0 {
		t.Fatalf("%d bytes after the state", len(rest))
	}
	m.must(t, m.log.Close())
	m.log, err = Open(m.disk, "p", m.config, s)
	m.must(t, err)
	for _, v := range m.batches {
		if v.BaseOffset() >= m.log.End() {
			m.log.BumpEpoch(v.LeaderEpoch())
			m.log.Append(bytes.Clone(v))
		}
	}
	m.log.BumpEpoch(m.epoch)
	m.must(t, m.log.DeleteBefore(m.start))
	if damage := m.log.Damage(); len(damage) != 0 {
		t.Fatalf("damage after a restart: %v", damage)
	}
	// Case: at rest only what a checkpoint may need has a file.
	named := map[SegmentName]bool{}
	for _, seg := range m.log.segments {
		named[seg.SegmentName] = true
	}
	for _, old := range m.log.replaced {
		named[old.SegmentName] = true
	}
	entries, err := m.disk.List("p")
	m.must(t, err)
	for _, e := range entries {
		if name, _, ours := parseName(e.Name); !ours || !named[name] {
			t.Fatalf("%s is nobody's", e.Name)
		}
	}
}

// read starts anywhere, also where nothing is left, and gets the next records there are, and all of them.
func (m *keyedModel) read(t *rapid.T) {
	if int64(len(m.records)) == m.start {
		return
	}
	offset := rapid.Int64Range(m.start, int64(len(m.records))-1).Draw(t, "offset")
	maxBytes := rapid.IntRange(0, 2000).Draw(t, "max")
	pieces, err := m.log.Read(nil, offset, maxBytes)
	m.must(t, err)
	got, size, last := 0, 0, offset
	for _, piece := range pieces {
		for v, err := range batch.Split(piece) {
			m.must(t, err)
			if v.Gap() || v.LastOffset() < offset {
				t.Fatalf("at %d a reader was given %x", offset, []byte(v))
			}
			got, size, last = got+1, size+len(v), v.LastOffset()
		}
	}
	if got > 1 && size > maxBytes {
		t.Fatalf("%d bytes in %d batches, %d allowed", size, got, maxBytes)
	}
	if got == 0 {
		// The last segment is never compacted: a consumer below the end always gets on.
		t.Fatalf("a read at %d gives nothing", offset)
	}
	seen := m.recordsIn(t, pieces)
	for i := offset; i <= last; i++ {
		if !m.records[i].gone && !slices.Contains(seen, i) {
			t.Fatalf("a read at %d passes by %d", offset, i)
		}
	}
}

// recordsIn compares records with what was appended at their offsets, and returns those.
func (m *keyedModel) recordsIn(t *rapid.T, pieces [][]byte) (offsets []int64) {
	for _, piece := range pieces {
		for v, err := range batch.Split(piece) {
			m.must(t, err)
			m.must(t, batch.Check(v))
			for r, err := range batch.Records(v, 1<<20) {
				m.must(t, err)
				want := m.records[r.Offset]
				whole := m.batches[want.batch]
				if string(r.Key) != want.key && !want.keyless || r.Tombstone() != want.tombstone || !want.tombstone && string(r.Value) != want.value ||
					r.Timestamp != want.timestamp || v.BaseOffset() != whole.BaseOffset() || v.LastOffset() != whole.LastOffset() ||
					v.BaseSequence() != whole.BaseSequence() || v.LeaderEpoch() != whole.LeaderEpoch() || v.Codec() != whole.Codec() {
					t.Fatalf("offset %d is %q %q at %d, was %+v; batch %x, was %x", r.Offset, r.Key, r.Value, r.Timestamp, want, v[:61], whole[:61])
				}
				for _, value := range r.Headers() {
					if string(value) != want.value {
						t.Fatalf("offset %d has header %q", r.Offset, value)
					}
				}
				offsets = append(offsets, r.Offset)
			}
		}
	}
	return offsets
}

func (m *keyedModel) time(t *rapid.T) {
	ms := rapid.Int64Range(0, 1001).Draw(t, "ms")
	want, got, latest := "none", "none", "none"
	top := int64(-1)
	for i := m.start; i < int64(len(m.records)); i++ {
		r := m.records[i]
		if r.gone {
			continue
		}
		if r.timestamp >= ms && want == "none" {
			want = fmt.Sprint(i, r.timestamp)
		}
		if r.timestamp > top {
			top, latest = r.timestamp, fmt.Sprint(i, r.timestamp)
		}
	}
	offset, timestamp, ok, err := m.log.OffsetForTime(ms)
	m.must(t, err)
	if ok {
		got = fmt.Sprint(offset, timestamp)
	}
	if got != want {
		t.Fatalf("first record of time %d: %s, want %s", ms, got, want)
	}
	got = "none"
	if offset, timestamp := m.log.MaxTimestamp(); offset >= 0 {
		got = fmt.Sprint(offset, timestamp)
	}
	if got != latest {
		t.Fatalf("largest timestamp: %s, want %s", got, latest)
	}
}

// compare reads everything.
func (m *keyedModel) compare(t *rapid.T) {
	if m.log.Start() != m.start || m.log.End() != int64(len(m.records)) {
		t.Fatalf("the log is [%d, %d), want [%d, %d)", m.log.Start(), m.log.End(), m.start, len(m.records))
	}
	if s := m.log.State(); s.check() != nil {
		t.Fatalf("state %+v: %v", s, s.check())
	}
	var all [][]byte
	for offset := m.start; offset < m.log.End(); {
		pieces, err := m.log.Read(nil, offset, 500)
		m.must(t, err)
		if len(pieces) == 0 {
			break
		}
		for _, piece := range pieces {
			for v, err := range batch.Split(piece) {
				m.must(t, err)
				offset = v.NextOffset()
			}
		}
		all = append(all, pieces...)
	}
	got := m.recordsIn(t, all)
	if !slices.IsSorted(got) {
		t.Fatalf("offsets %v", got)
	}
	for i := m.start; i < int64(len(m.records)); i++ {
		if _, there := slices.BinarySearch(got, i); there == m.records[i].gone {
			t.Fatalf("offset %d there: %v, want %v: %+v; compacted to %d", i, there, !m.records[i].gone, m.records[i], m.log.compacted)
		}
	}
}
