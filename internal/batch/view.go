// Package batch reads, checks and changes record batches in Kafka's format 2 (magic 2, KIP-98). Batches are stored as
// they were received. Only compaction makes new batches, from the records that it keeps ([Filter]).
package batch

import (
	"encoding/binary"
	"math"
)

// The header of a record batch, big-endian. The CRC (CRC-32C) covers all bytes from the attributes on, so that the
// broker can set base offset and leader epoch without computing it again.
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

	// HeaderBytes is the length in bytes of a batch's header.
	HeaderBytes = 61
	// PrefixBytes is the number of bytes of a batch from which its length is known. The length field counts the bytes
	// after them.
	PrefixBytes = 12
	// CRCFrom is the position in bytes from which on, to the end of the batch, the CRC covers a batch.
	CRCFrom = attributesAt
	// Magic is the number of the only supported format.
	Magic = 2
)

// These are the bits of a batch's attributes.
const (
	codecMask         = 0x07
	logAppendTimeFlag = 0x08
	transactionalFlag = 0x10
	controlFlag       = 0x20
	// deleteHorizonFlag means that compaction has replaced the first timestamp by a delete horizon (KIP-534). Clients
	// never set it.
	deleteHorizonFlag = 0x40
)

// NoProducer is the producer id of a batch without a producer.
const NoProducer = -1

// View is one whole record batch. Its methods read fields at fixed positions and panic if it has less than HeaderBytes
// bytes. Views are made with Split, or from bytes that have passed Check or Validate. A View refers to its bytes and
// does not own them.
type View []byte

// BaseOffset returns the base offset of the batch. It is the offset of the first record that the producer sent;
// compaction may have removed that record.
func (v View) BaseOffset() int64 { return int64(binary.BigEndian.Uint64(v[baseOffsetAt:])) }

// LastOffset returns the last offset that the batch covers.
func (v View) LastOffset() int64 { return v.BaseOffset() + int64(v.LastOffsetDelta()) }

// NextOffset returns the offset after the last offset that the batch covers.
func (v View) NextOffset() int64 { return v.LastOffset() + 1 }

// LastOffsetDelta returns LastOffset - BaseOffset.
func (v View) LastOffsetDelta() int32 { return int32(binary.BigEndian.Uint32(v[lastOffsetDeltaAt:])) }

// LengthField returns the content of the length field: the number of bytes of the batch after that field.
func (v View) LengthField() int32 { return int32(binary.BigEndian.Uint32(v[lengthAt:])) }

// LeaderEpoch returns the partition leader epoch under which the batch was appended.
func (v View) LeaderEpoch() int32 { return int32(binary.BigEndian.Uint32(v[leaderEpochAt:])) }

// MagicByte returns the number of the batch's format.
func (v View) MagicByte() int8 { return int8(v[magicAt]) }

// CRC returns the content of the checksum field.
func (v View) CRC() uint32 { return binary.BigEndian.Uint32(v[crcAt:]) }

// Attributes returns the batch's flags. Codec, Transactional, Control and LogAppendTime return single flags.
func (v View) Attributes() int16 { return int16(binary.BigEndian.Uint16(v[attributesAt:])) }

// Codec returns the compression of the records.
func (v View) Codec() Codec { return Codec(v.Attributes() & codecMask) }

// Transactional reports whether the batch is part of a transaction.
func (v View) Transactional() bool { return v.Attributes()&transactionalFlag != 0 }

// Control reports whether the batch contains a control record, which marks the end of a transaction, and no data.
func (v View) Control() bool { return v.Attributes()&controlFlag != 0 }

// LogAppendTime reports whether the timestamp of all records is that of their append, which is MaxTimestamp.
func (v View) LogAppendTime() bool { return v.Attributes()&logAppendTimeFlag != 0 }

// FirstTimestamp returns the timestamp to which those of the records are relative, in milliseconds since the Unix
// epoch.
func (v View) FirstTimestamp() int64 { return int64(binary.BigEndian.Uint64(v[firstTimestampAt:])) }

// MaxTimestamp returns the largest timestamp of the records in milliseconds since the Unix epoch, or -1 if there is
// none. Before the engine has appended the batch, it is the producer's word.
func (v View) MaxTimestamp() int64 { return int64(binary.BigEndian.Uint64(v[maxTimestampAt:])) }

// ProducerID returns the id of the idempotent producer, or NoProducer if the batch has none.
func (v View) ProducerID() int64 { return int64(binary.BigEndian.Uint64(v[producerIDAt:])) }

// ProducerEpoch returns the epoch of the producer, by which older instances with the same id are fenced. It is -1 if
// the batch has no producer.
func (v View) ProducerEpoch() int16 { return int16(binary.BigEndian.Uint16(v[producerEpochAt:])) }

// BaseSequence returns the sequence number that the producer gave to the first record. It is -1 if the batch has no
// producer.
func (v View) BaseSequence() int32 { return int32(binary.BigEndian.Uint32(v[baseSequenceAt:])) }

// LastSequence returns the sequence number of the last record, or -1 if the batch has no sequence numbers. The sequence
// number after math.MaxInt32 is 0.
func (v View) LastSequence() int32 {
	base := v.BaseSequence()
	if base < 0 {
		return -1
	}
	return int32((int64(base) + int64(v.LastOffsetDelta())) & math.MaxInt32)
}

// Count returns the number of records that the header states.
func (v View) Count() int32 { return int32(binary.BigEndian.Uint32(v[countAt:])) }

// Payload returns the bytes after the header, which are the records. They are compressed unless Codec is None.
func (v View) Payload() []byte { return v[HeaderBytes:] }
