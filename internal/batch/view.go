// Package batch knows the bytes of Kafka's record batch, format 2 (magic 2, KIP-98): it views, splits, checks, patches
// and iterates them. A batch is stored as it was received; compaction alone makes a new one of what it leaves (Filter).
package batch

import (
	"encoding/binary"
	"math"
)

// The head of a record batch, big-endian. The CRC (Castagnoli) covers everything from the attributes on, so that the
// broker can give base offset and leader epoch without touching it.
//
//	 0        8        12       16    17      21         23              27             35            43
//	 +--------+--------+--------+-----+-------+----------+---------------+--------------+-------------+
//	 | base   | length | leader |magic| crc   |attributes| last offset   | first        | max         |
//	 | offset | from 12| epoch  | = 2 | 21..  |          | delta         | timestamp    | timestamp   |
//	 | int64  | int32  | int32  | int8| uint32| int16    | int32         | int64 ms     | int64 ms    |
//	 +--------+--------+--------+-----+-------+----------+---------------+--------------+-------------+
//	43         51         53         57        61
//	 +----------+----------+----------+---------+--------------------------+
//	 | producer | producer | base     | record  | records, as one block     |
//	 | id int64 | epoch i16| seq int32| count   | compressed by the codec   |
//	 +----------+----------+----------+---------+--------------------------+
const (
	baseOffsetAt      = 0
	lengthAt          = 8
	leaderEpochAt     = 12
	magicAt           = 16
	crcAt             = 17
	attributesAt      = 21
	lastOffsetDeltaAt = 23
	firstTimestampAt  = 27
	maxTimestampAt    = 35
	producerIDAt      = 43
	producerEpochAt   = 51
	baseSequenceAt    = 53
	countAt           = 57

	// HeaderBytes is the length of a batch without its records.
	HeaderBytes = 61
	// PrefixBytes is how much of a batch must be there to know how long it is; the length field counts what follows it.
	PrefixBytes = 12
	// SummedFrom is where the bytes begin that a batch's own checksum covers; they go to its end.
	SummedFrom = attributesAt
	// Magic is the only format spoken.
	Magic = 2
)

// Attributes of a batch, bit by bit.
const (
	codecMask         = 0x07
	logAppendTimeFlag = 0x08
	transactionalFlag = 0x10
	controlFlag       = 0x20
	deleteHorizonFlag = 0x40 // KIP-534: the first timestamp is a delete horizon. Set by compaction, never by a client
)

// NoProducer is the producer id of a batch without one.
const NoProducer = -1

// View is one whole record batch. Its accessors read fixed places and need HeaderBytes bytes: make views with Split, or
// check them with Check or Validate, before using any. A View aliases its bytes; it owns nothing.
type View []byte

// BaseOffset is the offset of the batch's first record (of the first it was written with, if compaction took some).
func (v View) BaseOffset() int64 { return int64(binary.BigEndian.Uint64(v[baseOffsetAt:])) }

// LastOffset is the offset of the batch's last record.
func (v View) LastOffset() int64 { return v.BaseOffset() + int64(v.LastOffsetDelta()) }

// NextOffset is the offset after the batch.
func (v View) NextOffset() int64 { return v.LastOffset() + 1 }

// LastOffsetDelta is LastOffset less BaseOffset.
func (v View) LastOffsetDelta() int32 { return int32(binary.BigEndian.Uint32(v[lastOffsetDeltaAt:])) }

// LengthField is the length field as it stands: bytes of the batch after the field.
func (v View) LengthField() int32 { return int32(binary.BigEndian.Uint32(v[lengthAt:])) }

// LeaderEpoch is the partition leader epoch given at the append.
func (v View) LeaderEpoch() int32 { return int32(binary.BigEndian.Uint32(v[leaderEpochAt:])) }

// MagicByte is the format the batch claims to be in.
func (v View) MagicByte() int8 { return int8(v[magicAt]) }

// CRC is the checksum that the batch carries.
func (v View) CRC() uint32 { return binary.BigEndian.Uint32(v[crcAt:]) }

// Attributes are the batch's raw flags; the accessors below take them apart.
func (v View) Attributes() int16 { return int16(binary.BigEndian.Uint16(v[attributesAt:])) }

// Codec is how the records are compressed.
func (v View) Codec() Codec { return Codec(v.Attributes() & codecMask) }

// Transactional says whether the batch is part of a transaction.
func (v View) Transactional() bool { return v.Attributes()&transactionalFlag != 0 }

// Control says whether the batch holds a control record (a transaction's end) and no data.
func (v View) Control() bool { return v.Attributes()&controlFlag != 0 }

// LogAppendTime says whether all records have the time of their append, MaxTimestamp, in place of their own.
func (v View) LogAppendTime() bool { return v.Attributes()&logAppendTimeFlag != 0 }

// FirstTimestamp is the base of the records' timestamps, in ms since the epoch.
func (v View) FirstTimestamp() int64 { return int64(binary.BigEndian.Uint64(v[firstTimestampAt:])) }

// MaxTimestamp is the largest timestamp of the records, in ms since the epoch; -1 if there is none. It is the
// producer's word: Validate doesn't look at the records.
func (v View) MaxTimestamp() int64 { return int64(binary.BigEndian.Uint64(v[maxTimestampAt:])) }

// ProducerID is NoProducer for a batch of a producer that isn't idempotent.
func (v View) ProducerID() int64 { return int64(binary.BigEndian.Uint64(v[producerIDAt:])) }

// ProducerEpoch fences older instances of a producer; -1 without a producer id.
func (v View) ProducerEpoch() int16 { return int16(binary.BigEndian.Uint16(v[producerEpochAt:])) }

// BaseSequence is the producer's number of the first record; -1 without a producer id.
func (v View) BaseSequence() int32 { return int32(binary.BigEndian.Uint32(v[baseSequenceAt:])) }

// LastSequence is the producer's number of the last record: sequences go from MaxInt32 to 0. It is -1 without a
// sequence.
func (v View) LastSequence() int32 {
	base := v.BaseSequence()
	if base < 0 {
		return -1
	}
	return int32((int64(base) + int64(v.LastOffsetDelta())) & math.MaxInt32)
}

// Count is the number of records, as the batch states it.
func (v View) Count() int32 { return int32(binary.BigEndian.Uint32(v[countAt:])) }

// Payload is what follows the head: the records, compressed if there is a codec.
func (v View) Payload() []byte { return v[HeaderBytes:] }
