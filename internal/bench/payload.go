package bench

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
)

// payloadBytes is the size of the buffer that values are taken from. The buffer fits into a processor's cache, so
// that the cost of making records is small.
const payloadBytes = 1 << 20

// payload has the values and keys of a load, made in advance. It is not changed after newPayload returns, so all
// producers share it.
type payload struct {
	source []byte
	size   int // size of a value in bytes
	keys   [][]byte
}

// newPayload returns the payload for a load. Equal loads get equal bytes, so that all contenders are sent the same.
func newPayload(l Load) *payload {
	rng := rand.New(rand.NewPCG(1, 2))
	p := &payload{size: l.RecordBytes, source: make([]byte, payloadBytes+l.RecordBytes)}
	if l.Text {
		fillText(p.source, rng)
	} else {
		for i := 0; i+8 <= len(p.source); i += 8 {
			binary.LittleEndian.PutUint64(p.source[i:], rng.Uint64())
		}
	}
	for i := range l.Keys {
		p.keys = append(p.keys, fmt.Appendf(nil, "order/%08d", i))
	}
	return p
}

// fillText fills b with text that compresses about as well as JSON.
func fillText(b []byte, rng *rand.Rand) {
	words := []string{`"order":`, `"quantity":`, `"price_pence":`, `"country":"United Kingdom",`, `"customer":`, `"description":"`, `T-LIGHT HOLDER",`}
	var text []byte
	for len(text) < len(b) {
		text = append(text, words[rng.IntN(len(words))]...)
		text = fmt.Appendf(text, "%d,", rng.IntN(1_000_000))
	}
	copy(b, text)
}

// value returns the n-th value. The caller must not change it.
func (p *payload) value(n int) []byte {
	at := int(int64(n) * 8191 % payloadBytes) // 8191 is prime, so consecutive values differ
	return p.source[at : at+p.size : at+p.size]
}

// key returns a random key, or nil if the load has no keys. The caller must not change it.
func (p *payload) key(rng *rand.Rand) []byte {
	if len(p.keys) == 0 {
		return nil
	}
	return p.keys[rng.IntN(len(p.keys))]
}

// keyBytes returns the size of the keys in bytes, which is the same for all keys.
func (p *payload) keyBytes() int {
	if len(p.keys) == 0 {
		return 0
	}
	return len(p.keys[0])
}
