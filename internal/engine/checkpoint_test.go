package engine

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"testing"

	"tidings.dev/internal/batch"
	"tidings.dev/internal/faults"
	"tidings.dev/internal/meta"
	"tidings.dev/internal/partition"
)

func sampleCheckpoint() *checkpoint {
	return &checkpoint{
		sequence: 7, boundary: 12345, epoch: 2, cluster: [16]byte{1, 2, 3}, ids: []byte("ids"), catalogue: []byte("catalogue"),
		parts: []partCheckpoint{
			{id: Partition{meta.TopicID{9}, 0}, producersAt: 100, state: partition.State{End: 100}, producers: []byte("producers")},
			{id: Partition{meta.TopicID{9}, 1}},
		},
	}
}

// Case: a checkpoint comes back as it was, and with any byte changed, or cut anywhere, it is refused by name.
func TestCheckpointEncoding(t *testing.T) {
	whole := sampleCheckpoint().encode()
	c, err := decodeCheckpoint("checkpoint-7", whole)
	if err != nil {
		t.Fatal(err)
	}
	if again := c.encode(); !bytes.Equal(again, whole) {
		t.Errorf("%x came back as %x", whole, again)
	}
	refused := func(b []byte, what string, at int) {
		t.Helper()
		_, err := decodeCheckpoint("checkpoint-7", b)
		if ce, ok := errors.AsType[*CheckpointError](err); !ok || ce.File != "checkpoint-7" {
			t.Errorf("%s at byte %d: %v", what, at, err)
		}
	}
	for i := range whole {
		flipped := bytes.Clone(whole)
		flipped[i] ^= 0x10
		refused(flipped, "flipped", i)
		refused(whole[:i], "cut", i)
	}
}

// Whatever the bytes, they are an error or a value that encodes to them again, and never a panic; and they take time and
// memory in proportion to their number.
func FuzzDecode(f *testing.F) {
	f.Add(sampleCheckpoint().encode())
	f.Add(encodeLogStart(Partition{meta.TopicID{1}, 2}, 3))
	f.Add(encodeEpoch(4))
	f.Add(append(make([]byte, batchesHead), newBatch(7, 0, "a")...))
	decode := func(t *testing.T, b []byte) {
		if c, err := decodeCheckpoint("f", b); err == nil && len(c.encode()) > 2*len(b)+64 {
			t.Errorf("%d bytes became %d", len(b), len(c.encode()))
		}
		if p, start, err := parseLogStart(b); err == nil && !bytes.Equal(encodeLogStart(p, start), b) {
			t.Error("log start")
		}
		if epoch, err := parseEpoch(b); err == nil && !bytes.Equal(encodeEpoch(epoch), b) {
			t.Error("epoch")
		}
		if _, _, records, err := parseBatches(b); err == nil {
			for v, err := range batch.Split(records) {
				if err == nil {
					v.NextOffset()
				}
			}
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		faults.Bound(t, len(b), 256<<10, 512, func() { decode(t, b) })
		if len(b) >= checkpointHead+crcSize { // and behind a checksum that holds
			body := bytes.Clone(b[:len(b)-crcSize])
			copy(body, checkpointMagic)
			sealed := binary.BigEndian.AppendUint32(body, crc32.Checksum(body, castagnoli))
			faults.Bound(t, len(b), 256<<10, 512, func() { decode(t, sealed) })
		}
	})
}
