package journal

import (
	"bytes"
	"hash/crc32"
	"math/rand/v2"
	"slices"
	"testing"
)

func randomBytes(rng *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

// The checksum of two runs, joined, is what their own checksums say, whatever their lengths.
func TestCombine(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{0, 1, 2, 3, 7, 8, 100, 511, 512, 4096, 65535, 1 << 20, 3_000_001} {
		first, second := randomBytes(rng, rng.IntN(1000)), randomBytes(rng, n)
		want := crc32.Checksum(slices.Concat(first, second), castagnoli)
		if got := combine(crc32.Checksum(first, castagnoli), crc32.Checksum(second, castagnoli), uint32(n)); got != want {
			t.Errorf("%d bytes behind %d: %08x, want %08x", n, len(first), got, want)
		}
	}
	// Zeros need no memory: 1 GiB of them, the most that an entry has, one by one and by doubling.
	zeros, want := make([]byte, 1<<20), uint32(0)
	for range MaxEntryBytes / len(zeros) {
		want = crc32.Update(want, castagnoli, zeros)
	}
	got := crc32.Checksum(zeros, castagnoli)
	for length := uint32(len(zeros)); length < MaxEntryBytes; length *= 2 {
		got = combine(got, got, length)
	}
	if got != want {
		t.Errorf("1 GiB of zeros: %08x, want %08x", got, want)
	}
}

// A frame is the same bytes whether its payloads are gathered, kept where they are, or come with a checksum; and sealing
// it again, for another file, changes nothing but what the header says.
func TestFrameInParts(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	var f outFrame
	for round := range 40 {
		var body []byte
		f.begin()
		entries := 1 + rng.IntN(4)
		for range entries {
			e := Entry{Kind: Kind(rng.IntN(9))}
			for range rng.IntN(4) {
				sizes := []int{0, 1, 28, largePayloadBytes - 1, largePayloadBytes, combineBytes + 21, 100_000}
				e.Payload = append(e.Payload, randomBytes(rng, sizes[rng.IntN(len(sizes))]))
			}
			joined := slices.Concat(e.Payload...)
			if n := len(e.Payload); n > 0 && len(e.Payload[n-1]) > 21 && rng.IntN(2) == 0 {
				e.CRCBytes = len(e.Payload[n-1]) - 21
				e.CRC = crc32.Checksum(e.Payload[n-1][21:], castagnoli)
			}
			f.add(&e, len(joined))
			body = append(body, byte(e.Kind), byte(len(joined)>>24), byte(len(joined)>>16), byte(len(joined)>>8), byte(len(joined)))
			body = append(body, joined...)
		}
		for range 2 {
			h := header{generation: rng.Uint64(), first: LSN(rng.Uint64()), durable: LSN(rng.Uint64()), count: uint32(entries), fileSectors: rng.Uint32()}
			frame := slices.Concat(f.seal(h)...)
			if int64(len(frame)) != f.sizeBytes() || len(frame)%frameAlign != 0 {
				t.Fatalf("round %d: %d bytes, it said %d", round, len(frame), f.sizeBytes())
			}
			h.lengthBytes = uint32(len(body))
			if got := parseHeader(frame); got != h || !looksLikeFrame(frame) {
				t.Fatalf("round %d: header %+v, want %+v", round, got, h)
			}
			if !bytes.Equal(frame[headerBytes:headerBytes+len(body)], body) {
				t.Fatalf("round %d: other entries", round)
			}
			if len(bytes.Trim(frame[headerBytes+len(body):], "\x00")) > 0 {
				t.Fatalf("round %d: padded with something", round)
			}
			if frameChecksum(frame) != checksumIn(frame) {
				t.Fatalf("round %d: checksum %08x, want %08x", round, checksumIn(frame), frameChecksum(frame))
			}
		}
	}
}
