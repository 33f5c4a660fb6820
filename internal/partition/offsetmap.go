package partition

import (
	"crypto/sha256"
	"encoding/binary"
)

// offsetMap maps keys to the offsets of their last records. Its memory is allocated at the beginning and does not grow:
// it is a hash table with open addressing, in which a key is represented by the first 16 bytes of its SHA-256. A client
// cannot construct two keys with the same SHA-256, by which it could make compaction remove a record of one key because
// of the other. (Kafka uses MD5, for which such pairs of keys can be constructed.)
//
//	0                16            24
//	+----------------+-------------+
//	| hash of the key| offset + 1  |   0: the slot is free
//	+----------------+-------------+
type offsetMap struct {
	table []byte
	slots uint64
	used  int // number of keys in the table
	limit int // largest value of used: three quarters of slots, so that searches stay short
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

// newOffsetMap returns an empty map with space for the given number of keys, or for as many as fit maxBytes, at least
// one.
func newOffsetMap(keys int64, maxBytes int) *offsetMap {
	const fewest = 4
	slots := max(min(keys/3*4+fewest, int64(maxBytes)/slotBytes), fewest)
	return &offsetMap{table: make([]byte, slots*slotBytes), slots: uint64(slots), limit: int(slots / 4 * 3)}
}

// slot returns the slot that has the key with the hash h, or the free slot to which the key must be added.
func (m *offsetMap) slot(h keyHash) []byte {
	for i := binary.BigEndian.Uint64(h[:]) % m.slots; ; i = (i + 1) % m.slots {
		s := m.table[i*slotBytes : (i+1)*slotBytes]
		if binary.BigEndian.Uint64(s[keyHashBytes:]) == 0 || keyHash(s[:keyHashBytes]) == h {
			return s
		}
	}
}

// put sets the last offset of a key. It returns false if the map does not have the key and is full.
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

// latest returns the offset of the last record of a key, or -1 if the map does not have the key.
func (m *offsetMap) latest(key []byte) int64 {
	return int64(binary.BigEndian.Uint64(m.slot(hashKey(key))[keyHashBytes:])) - 1
}
