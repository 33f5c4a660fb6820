package story

import (
	"encoding/binary"
	"hash/fnv"
	"math"

	"github.com/twmb/franz-go/pkg/kgo"

	"tidings.dev/internal/fields"
	"tidings.dev/internal/offsets"
)

// tail describes the last records of a partition that the index has read. The index compares it with the log to
// notice that the log has changed below its position (reading.misfit and Index.differs). In a row of the bucket positions it is
//
//	│ epoch int │ first int │ before int │ end int │ last int │ sum 8 │
type tail struct {
	epoch  int32  // leader epoch of the last record; -1 if it is not known
	first  int64  // offset of the first record of epoch that was read
	before int32  // the epoch read before epoch; -1 if there is none
	end    int64  // offset after the last record of the epoch before that was read
	last   int64  // offset of the last record; -1 if none was read
	sum    uint64 // hash of the last record (hashOf), set when the row is written

	record *kgo.Record // the last record, until the row is written; nil between transactions
}

func newTail() *tail { return &tail{epoch: -1, before: -1, last: -1} }

// add updates the tail for the next record of the partition. r must not be changed before the row is written.
func (t *tail) add(r *kgo.Record) {
	if r.LeaderEpoch != t.epoch {
		if t.epoch >= 0 {
			t.before, t.end = t.epoch, t.last+1
		}
		t.epoch, t.first = r.LeaderEpoch, r.Offset
	}
	t.last, t.record = r.Offset, r
}

// positionRow is a row of the bucket positions:
//
//	│ next 8 │ tail … │ forgotten int │ missed uint │ from int │ to int │ end int │
//	missed         1 if something was removed before the index had read it, else 0
//	from, to, end  as in miss; earlier versions did not write them
type positionRow struct {
	next      int64 // offset of the next record to read
	tail      *tail
	forgotten int64 // offset below which events were forgotten
	missed    miss
}

func (row positionRow) encode() []byte {
	t := row.tail
	if t.record != nil {
		t.sum, t.record = hashOf(t.record), nil
	}
	w := rowWriter{u64Key(uint64(row.next))}
	w.int(int64(t.epoch))
	w.int(t.first)
	w.int(int64(t.before))
	w.int(t.end)
	w.int(t.last)
	w.b = binary.BigEndian.AppendUint64(w.b, t.sum)
	w.int(row.forgotten)
	w.uint(flagIf(row.missed.Lo < row.missed.Hi, 1))
	w.int(row.missed.Lo)
	w.int(row.missed.Hi)
	w.int(row.missed.end)
	return w.b
}

func decodePosition(b []byte) (row positionRow, err error) {
	r := &rowReader{fields.NewReader(b, errRow)}
	row.next = int64(r.Uint64())
	row.tail = &tail{epoch: int32(r.Varint()), first: r.Varint(), before: int32(r.Varint()), end: r.Varint(), last: r.Varint(), sum: r.Uint64()}
	row.forgotten = r.Varint()
	missed := r.Uvarint() != 0
	switch {
	case r.Len() > 0:
		row.missed = miss{offsets.Range{Lo: r.Varint(), Hi: r.Varint()}, r.Varint()}
	case missed:
		row.missed = miss{offsets.Range{Hi: row.next}, math.MaxInt64}
	}
	return row, r.Err()
}

// hashOf returns a hash of the timestamp, key, value and headers of a record.
func hashOf(r *kgo.Record) uint64 {
	h := fnv.New64a()
	part := func(b []byte) {
		h.Write(binary.AppendUvarint(nil, uint64(len(b))))
		h.Write(b)
	}
	h.Write(binary.AppendVarint(nil, r.Timestamp.UnixMilli()))
	part(r.Key)
	part(r.Value)
	for _, header := range r.Headers {
		part([]byte(header.Key))
		part(header.Value)
	}
	return h.Sum64()
}
