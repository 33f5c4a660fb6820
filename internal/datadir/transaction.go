package datadir

import (
	"encoding/binary"
	"fmt"

	"tidings.dev/internal/batch"
	"tidings.dev/internal/fields"
)

// End is the payload of KindEnd: the end of a transaction, in all partitions and groups.
type End struct {
	AtMS    int64  // time of the end by the broker's clock, in milliseconds since the Unix epoch
	Record  []byte // of txn.Coordinator; empty if no transactional id has the transaction
	Group   []byte // of group.Coordinator; empty if no group is in the transaction
	Markers []Marker
}

// Marker is a transaction marker with the partition that it belongs to. It has its offset and leader epoch.
type Marker struct {
	Partition Partition
	Batch     batch.View
}

// errEnd is the error of malformed ends.
var errEnd = fmt.Errorf("engine: malformed journal entry of the end of a transaction")

// Encode returns the payload, with big-endian numbers:
//
//	0           8                                     then for each marker
//	+-----------+---------------+---------------+     +----------------+-----------+--------------+
//	| at, i64   | u32 | record  | u32 | group   |     | topic id, 16   | partition | marker, whole|
//	| ms        | length        | length        |     |                | u32       |              |
//	+-----------+---------------+---------------+     +----------------+-----------+--------------+
func (e End) Encode() []byte {
	be := binary.BigEndian
	b := make([]byte, 0, 16+len(e.Record)+len(e.Group)+128*len(e.Markers))
	b = be.AppendUint64(b, uint64(e.AtMS))
	b = append(be.AppendUint32(b, uint32(len(e.Record))), e.Record...)
	b = append(be.AppendUint32(b, uint32(len(e.Group))), e.Group...)
	for _, m := range e.Markers {
		b = append(b, m.Partition.Topic[:]...)
		b = be.AppendUint32(b, uint32(m.Partition.Index))
		b = append(b, m.Batch...)
	}
	return b
}

// DecodeEnd parses a payload of KindEnd. The result refers to b.
func DecodeEnd(b []byte) (End, error) {
	r := fields.NewReader(b, errEnd)
	e := End{AtMS: int64(r.Uint64())}
	e.Record, e.Group = section(&r), section(&r)
	for r.OK() && r.Len() > 0 {
		var m Marker
		copy(m.Partition.Topic[:], r.Take(len(m.Partition.Topic)))
		m.Partition.Index = int32(r.Uint32())
		if !r.OK() {
			break
		}
		n, ok := batch.Length(r.Rest())
		if !ok || n > r.Len() {
			r.Fail("a marker with %d bytes of %d", r.Len(), n)
			break
		}
		m.Batch = batch.View(r.Take(n))
		if err := batch.Check(m.Batch); err != nil || !m.Batch.Control() {
			r.Fail("a marker is damaged")
			break
		}
		e.Markers = append(e.Markers, m)
	}
	return e, r.Err()
}
