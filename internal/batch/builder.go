package batch

import (
	"encoding/binary"
)

// Builder makes uncompressed batches. The zero value is ready for use and makes a batch with the base offset 0 and
// without a producer. It is not safe for concurrent use.
type Builder struct {
	buf         []byte
	count       int32
	first, last int64 // timestamp of the first record, and the largest timestamp, in milliseconds since the Unix epoch
	base        int64
	producer    bool
	id          int64
	epoch       int16
	sequence    int32
	flags       int16
	leaderEpoch int32
}

// Reset begins a new batch at baseOffset, without a producer and without flags. A batch that Batch has returned stays
// valid, because its memory is not reused.
func (b *Builder) Reset(baseOffset int64) { *b = Builder{base: baseOffset} }

// Producer sets the idempotent producer of the batch and the sequence number of its first record.
func (b *Builder) Producer(id int64, epoch int16, baseSequence int32) {
	b.producer, b.id, b.epoch, b.sequence = true, id, epoch, baseSequence
}

// Transactional marks the batch as part of its producer's transaction. If control is true, it also marks it as a control batch,
// whose record ends the transaction.
func (b *Builder) Transactional(control bool) {
	b.flags |= transactionalFlag
	if control {
		b.flags |= controlFlag
	}
}

// LeaderEpoch sets the partition leader epoch of the batch. Without this call it is 0.
func (b *Builder) LeaderEpoch(epoch int32) { b.leaderEpoch = epoch }

// Count returns the number of records added since Reset.
func (b *Builder) Count() int { return int(b.count) }

// Add adds a record. timestamp is in milliseconds since the Unix epoch. A nil key or value is null. Add copies its
// arguments.
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

// Batch finishes the batch and returns it. The result belongs to the caller. Reset must be called before the next Add.
// Batch panics if no record was added.
func (b *Builder) Batch() View {
	if b.count == 0 {
		panic("batch: Batch of an empty Builder")
	}
	v := View(b.buf)
	b.buf = nil
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
	v.seal()
	return v
}

// varintBytes returns the length in bytes of x as a zigzag varint.
func varintBytes(x int64) int {
	n := 1
	for u := uint64(x<<1) ^ uint64(x>>63); u >= 0x80; u >>= 7 {
		n++
	}
	return n
}

// fieldBytes returns the number of bytes that appendField appends for b.
func fieldBytes(b []byte) int {
	if b == nil {
		return 1
	}
	return varintBytes(int64(len(b))) + len(b)
}

// appendField appends the length of a key or value, and then the key or value itself. A nil b is null.
func appendField(dst, b []byte) []byte {
	if b == nil {
		return binary.AppendVarint(dst, -1)
	}
	return append(binary.AppendVarint(dst, int64(len(b))), b...)
}
