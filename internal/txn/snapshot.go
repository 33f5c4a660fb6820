package txn

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"time"
)

// A snapshot of one partition's producers, big endian, producers in order of id:
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
// It carries no checksum: the checkpoint that holds it has one.
const (
	producersVersion = 1
	headerSize       = 1 + 4
	producerSize     = 8 + 2 + 8 + 1
	appendedSize     = 4 + 4 + 8 + 8 + 8
)

// Encode returns the state for a checkpoint.
func (p *Producers) Encode() []byte {
	be := binary.BigEndian
	b := make([]byte, 0, headerSize+len(p.byID)*(producerSize+window*appendedSize))
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

// Decode replaces the state by an encoded one; the error is ErrCorruptRecord and leaves the state as it was.
func (p *Producers) Decode(b []byte) error {
	be := binary.BigEndian
	corrupt := func(what string) error { return fmt.Errorf("%w: %s", ErrCorruptRecord, what) }
	if len(b) < headerSize || b[0] != producersVersion {
		return corrupt("no producer snapshot of a known version")
	}
	count := int(be.Uint32(b[1:]))
	b = b[headerSize:]
	if count > len(b)/(producerSize+appendedSize) {
		return corrupt("producer count")
	}
	byID := make(map[int64]*producer, count)
	for range count {
		if len(b) < producerSize {
			return corrupt("producer cut short")
		}
		id := int64(be.Uint64(b))
		s := &producer{
			epoch: int16(be.Uint16(b[8:])),
			seen:  time.UnixMilli(int64(be.Uint64(b[10:]))),
			n:     int(b[18]),
		}
		b = b[producerSize:]
		if id < 0 || s.epoch < 0 || s.n < 1 || s.n > window || len(b) < s.n*appendedSize || byID[id] != nil {
			return corrupt("producer out of range")
		}
		for i := range s.n {
			s.recent[i] = appended{
				int32(be.Uint32(b)), int32(be.Uint32(b[4:])),
				int64(be.Uint64(b[8:])), int64(be.Uint64(b[16:])), int64(be.Uint64(b[24:])),
			}
			if s.recent[i].baseSeq < 0 || s.recent[i].lastSeq < 0 {
				return corrupt("sequence out of range")
			}
			b = b[appendedSize:]
		}
		byID[id] = s
	}
	if len(b) != 0 {
		return corrupt("bytes after the last producer")
	}
	p.byID = byID
	return nil
}
