package batch

import (
	"encoding/binary"
	"hash/crc32"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Checksum returns the CRC-32C computed from the batch's bytes. It equals CRC if the batch is undamaged.
func (v View) Checksum() uint32 { return crc32.Checksum(v[attributesAt:], castagnoli) }

// SetBaseOffset sets the offset of the first record, in place. The CRC does not cover the base offset.
func (v View) SetBaseOffset(offset int64) {
	binary.BigEndian.PutUint64(v[baseOffsetAt:], uint64(offset))
}

// SetLeaderEpoch sets the partition leader epoch, in place. The CRC does not cover the leader epoch.
func (v View) SetLeaderEpoch(epoch int32) {
	binary.BigEndian.PutUint32(v[leaderEpochAt:], uint32(epoch))
}

// SetCreateTime makes the producer's timestamps those of the records, in place, and sets the largest of them, in
// milliseconds since the Unix epoch. It changes the attributes, the largest timestamp and the CRC, for which it reads
// the whole batch.
func (v View) SetCreateTime(maxTimestamp int64) {
	binary.BigEndian.PutUint16(v[attributesAt:], uint16(v.Attributes())&^logAppendTimeFlag)
	binary.BigEndian.PutUint64(v[maxTimestampAt:], uint64(maxTimestamp))
	binary.BigEndian.PutUint32(v[crcAt:], v.Checksum())
}

// SetLogAppendTime sets the timestamp of all records to ms, in milliseconds since the Unix epoch, in place. It changes
// the attributes, the largest timestamp and the CRC, for which it reads the whole batch.
func (v View) SetLogAppendTime(ms int64) {
	binary.BigEndian.PutUint16(v[attributesAt:], uint16(v.Attributes())|logAppendTimeFlag)
	binary.BigEndian.PutUint64(v[maxTimestampAt:], uint64(ms))
	binary.BigEndian.PutUint32(v[crcAt:], v.Checksum())
}
