package datadir

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"slices"
	"testing"
	"time"

	"tidings.dev/internal/batch"
	"tidings.dev/internal/faults"
	"tidings.dev/internal/meta"
	"tidings.dev/internal/partition"
	"tidings.dev/internal/txn"
)

func sampleCheckpoint() *Checkpoint {
	return &Checkpoint{
		Sequence: 7, Boundary: 12345, Epoch: 2, Cluster: [16]byte{1, 2, 3}, ProducerIDs: []byte("ids"), Catalogue: []byte("catalogue"),
		Partitions: []PartitionCheckpoint{
			{ID: Partition{meta.TopicID{9}, 0}, ProducersEnd: 100, State: partition.State{End: 100}, Producers: []byte("producers")},
			{ID: Partition{meta.TopicID{9}, 1}},
		},
	}
}

// Case: a checkpoint comes back as it was, and with any byte changed, or cut anywhere, it is refused by name.
func TestCheckpointEncoding(t *testing.T) {
	if b := sampleCheckpoint().Encode(); b[7] != 1 {
		t.Errorf("a checkpoint without transactional ids has version %d, which older programs cannot read", b[7])
	}
	sample := sampleCheckpoint()
	sample.Transactions = []byte("transactions")
	checkEncoding(t, sampleCheckpoint().Encode())
	checkEncoding(t, sample.Encode())
}

func checkEncoding(t *testing.T, whole []byte) {
	t.Helper()
	c, err := DecodeCheckpoint("checkpoint-7", whole)
	if err != nil {
		t.Fatal(err)
	}
	if again := c.Encode(); !bytes.Equal(again, whole) {
		t.Errorf("%x came back as %x", whole, again)
	}
	refused := func(b []byte, what string, at int) {
		t.Helper()
		_, err := DecodeCheckpoint("checkpoint-7", b)
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

func sampleEnd() End {
	m := Marker{Partition: Partition{meta.TopicID{9}, 1}, Batch: batch.AppendMarker(nil, 7, 3, true, 99)}
	return End{AtMS: 5, Record: []byte("record"), Group: []byte("group"), Markers: []Marker{m, m}}
}

// Case: the end of a transaction comes back as it was; cut anywhere it is refused, but for where another marker could begin.
func TestEndEncoding(t *testing.T) {
	end := sampleEnd()
	whole := end.Encode()
	got, err := DecodeEnd(whole)
	if err != nil || len(got.Markers) != 2 || !bytes.Equal(got.Encode(), whole) {
		t.Fatalf("%+v, %v", got, err)
	}
	end.Markers = end.Markers[:1]
	one := len(end.Encode())
	end.Markers = nil
	none := len(end.Encode())
	for i := range whole {
		if got, err := DecodeEnd(whole[:i]); err == nil && i != one && i != none {
			t.Errorf("cut at %d: %+v", i, got)
		}
	}
	whole[len(whole)-1] ^= 1
	if _, err := DecodeEnd(whole); err == nil {
		t.Error("a damaged marker is taken")
	}
	end.Markers = []Marker{{Batch: sampleBatch()}}
	if _, err := DecodeEnd(end.Encode()); err == nil {
		t.Error("a batch of records is taken for a marker")
	}
}

func sampleBatch() batch.View {
	var b batch.Builder
	b.Producer(7, 0, 0)
	b.Add(1, []byte("key"), []byte("a"))
	return b.Batch()
}

// Whatever the bytes, they are an error or a value that encodes to them again, and never a panic; and they take time and
// memory in proportion to their number.
func FuzzDecode(f *testing.F) {
	f.Add(sampleCheckpoint().Encode())
	f.Add(sampleEnd().Encode())
	f.Add(EncodePartitionOffset(Partition{meta.TopicID{1}, 2}, 3))
	f.Add(EncodeEpoch(4))
	f.Add([]byte("{\"path\":\"topics\",\"size\":0,\"dir\":true}\n{\"path\":\"FORMAT\",\"size\":10}\n"))
	f.Add(append(make([]byte, BatchesHeadSize), sampleBatch()...))
	decode := func(t *testing.T, b []byte) {
		if c, err := DecodeCheckpoint("f", b); err == nil && len(c.Encode()) > 2*len(b)+64 {
			t.Errorf("%d bytes became %d", len(b), len(c.Encode()))
		}
		if files, err := DecodeSnapshotContent(b); err == nil {
			again, err := EncodeSnapshotContent(files)
			if err != nil {
				t.Error(err)
			}
			if twice, err := DecodeSnapshotContent(again); err != nil || !slices.Equal(twice, files) {
				t.Errorf("%v came back as %v, %v", files, twice, err)
			}
		}
		if p, start, err := ParsePartitionOffset(b); err == nil && !bytes.Equal(EncodePartitionOffset(p, start), b) {
			t.Error("log start")
		}
		if end, err := DecodeEnd(b); err == nil && !bytes.Equal(end.Encode(), b) {
			t.Error("end of a transaction")
		}
		if epoch, err := ParseEpoch(b); err == nil && !bytes.Equal(EncodeEpoch(epoch), b) {
			t.Error("epoch")
		}
		if _, _, records, err := ParseBatches(b); err == nil {
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

// A copy skips the ids that the original may have given by now, and none that the clock has yet to come to, but where the clock is behind.
func TestSkippedProducerIDs(t *testing.T) {
	now := time.Date(2026, time.January, 2, 0, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		reserved time.Duration // after now
		last     int64         // first id of the skipped block
	}{
		"the clock is ahead":  {-time.Second, 86400e6},
		"the clock is behind": {time.Hour, 86400e6 + 3600e6 + 2*txn.BlockSize + SkippedProducerIDs},
	} {
		var ids txn.IDs
		ids.Reserve(now.Add(c.reserved))
		payload, err := EncodeSkippedProducerIDs(ids.Snapshot(), now)
		if err != nil {
			t.Fatal(err)
		}
		if block, err := txn.DecodeBlock(payload); err != nil || block.First != c.last {
			t.Errorf("%s: %v, %v; want %d", name, block, err, c.last)
		}
	}
}
