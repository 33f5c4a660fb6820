package datadir

import (
	"encoding/binary"
	"fmt"
	"time"

	"tidings.dev/internal/batch"
	"tidings.dev/internal/journal"
	"tidings.dev/internal/meta"
	"tidings.dev/internal/txn"
)

// The kinds of journal entries. The numbers are stored and must not be used again for other kinds.
const (
	KindBatches     journal.Kind = 1  // record batches of one partition, with their offsets
	KindChange      journal.Kind = 2  // a change of the catalogue: meta.Change
	KindGroup       journal.Kind = 3  // a record of group.Coordinator
	KindProducerIDs journal.Kind = 4  // a block of producer ids: txn.Block
	KindLogStart    journal.Kind = 5  // a new first offset of a partition, after retention or DeleteRecords
	KindEpoch       journal.Kind = 6  // a leader epoch for every existing partition
	KindBarrier     journal.Kind = 7  // empty; when it is durable, everything that was journaled before it is durable
	KindReserved    journal.Kind = 8  // the end of the offsets that are reserved for a partition in memory mode
	KindTransaction journal.Kind = 9  // a record of txn.Coordinator: a transactional id
	KindEnd         journal.Kind = 10 // the end of a transaction: records of both coordinators, and transaction markers
)

// The payload of KindBatches has a head with big-endian numbers. The batches follow it, whole, with their final offsets
// and leader epochs:
//
//	0                16          20                     28
//	+----------------+-----------+----------------------+-----------------
//	| topic id       | partition | appended at, i64 ms  | record batches
//	|                | u32       | by the broker's clock|
//	+----------------+-----------+----------------------+-----------------
//
// The time is needed for the state of idempotent producers, whose age must not depend on the timestamps of records
// (trap 5 of docs/kafka-traps.md).

// BatchesHeadSize is the length in bytes of the head in a payload of KindBatches.
const BatchesHeadSize = 16 + 4 + 8

// PutBatchesHead writes the head of a payload of KindBatches to b. appendedAtMS is the time of the append by the
// broker's clock, in milliseconds since the Unix epoch.
func PutBatchesHead(b *[BatchesHeadSize]byte, p Partition, appendedAtMS int64) {
	copy(b[:], p.Topic[:])
	binary.BigEndian.PutUint32(b[16:], uint32(p.Index))
	binary.BigEndian.PutUint64(b[20:], uint64(appendedAtMS))
}

// ParseBatches parses a payload of KindBatches. records is a part of b. It is not checked, except that it is at least
// as long as the header of a batch.
func ParseBatches(b []byte) (p Partition, appendedAtMS int64, records []byte, err error) {
	if len(b) < BatchesHeadSize+batch.HeaderBytes {
		return p, 0, nil, fmt.Errorf("engine: journal entry of batches has only %d bytes", len(b))
	}
	copy(p.Topic[:], b)
	p.Index = int32(binary.BigEndian.Uint32(b[16:]))
	return p, int64(binary.BigEndian.Uint64(b[20:])), b[BatchesHeadSize:], nil
}

// The payload of KindLogStart and of KindReserved, big-endian:
//
//	0                16          20            28
//	+----------------+-----------+-------------+
//	| topic id       | partition | offset, i64 |
//	+----------------+-----------+-------------+
const partitionOffsetSize = 16 + 4 + 8

// EncodePartitionOffset returns the payload of KindLogStart for a new first offset, or of KindReserved for the end of the
// reserved offsets.
func EncodePartitionOffset(p Partition, offset int64) []byte {
	b := make([]byte, 0, partitionOffsetSize)
	b = append(b, p.Topic[:]...)
	b = binary.BigEndian.AppendUint32(b, uint32(p.Index))
	return binary.BigEndian.AppendUint64(b, uint64(offset))
}

// ParsePartitionOffset parses a payload of KindLogStart or KindReserved.
func ParsePartitionOffset(b []byte) (p Partition, offset int64, err error) {
	if len(b) != partitionOffsetSize {
		return p, 0, fmt.Errorf("engine: journal entry of a log start has %d bytes, not %d", len(b), partitionOffsetSize)
	}
	p.Topic = meta.TopicID(b[:16])
	p.Index = int32(binary.BigEndian.Uint32(b[16:]))
	return p, int64(binary.BigEndian.Uint64(b[20:])), nil
}

// epochSize is the length in bytes of the payload of KindEpoch, which is the epoch as a big-endian i32.
const epochSize = 4

// EncodeEpoch returns the payload of KindEpoch.
func EncodeEpoch(epoch int32) []byte { return binary.BigEndian.AppendUint32(nil, uint32(epoch)) }

// ParseEpoch parses a payload of KindEpoch.
func ParseEpoch(b []byte) (int32, error) {
	if len(b) != epochSize {
		return 0, fmt.Errorf("engine: journal entry of an epoch has %d bytes, not %d", len(b), epochSize)
	}
	return int32(binary.BigEndian.Uint32(b)), nil
}

// SkippedProducerIDs is the number of producer ids that are skipped in a backup, and in a log whose journal has lost
// entries, if the clock is behind the ids that are reserved. It is larger than the number of ids that the original will
// give while clients may still use ids of both.
const SkippedProducerIDs = 1 << 20

// EncodeSkippedProducerIDs returns the payload of a KindProducerIDs entry that skips the ids that the original may have
// given by now after those that are reserved. These are the ones that the clock stands for (ADR 41); those that the clock has yet
// to come to are left, since by these it tells the ids of several copies apart. If it is behind, SkippedProducerIDs ids
// are skipped. reserved is a result of txn.IDs.Snapshot. An error means that reserved cannot be decoded.
func EncodeSkippedProducerIDs(reserved []byte, now time.Time) ([]byte, error) {
	var ids txn.IDs
	if err := ids.Load(reserved); err != nil {
		return nil, err
	}
	last, block := ids.Reserve(time.Time{}), ids.Reserve(now)
	if block.First == last.End() {
		block.First += SkippedProducerIDs
	}
	return block.Encode(), nil
}
