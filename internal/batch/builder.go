package batch

import (
	"encoding/binary"
)

// Builder makes uncompressed batches. The zero value is ready: a batch of base offset 0, without a producer. It isn't
// safe for concurrent use.
type Builder struct {
	buf         []byte
	count       int32
	first, last int64 // timestamps: of the first record, and the largest
	base        int64
	producer    bool
	id          int64
	epoch       int16
	sequence    int32
	flags       int16
	leaderEpoch int32
}

// Reset begins a new batch at baseOffset, without a producer and without flags. The batch given out before stays
// good: it isn't reused.
func (b *Builder) Reset(baseOffset int64) { *b = Builder{base: baseOffset} }

// Producer makes it a batch of an idempotent producer.
func (b *Builder) Producer(id int64, epoch int16, baseSequence int32) {
	b.producer, b.id, b.epoch, b.sequence = true, id, epoch, baseSequence
}

// Transactional marks the batch as part of its producer's transaction; control, as the record that ends it.
func (b *Builder) Transactional(control bool) {
	b.flags |= transactionalFlag
	if control {
		b.flags |= controlFlag
	}
}

// LeaderEpoch stamps the batch; 0 without it.
func (b *Builder) LeaderEpoch(epoch int32) { b.leaderEpoch = epoch }

// Count is the number of records added since Reset.
func (b *Builder) Count() int { return int(b.count) }

// Add adds a record with its time in ms since the epoch. Nil keys and values are null. Everything is copied.
func (b *Builder) Add(timestamp int64, key, value []byte, headers ...Header) {
	if b.count == 0 {
		b.buf = append(b.buf[:0], make([]byte, HeaderBytes)...)
		b.first, b.last = timestamp, timestamp
	}
	timestampDelta, offsetDelta := timestamp-b.first, int64(b.count)

	length := 1 + varintBytes(timestampDelta) + varintBytes(offsetDelta) + fieldBytes(key) + fieldBytes(value) +
		varintBytes(int64(len(headers)))
	for _, h := range headers {
		length += varintBytes(int64(len(h.Key))) + len(h.Key) + fieldBytes(h.Value)
	}
	b.buf = binary.AppendVarint(b.buf, int64(length))
	b.buf = append(b.buf, 0)
	b.buf = binary.AppendVarint(b.buf, timestampDelta)
	b.buf = binary.AppendVarint(b.buf, offsetDelta)
	b.buf = appendField(b.buf, key)
	b.buf = appendField(b.buf, value)
	b.buf = binary.AppendVarint(b.buf, int64(len(headers)))
	for _, h := range headers {
		b.buf = binary.AppendVarint(b.buf, int64(len(h.Key)))
		b.buf = append(b.buf, h.Key...)
		b.buf = appendField(b.buf, h.Value)
	}
	b.count++
	b.last = max(b.last, timestamp)
}

// Batch finishes the batch and gives it away; call Reset before the next Add. It panics without records: there is no
// empty batch to append.
func (b *Builder) Batch() View {
	if b.count == 0 {
		panic("batch: Batch of an empty Builder")
	}
	v := View(b.buf)
	b.buf = nil
	binary.BigEndian.PutUint32(v[lengthAt:], uint32(len(v)-PrefixBytes))
	v[magicAt] = Magic
	binary.BigEndian.PutUint16(v[attributesAt:], uint16(b.flags))
	binary.BigEndian.PutUint32(v[lastOffsetDeltaAt:], uint32(b.count-1))
	binary.BigEndian.PutUint64(v[firstTimestampAt:], uint64(b.first))
	binary.BigEndian.PutUint64(v[maxTimestampAt:], uint64(b.last))
	id, epoch, sequence := int64(NoProducer), int16(-1), int32(-1)
	if b.producer {
		id, epoch, sequence = b.id, b.epoch, b.sequence
	}
	binary.BigEndian.PutUint64(v[producerIDAt:], uint64(id))
	binary.BigEndian.PutUint16(v[producerEpochAt:], uint16(epoch))
	binary.BigEndian.PutUint32(v[baseSequenceAt:], uint32(sequence))
	binary.BigEndian.PutUint32(v[countAt:], uint32(b.count))
	v.SetBaseOffset(b.base)
	v.SetLeaderEpoch(b.leaderEpoch)
	binary.BigEndian.PutUint32(v[crcAt:], v.Checksum())
	return v
}

// varintBytes is the length of x as a zigzag varint.
func varintBytes(x int64) int {
	n := 1
	for u := uint64(x<<1) ^ uint64(x>>63); u >= 0x80; u >>= 7 {
		n++
	}
	return n
}

func fieldBytes(b []byte) int {
	if b == nil {
		return 1
	}
	return varintBytes(int64(len(b))) + len(b)
}

func appendField(dst, b []byte) []byte {
	if b == nil {
		return binary.AppendVarint(dst, -1)
	}
	return append(binary.AppendVarint(dst, int64(len(b))), b...)
}
