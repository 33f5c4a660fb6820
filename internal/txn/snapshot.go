package txn

import (
	"encoding/binary"
	"maps"
	"slices"
	"time"

	"tidings.dev/internal/fields"
)

// Encoding of a snapshot of one partition's producers, big-endian, with the producers in order of id:
//
//	+-------+-----------+   then for each producer
//	| ver 1 | count u32 |
//	+-------+-----------+
//	+--------+-----------+--------------+--------------+   then for each of its batches, oldest first
//	| id i64 | epoch i16 | seen ms i64  | batches u8   |
//	+--------+-----------+--------------+--------------+
//	+--------------+-------------+-----------------+-----------------+--------------------+
//	| base seq i32 | last seq i32| base offset i64 | last offset i64 | append time ms i64 |
//	+--------------+-------------+-----------------+-----------------+--------------------+
//
// The snapshot has no checksum of its own: the checkpoint that contains it has one. The sizes are in bytes.
const (
	producersVersion = 1
	headerSize       = 1 + 4
	producerSize     = 8 + 2 + 8 + 1
	appendedSize     = 4 + 4 + 8 + 8 + 8
)

// Encode returns the encoded state, for a checkpoint. The caller owns the slice.
func (p *Producers) Encode() []byte {
	be := binary.BigEndian
	b := make([]byte, 0, headerSize+len(p.byID)*(producerSize+recentBatches*appendedSize))
	b = append(b, producersVersion)
	b = be.AppendUint32(b, uint32(len(p.byID)))
	for _, id := range slices.Sorted(maps.Keys(p.byID)) {
		s := p.byID[id]
		b = be.AppendUint64(b, uint64(id))
		b = be.AppendUint16(b, uint16(s.epoch))
		b = be.AppendUint64(b, uint64(s.seen.UnixMilli()))
		b = append(b, byte(s.n))
		for _, a := range s.recent[:s.n] {
			b = be.AppendUint32(b, uint32(a.baseSeq))
			b = be.AppendUint32(b, uint32(a.lastSeq))
			b = be.AppendUint64(b, uint64(a.baseOffset))
			b = be.AppendUint64(b, uint64(a.lastOffset))
			b = be.AppendUint64(b, uint64(a.appendTimeMS))
		}
	}
	return b
}

// Decode replaces the state by one that Encode has returned. Errors match ErrCorruptRecord, and then the state is
// unchanged.
func (p *Producers) Decode(b []byte) error {
	r := fields.NewReader(b, ErrCorruptRecord)
	if v := r.Byte(); v != producersVersion {
		r.Fail("version %d of a producer snapshot, this program knows %d", v, producersVersion)
	}
	count := int(r.Uint32())
	if most := r.Len() / (producerSize + appendedSize); count > most || count < 0 {
		r.Fail("%d producers in %d bytes", uint32(count), r.Len())
		count = 0
	}
	byID := make(map[int64]*producer, count)
	for range count {
		id, s := readProducer(&r)
		if !r.OK() {
			break
		}
		if byID[id] != nil {
			r.Fail("producer %d twice", id)
			break
		}
		byID[id] = s
	}
	if err := r.End(); err != nil {
		return err
	}
	p.limit.add(len(byID) - len(p.byID))
	p.byID = byID
	return nil
}

// readProducer decodes one producer and its batches. Values that Encode cannot have written are malformed.
func readProducer(r *fields.Reader) (id int64, s *producer) {
	id = int64(r.Uint64())
	s = &producer{epoch: int16(r.Uint16()), seen: time.UnixMilli(int64(r.Uint64())), n: int(r.Byte())}
	if id < 0 || s.epoch < 0 || s.n < 1 || s.n > recentBatches {
		r.Fail("producer %d in epoch %d with %d batches", id, s.epoch, s.n)
		return id, s
	}
	for i := range s.n {
		s.recent[i] = appended{
			baseSeq: int32(r.Uint32()), lastSeq: int32(r.Uint32()),
			baseOffset: int64(r.Uint64()), lastOffset: int64(r.Uint64()), appendTimeMS: int64(r.Uint64()),
		}
		if s.recent[i].baseSeq < 0 || s.recent[i].lastSeq < 0 {
			r.Fail("producer %d with a negative sequence", id)
		}
	}
	return id, s
}
