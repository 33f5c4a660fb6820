package batch

import (
	"encoding/binary"
	"sync"
)

// The functions in this file make the batches that compaction writes when it removes records. Base offset, last offset
// delta, leader epoch, producer id, producer epoch, sequence, codec and flags stay unchanged, so that offsets and
// sequence numbers keep their meaning. Record count, length, CRC and, under CreateTime, the largest timestamp are those
// of the remaining records.

// Tombstone reports whether the record deletes its key, which is the case if its value is null.
func (r Record) Tombstone() bool { return r.Value == nil }

// DeleteHorizon returns the time in milliseconds since the Unix epoch from which on compaction may remove the
// tombstones of the batch (KIP-534). ok is false if compaction has not set it.
func (v View) DeleteHorizon() (ms int64, ok bool) {
	return v.FirstTimestamp(), v.Attributes()&deleteHorizonFlag != 0
}

// Gap reports whether the batch was made by AppendGap and so stands for offsets without records.
func (v View) Gap() bool { return v.Count() == 0 && v.ProducerID() < 0 }

// Filter appends to dst a copy of the batch v that contains only the records for which keep returns true, and returns
// the number of these records. It calls keep once for each record, in order. If all records stay, it appends v byte for
// byte. If none stays, it returns dst unchanged; the caller may then use AppendEmpty. If horizonMS is not negative, a
// tombstone stays, and v has no delete horizon yet, horizonMS becomes the batch's delete horizon, and the timestamps of
// the records are stored relative to it. The codec stays the same, with the library's default level.
//
// v must have passed Check. If v cannot be decoded, or decompresses to more than maxDecompressedBytes, Filter returns
// dst unchanged and an *InvalidError.
func Filter(dst []byte, v View, maxDecompressedBytes int, horizonMS int64, keep func(Record) bool) (out []byte, kept int, err error) {
	block, err := decompress(v.Codec(), v.Payload(), maxDecompressedBytes)
	if err != nil {
		return dst, 0, err
	}
	s := filters.Get().(*filterScratch)
	defer filters.Put(s)
	s.spans, s.block = s.spans[:0], s.block[:0]

	largest, tombstones := int64(-1), false
	c := cursor{b: block}
	for i := range v.Count() {
		at := c.at
		r, ok := c.record(v)
		if !ok {
			return dst, 0, invalid(ErrInvalidRecord, at, "record %d of %d does not decode", i, v.Count())
		}
		if keep(r) {
			s.spans = append(s.spans, span{at, c.at})
			largest, tombstones = max(largest, r.Timestamp), tombstones || r.Tombstone()
		}
	}
	if c.at != len(block) {
		return dst, 0, invalid(ErrInvalidRecord, c.at, "%d bytes after the last record", len(block)-c.at)
	}
	_, hasHorizon := v.DeleteHorizon()
	setHorizon := tombstones && horizonMS >= 0 && !hasHorizon
	switch kept = len(s.spans); {
	case kept == 0:
		return dst, 0, nil
	case kept == int(v.Count()) && !setHorizon:
		return append(dst, v...), kept, nil
	}

	for _, span := range s.spans {
		if setHorizon {
			s.block = appendMoved(s.block, block[span.from:span.to], v.FirstTimestamp()-horizonMS)
		} else {
			s.block = append(s.block, block[span.from:span.to]...)
		}
	}
	start := len(dst)
	dst = append(dst, v[:HeaderBytes]...)
	if dst, err = compress(dst, v.Codec(), isXerial(v.Codec(), v.Payload()), s.block); err != nil {
		return dst[:start], 0, err
	}
	w := View(dst[start:])
	if setHorizon {
		binary.BigEndian.PutUint16(w[attributesAt:], uint16(w.Attributes())|deleteHorizonFlag)
		binary.BigEndian.PutUint64(w[firstTimestampAt:], uint64(horizonMS))
	}
	if !v.LogAppendTime() {
		binary.BigEndian.PutUint64(w[maxTimestampAt:], uint64(largest))
	}
	binary.BigEndian.PutUint32(w[countAt:], uint32(kept))
	w.seal()
	return dst, kept, nil
}

// span is the place of a record in its decompressed block: the bytes [from, to).
type span struct{ from, to int }

// filterScratch is memory that calls of Filter reuse.
type filterScratch struct {
	spans []span
	block []byte
}

// filters is a pool of *filterScratch.
var filters = sync.Pool{New: func() any { return new(filterScratch) }}

// appendMoved appends a record whose timestamp delta is increased by byMS. The record must be valid.
func appendMoved(dst, record []byte, byMS int64) []byte {
	c := cursor{b: record}
	c.varint() // length
	attributes := c.b[c.at]
	c.at++
	delta := c.varint() + byMS
	rest := c.b[c.at:]
	dst = binary.AppendVarint(dst, int64(1+varintBytes(delta)+len(rest)))
	dst = append(dst, attributes)
	dst = binary.AppendVarint(dst, delta)
	return append(dst, rest...)
}

// seal sets the length field and the checksum. It must be called after all other changes, since the checksum covers
// them.
func (v View) seal() {
	binary.BigEndian.PutUint32(v[lengthAt:], uint32(len(v)-PrefixBytes))
	binary.BigEndian.PutUint32(v[crcAt:], v.Checksum())
}

// AppendEmpty appends a batch with the header of v and without records, codec, delete horizon and timestamps, which are
// -1. Compaction keeps it in the place of a producer's last batch, so that recovery can read the producer's sequence
// number.
func AppendEmpty(dst []byte, v View) []byte {
	start := len(dst)
	dst = append(dst, v[:HeaderBytes]...)
	w := View(dst[start:])
	binary.BigEndian.PutUint16(w[attributesAt:], uint16(w.Attributes())&^(codecMask|deleteHorizonFlag))
	none := int64(-1)
	binary.BigEndian.PutUint64(w[firstTimestampAt:], uint64(none))
	binary.BigEndian.PutUint64(w[maxTimestampAt:], uint64(none))
	binary.BigEndian.PutUint32(w[countAt:], 0)
	w.seal()
	return dst
}

// AppendGap appends a batch without records and without a producer. It covers the offsets [base, last], at most 2^31,
// of which compaction has removed all records. The batch passes Check and is never sent to a client.
func AppendGap(dst []byte, base, last int64, leaderEpoch int32) []byte {
	start := len(dst)
	dst = append(dst, make([]byte, HeaderBytes)...)
	w := View(dst[start:])
	w.SetBaseOffset(base)
	w.SetLeaderEpoch(leaderEpoch)
	w[magicAt] = Magic
	binary.BigEndian.PutUint32(w[lastOffsetDeltaAt:], uint32(last-base))
	for at := firstTimestampAt; at < countAt; at++ {
		w[at] = 0xff // the bytes of timestamps, producer id, epoch and sequence, which are all -1
	}
	w.seal()
	return dst
}
