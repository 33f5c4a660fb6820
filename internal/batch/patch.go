package batch

import (
	"encoding/binary"
	"hash/crc32"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Checksum is the CRC that the batch's bytes should carry.
func (v View) Checksum() uint32 { return crc32.Checksum(v[attributesAt:], castagnoli) }

// SetBaseOffset gives the batch its place in the log, in place. The CRC doesn't cover it.
func (v View) SetBaseOffset(offset int64) {
	binary.BigEndian.PutUint64(v[baseOffsetAt:], uint64(offset))
}

// SetLeaderEpoch stamps the epoch of the append, in place. The CRC doesn't cover it.
func (v View) SetLeaderEpoch(epoch int32) {
	binary.BigEndian.PutUint32(v[leaderEpochAt:], uint32(epoch))
}

// SetLogAppendTime gives all records the time of their append, in ms since the epoch, in place: attributes and max
// timestamp change, and the CRC is made anew, which reads the whole batch.
func (v View) SetLogAppendTime(ms int64) {
	binary.BigEndian.PutUint16(v[attributesAt:], uint16(v.Attributes())|logAppendTimeFlag)
	binary.BigEndian.PutUint64(v[maxTimestampAt:], uint64(ms))
	binary.BigEndian.PutUint32(v[crcAt:], v.Checksum())
}
