package partition

import (
	"crypto/sha256"
	"encoding/binary"
)

// offsetMap knows the last offset of each key, in memory that is bounded from the start: a table of slots, open
// addressing, no key stored. A key is its first 16 bytes of SHA-256, so that nobody can make two keys meet and have
// compaction take away a record of one for the other. (Kafka's is MD5, for which such pairs can be made.)
//
//	0                16            24
//	+----------------+-------------+
//	| hash of the key| offset + 1  |   0: the slot is free
//	+----------------+-------------+
type offsetMap struct {
	table []byte
	slots uint64
	used  int
	limit int // three quarters of the slots, so that chains stay short
}

const (
	keyHashBytes = 16
	slotBytes    = keyHashBytes + 8
)

type keyHash [keyHashBytes]byte

func hashKey(key []byte) keyHash {
	sum := sha256.Sum256(key)
	return keyHash(sum[:keyHashBytes])
}

// newOffsetMap has room for so many keys, or as many as fit maxBytes: at least one.
func newOffsetMap(keys int64, maxBytes int) *offsetMap {
	const fewest = 4
	slots := max(min(keys/3*4+fewest, int64(maxBytes)/slotBytes), fewest)
	return &offsetMap{table: make([]byte, slots*slotBytes), slots: uint64(slots), limit: int(slots / 4 * 3)}
}

// slot returns the key's slot, or the free one where it belongs.
func (m *offsetMap) slot(h keyHash) []byte {
	for i := binary.BigEndian.Uint64(h[:]) % m.slots; ; i = (i + 1) % m.slots {
		s := m.table[i*slotBytes : (i+1)*slotBytes]
		if binary.BigEndian.Uint64(s[keyHashBytes:]) == 0 || keyHash(s[:keyHashBytes]) == h {
			return s
		}
	}
}

// put notes a later offset of a key; false: the map is full and doesn't know the key.
func (m *offsetMap) put(key []byte, offset int64) bool {
	h := hashKey(key)
	s := m.slot(h)
	if binary.BigEndian.Uint64(s[keyHashBytes:]) == 0 {
		if m.used == m.limit {
			return false
		}
		m.used++
		copy(s, h[:])
	}
	binary.BigEndian.PutUint64(s[keyHashBytes:], uint64(offset+1))
	return true
}

// latest is the last offset of a key, -1 if it is not known.
func (m *offsetMap) latest(key []byte) int64 {
	return int64(binary.BigEndian.Uint64(m.slot(hashKey(key))[keyHashBytes:])) - 1
}
