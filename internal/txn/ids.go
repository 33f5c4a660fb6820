package txn

import (
	"encoding/binary"
	"fmt"
	"math"
)

// BlockSize is how many producer ids one journal entry reserves. A restart forgets the rest of a block.
const BlockSize = 1000

// Block is a range of producer ids [First, First+BlockSize).
type Block struct{ First int64 }

// End is the first id after the block.
func (b Block) End() int64 { return b.First + BlockSize }

// IDs hands out producer ids. An id is handed out only from a block that is durable (trap 7 of KAFKA.md): otherwise two
// producers could share one across a crash, and the second's records would be dropped as duplicates of the first's.
//
// The zero value begins at 0 and has no block. It is not safe for concurrent use.
type IDs struct {
	free     []span // durable and not handed out, in order of Grant
	reserved int64  // every id below it belongs to some block
}

type span struct{ next, end int64 }

// Next hands out one id. False: Reserve a block, make it durable, Grant it, and ask again.
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

// Reserve returns the next block, to be journaled by its Encode and then given to Grant. Several may be under way. A
// block that is never granted is lost, which costs nothing.
func (a *IDs) Reserve() Block {
	b := Block{First: a.reserved}
	a.reserved = b.End()
	return b
}

// Grant adds a block that has become durable in this run.
func (a *IDs) Grant(b Block) {
	a.Replay(b)
	a.free = append(a.free, span{b.First, b.End()})
}

// Replay takes note of a block found in the journal: its ids may have been handed out before, so none is again.
func (a *IDs) Replay(b Block) { a.reserved = max(a.reserved, b.End()) }

// A block in the journal, 9 bytes:
//
//	0       1                               9
//	+-------+-------------------------------+
//	| ver 1 | first id, i64 big endian      |
//	+-------+-------------------------------+
//
// The snapshot of the allocator is the same with the first unreserved id.
const (
	idsVersion = 1
	idsSize    = 9
)

// Encode returns the block as it is journaled.
func (b Block) Encode() []byte { return encodeID(b.First) }

// DecodeBlock reads a journaled block; the error is ErrCorruptRecord.
func DecodeBlock(p []byte) (Block, error) {
	first, err := decodeID(p)
	return Block{First: first}, err
}

// Snapshot returns the allocator for a checkpoint. Blocks reserved but not yet durable are counted in, so that it is
// right whichever of them survive.
func (a *IDs) Snapshot() []byte { return encodeID(a.reserved) }

// Load restores a Snapshot into a zero IDs; the error is ErrCorruptRecord.
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
