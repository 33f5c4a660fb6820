package story

import (
	"crypto/rand"
	"encoding/binary"
	"math/bits"
)

// hashSeed makes the hashes of one index file differ from those of any other, so that nobody can write events whose hashes are
// equal on purpose. It is in the bucket meta.
type hashSeed [2]uint64

const hashSeedLen = 16

// newHashSeed returns the random bytes of a seed.
func newHashSeed() []byte {
	b := make([]byte, hashSeedLen)
	rand.Read(b)
	return b
}

// parseHashSeed decodes a seed of hashSeedLen bytes.
func parseHashSeed(b []byte) hashSeed {
	return hashSeed{binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:])}
}

// text returns the hash of a text of some kind.
func (s hashSeed) text(kind byte, text string) uint64 {
	h := mix(s[0]^uint64(kind), s[1]^uint64(len(text)))
	for ; len(text) > 8; text = text[8:] {
		h = mix(word(text)^s[0], h^s[1])
	}
	return mix(word(text)^s[1], h^s[0])
}

// event returns the hash of an event from that of its id, the upper half of which it shares.
func (s hashSeed) event(id uint64, source, typ nameNum) uint64 {
	return id&^eventHashMask | mix(id^s[0], s[1]^uint64(source)<<32^uint64(typ))&eventHashMask
}

// surplus returns the hash that leads somewhere if further records of an event in a partition are a surplusCopy, from the hash of the
// event.
func (s hashSeed) surplus(event uint64, p partition) uint64 {
	return mix(event^s[1], s[0]^uint64(p.topic)<<32^uint64(uint32(p.partition)))
}

// eventHashMask has the bits of the hash of an event that depend on its source and type as well as on its id.
const eventHashMask = 1<<32 - 1

// The kinds of texts that have hashes.
const (
	hashEvent       = 'e'
	hashCorrelation = 'c'
	hashTrace       = 't'
)

// mix returns both halves of the product of two numbers, one xor the other.
func mix(a, b uint64) uint64 {
	const odd1, odd2 = 0xa0761d6478bd642f, 0xe7037ed1a0b428db
	hi, lo := bits.Mul64(a^odd1, b^odd2)
	return hi ^ lo
}

// word returns the first bytes of a text, 8 at most, as a number.
func word(text string) (w uint64) {
	if len(text) >= 8 {
		return uint64(text[0]) | uint64(text[1])<<8 | uint64(text[2])<<16 | uint64(text[3])<<24 |
			uint64(text[4])<<32 | uint64(text[5])<<40 | uint64(text[6])<<48 | uint64(text[7])<<56
	}
	for i := range len(text) {
		w |= uint64(text[i]) << (8 * i)
	}
	return w
}
