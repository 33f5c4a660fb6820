package batch

import (
	"encoding/binary"
	"sync"
)

// Compaction's side of batches: what is left of one when records are taken out of it. Base offset, last offset delta,
// leader epoch, producer, epoch, sequence, codec and flags stay as they were, so that offsets and sequences mean what
// they meant; count, length, CRC and, under CreateTime, the largest timestamp follow the records that are left.

// Tombstone says whether the record deletes its key: its value is null.
func (r Record) Tombstone() bool { return r.Value == nil }

// DeleteHorizon is the time, in ms since the epoch, at which compaction may take the batch's tombstones away (KIP-534);
// ok is false while none was set.
func (v View) DeleteHorizon() (ms int64, ok bool) {
	return v.FirstTimestamp(), v.Attributes()&deleteHorizonFlag != 0
}

// Gap says whether the batch is one of AppendGap's.
func (v View) Gap() bool { return v.Count() == 0 && v.ProducerID() < 0 }

// Filter appends to dst what is left of v when only the records stay for which keep is true, and says how many do; keep
// is asked once for each record, in order. If all stay, that is v byte for byte; if none does, dst is returned as it
// was: see AppendEmpty. horizonMS ≥ 0 becomes the batch's delete horizon if a tombstone stays and it has none yet, which
// moves the base of the records' timestamps there. The codec stays; its level is the library's default.
//
// v must have passed Check. A batch that can't be decoded, or to no more than maxDecompressedBytes, is an *InvalidError,
// and dst is returned as it was.
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

// span is where a record lies in its block.
type span struct{ from, to int }

type filterScratch struct {
	spans []span
	block []byte
}

var filters = sync.Pool{New: func() any { return new(filterScratch) }}

// appendMoved appends a record, which decodes, with its timestamp delta larger by this much.
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

// seal gives a batch that was put together its length and its checksum.
func (v View) seal() {
	binary.BigEndian.PutUint32(v[lengthAt:], uint32(len(v)-PrefixBytes))
	binary.BigEndian.PutUint32(v[crcAt:], v.Checksum())
}

// AppendEmpty appends v without any of its records: what stays of a producer's last batch, so that its sequence can be
// read from the log. It has no codec, no delete horizon and no timestamps (-1).
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

// AppendGap appends a batch of no records and no producer that covers the offsets [base, last], of which compaction left
// nothing: at most 2^31 of them. It is a sound batch of its format, though clients are never sent one.
func AppendGap(dst []byte, base, last int64, leaderEpoch int32) []byte {
	start := len(dst)
	dst = append(dst, make([]byte, HeaderBytes)...)
	w := View(dst[start:])
	w.SetBaseOffset(base)
	w.SetLeaderEpoch(leaderEpoch)
	w[magicAt] = Magic
	binary.BigEndian.PutUint32(w[lastOffsetDeltaAt:], uint32(last-base))
	for at := firstTimestampAt; at < countAt; at++ {
		w[at] = 0xff // timestamps, producer id, epoch and sequence: -1
	}
	w.seal()
	return dst
}
