package delivery

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
)

// DeriveID gives an id that follows from its parts: the same parts give the same id in any process and at any time, and
// parts that differ, or are split differently, give another. It is 128 bits of SHA-256 in hexadecimal, over each part
// preceded by its length (8 bytes, big endian).
func DeriveID(parts ...string) string {
	h := sha256.New()
	var n [8]byte
	for _, p := range parts {
		binary.BigEndian.PutUint64(n[:], uint64(len(p)))
		h.Write(n[:])
		h.Write([]byte(p))
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}
