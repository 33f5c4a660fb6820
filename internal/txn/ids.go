package txn

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"
)

// BlockSize is the number of producer ids that one journal entry reserves. Ids of a block that are not used before a
// restart are never used.
const BlockSize = 1000

// Block is the range [First, First+BlockSize) of producer ids.
type Block struct{ First int64 }

// End returns the first id after the block.
func (b Block) End() int64 { return b.First + BlockSize }

// IDs allocates producer ids. It allocates only from blocks whose reservation is durable (docs/kafka-traps.md, trap 7).
// Otherwise, after a crash, two producers could get the same id, and records of one would be dropped as duplicates of
// the other's.
//
// The zero value begins at id 0 and has no block. An IDs is not safe for concurrent use.
type IDs struct {
	free     []idRange // ids that are durably reserved and not allocated, in order of Grant
	reserved int64     // every id below it belongs to a block that was reserved
}

// idRange is the range [next, end) of producer ids.
type idRange struct{ next, end int64 }

// Next allocates an id. It returns false if no ids are free; the caller then calls Reserve, makes the block durable,
// calls Grant, and calls Next again.
func (a *IDs) Next() (int64, bool) {
	if len(a.free) == 0 {
		return 0, false
	}
	s := &a.free[0]
	id := s.next
	if s.next++; s.next == s.end {
		a.free = a.free[1:]
	}
	return id, true
}

// idsBegin is the moment from which on producer ids count microseconds.
var idsBegin = time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC)

// maxTimeID is the largest first id of a block that is taken from the clock, which is that of the year 2168. A clock that has gone wrong
// leaves as many ids again that a client can hold in a float64.
const maxTimeID = 1 << 52

// Reserve returns the next block. It begins at the number of microseconds from idsBegin to now, so that IDs that go on from copies of one
// state do not give the same ids (ADR 41), or at the first id that is not reserved if that is higher. The zero Time means the
// latter.
//
// The caller appends the block's encoding to the journal, and calls Grant when it is durable; it may reserve further
// blocks meanwhile. The ids of a block that is never granted are not used.
func (a *IDs) Reserve(now time.Time) Block {
	b := Block{First: max(a.reserved, min(now.UnixMicro()-idsBegin.UnixMicro(), maxTimeID))}
	a.reserved = b.End()
	return b
}

// Grant makes the ids of a block available to Next. The caller must have made the block durable.
func (a *IDs) Grant(b Block) {
	a.Replay(b)
	a.free = append(a.free, idRange{b.First, b.End()})
}

// Replay records a block that recovery has found in the journal. Its ids may be in use, so Next returns none of them.
func (a *IDs) Replay(b Block) { a.reserved = max(a.reserved, b.End()) }

// Encoding of a block in the journal, 9 bytes:
//
//	0       1                               9
//	+-------+-------------------------------+
//	| ver 1 | first id, i64 big endian      |
//	+-------+-------------------------------+
//
// A snapshot of an IDs has the same encoding, with the first id that is not reserved.
const (
	idsVersion = 1
	idsSize    = 9
)

// Encode returns the encoding of the block for the journal.
func (b Block) Encode() []byte { return encodeID(b.First) }

// DecodeBlock returns the block that Encode has encoded. Errors match ErrCorruptRecord.
func DecodeBlock(p []byte) (Block, error) {
	first, err := decodeID(p)
	return Block{First: first}, err
}

// Snapshot returns the encoded state, for a checkpoint. It includes blocks that are reserved and not yet durable, so
// that the checkpoint is correct whether or not these blocks are found in the journal.
func (a *IDs) Snapshot() []byte { return encodeID(a.reserved) }

// Load restores a Snapshot into a zero IDs. Errors match ErrCorruptRecord.
func (a *IDs) Load(p []byte) error {
	reserved, err := decodeID(p)
	if err != nil {
		return err
	}
	*a = IDs{reserved: reserved}
	return nil
}

func encodeID(id int64) []byte {
	p := make([]byte, idsSize)
	p[0] = idsVersion
	binary.BigEndian.PutUint64(p[1:], uint64(id))
	return p
}

func decodeID(p []byte) (int64, error) {
	if len(p) != idsSize || p[0] != idsVersion {
		return 0, fmt.Errorf("%w: producer id block of %d bytes", ErrCorruptRecord, len(p))
	}
	id := binary.BigEndian.Uint64(p[1:])
	if id > math.MaxInt64-BlockSize {
		return 0, fmt.Errorf("%w: producer id block at %d", ErrCorruptRecord, id)
	}
	return int64(id), nil
}
