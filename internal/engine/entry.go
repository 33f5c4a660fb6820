package engine

import (
	"encoding/binary"
	"fmt"

	"tidings.dev/internal/batch"
	"tidings.dev/internal/journal"
	"tidings.dev/internal/meta"
)

// The kinds of journal entries. The numbers are stored: never reuse one.
const (
	kindBatches     journal.Kind = 1 // record batches of one partition, with their offsets
	kindChange      journal.Kind = 2 // a change of the catalogue: meta.Change
	kindGroup       journal.Kind = 3 // a record of the group coordinator
	kindProducerIDs journal.Kind = 4 // a block of producer ids: txn.Block
	kindLogStart    journal.Kind = 5 // retention has moved a partition's start
	kindEpoch       journal.Kind = 6 // the leader epoch of every partition there is
	kindBarrier     journal.Kind = 7 // nothing; its durability says that of all before it
	kindReserved    journal.Kind = 8 // offsets of a partition in memory mode that are taken, whatever becomes of them
)

// The payload of kindBatches, big-endian; the batches follow, whole, with offsets and epoch as they are served:
//
//	0                16          20                     28
//	+----------------+-----------+----------------------+-----------------
//	| topic id       | partition | appended at, i64 ms  | record batches
//	|                | u32       | by the broker's clock|
//	+----------------+-----------+----------------------+-----------------
//
// The broker's clock dates the state of idempotent producers (trap 5 of KAFKA.md), which record timestamps must not.
const batchesHead = 16 + 4 + 8

func putBatchesHead(b *[batchesHead]byte, p Partition, atMS int64) {
	copy(b[:], p.Topic[:])
	binary.BigEndian.PutUint32(b[16:], uint32(p.Index))
	binary.BigEndian.PutUint64(b[20:], uint64(atMS))
}

func parseBatches(b []byte) (p Partition, atMS int64, records []byte, err error) {
	if len(b) < batchesHead+batch.HeaderBytes {
		return p, 0, nil, fmt.Errorf("engine: journal entry of batches has only %d bytes", len(b))
	}
	copy(p.Topic[:], b)
	p.Index = int32(binary.BigEndian.Uint32(b[16:]))
	return p, int64(binary.BigEndian.Uint64(b[20:])), b[batchesHead:], nil
}

// The payload of kindLogStart, and of kindReserved with the end of what is reserved, big-endian:
//
//	0                16          20            28
//	+----------------+-----------+-------------+
//	| topic id       | partition | start, i64  |
//	+----------------+-----------+-------------+
const logStartSize = 16 + 4 + 8

func encodeLogStart(p Partition, start int64) []byte {
	b := make([]byte, 0, logStartSize)
	b = append(b, p.Topic[:]...)
	b = binary.BigEndian.AppendUint32(b, uint32(p.Index))
	return binary.BigEndian.AppendUint64(b, uint64(start))
}

func parseLogStart(b []byte) (p Partition, start int64, err error) {
	if len(b) != logStartSize {
		return p, 0, fmt.Errorf("engine: journal entry of a log start has %d bytes, not %d", len(b), logStartSize)
	}
	p.Topic = meta.TopicID(b[:16])
	p.Index = int32(binary.BigEndian.Uint32(b[16:]))
	return p, int64(binary.BigEndian.Uint64(b[20:])), nil
}

// The payload of kindEpoch is the epoch, i32 big-endian.
const epochSize = 4

func encodeEpoch(epoch int32) []byte { return binary.BigEndian.AppendUint32(nil, uint32(epoch)) }

func parseEpoch(b []byte) (int32, error) {
	if len(b) != epochSize {
		return 0, fmt.Errorf("engine: journal entry of an epoch has %d bytes, not %d", len(b), epochSize)
	}
	return int32(binary.BigEndian.Uint32(b)), nil
}
