package datadir

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"tidings.dev/internal/fields"
	"tidings.dev/internal/journal"
	"tidings.dev/internal/partition"
)

// A checkpoint is one file with big-endian numbers (docs/format/checkpoint.md):
//
//	0              8               16              24          28               44
//	+--------------+---------------+---------------+-----------+----------------+
//	| "TIDCKPT" 1  | sequence u64  | boundary LSN  | epoch i32 | cluster id, 16 |
//	+--------------+---------------+---------------+-----------+----------------+
//	then sections, each u32 length | bytes: producer ids, catalogue, groups, and in version 2 transactions
//	then u32 count of partitions, each:
//	+--------------+---------------+-------------------+----------------+-----------------------+
//	| topic id, 16 | partition u32 | producers at, i64 | section: State | section: txn.Producers|
//	+--------------+---------------+-------------------+----------------+-----------------------+
//	then u32 CRC32C of everything before it
//
// The last byte of the magic is the version. A checkpoint without transactional ids is written in version 1, which older
// programs can read.
const (
	checkpointMagic  = "TIDCKPT\x01"
	checkpointMagic2 = "TIDCKPT\x02"
	checkpointHead   = 8 + 8 + 8 + 4 + 16
	crcSize          = 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Checkpoint is the content of a checkpoint. The effects of every journal entry up to Boundary are in it or in the
// segments that the States of its partitions describe. It may also contain effects of later entries, since replaying an
// entry twice has the effect of replaying it once. The zero value is the state of an empty directory.
type Checkpoint struct {
	Sequence     uint64 // 1 for the first checkpoint of a directory; 0 only in the zero value
	Boundary     journal.LSN
	Epoch        int32 // leader epoch of the last recovery that has raised the epochs
	Cluster      [16]byte
	ProducerIDs  []byte // result of txn.IDs.Snapshot
	Catalogue    []byte // result of meta.Catalogue.Snapshot
	Groups       []byte // result of group.Coordinator.Snapshot
	Transactions []byte // result of txn.Coordinator.Snapshot; empty if there is no transactional id
	Partitions   []PartitionCheckpoint
}

// PartitionCheckpoint is the state of one partition in a checkpoint.
type PartitionCheckpoint struct {
	ID Partition
	// ProducersEnd is the offset after the last batch that Producers includes. A replay does not add batches below it
	// again.
	ProducersEnd int64
	State        partition.State
	Producers    []byte // result of txn.Producers.Encode
}

// ClusterID returns the cluster id in the form that clients get: 22 characters of unpadded URL-safe Base64.
func (c *Checkpoint) ClusterID() string { return base64.RawURLEncoding.EncodeToString(c.Cluster[:]) }

// Encode returns the content of the checkpoint's file.
func (c *Checkpoint) Encode() []byte {
	be := binary.BigEndian
	b := make([]byte, 0, checkpointHead+len(c.ProducerIDs)+len(c.Catalogue)+len(c.Groups)+len(c.Transactions)+64*len(c.Partitions)+64)
	section := func(p []byte) { b = append(be.AppendUint32(b, uint32(len(p))), p...) }
	if len(c.Transactions) == 0 {
		b = append(b, checkpointMagic...)
	} else {
		b = append(b, checkpointMagic2...)
	}
	b = be.AppendUint64(b, c.Sequence)
	b = be.AppendUint64(b, uint64(c.Boundary))
	b = be.AppendUint32(b, uint32(c.Epoch))
	b = append(b, c.Cluster[:]...)
	section(c.ProducerIDs)
	section(c.Catalogue)
	section(c.Groups)
	if len(c.Transactions) > 0 {
		section(c.Transactions)
	}
	b = be.AppendUint32(b, uint32(len(c.Partitions)))
	for _, p := range c.Partitions {
		b = append(b, p.ID.Topic[:]...)
		b = be.AppendUint32(b, uint32(p.ID.Index))
		b = be.AppendUint64(b, uint64(p.ProducersEnd))
		section(p.State.AppendTo(nil))
		section(p.Producers)
	}
	return be.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// DecodeCheckpoint parses the content of the checkpoint file with the name file. Slices in the result refer to b. b may
// contain any bytes. The error is a *CheckpointError.
func DecodeCheckpoint(file string, b []byte) (*Checkpoint, error) {
	if len(b) < checkpointHead+crcSize {
		return nil, &CheckpointError{File: file, Reason: fmt.Sprintf("it has only %d bytes", len(b))}
	}
	if !ChecksumHolds(b) {
		return nil, &CheckpointError{File: file, Reason: "its checksum does not hold"}
	}
	return decodeBody(file, b[:len(b)-crcSize])
}

// DecodeDamagedCheckpoint does what DecodeCheckpoint does but ignores the checksum. Nothing in the result may be relied
// upon.
func DecodeDamagedCheckpoint(file string, b []byte) (*Checkpoint, error) {
	if len(b) < checkpointHead+crcSize {
		return nil, &CheckpointError{File: file, Reason: fmt.Sprintf("it has only %d bytes", len(b))}
	}
	return decodeBody(file, b[:len(b)-crcSize])
}

// ChecksumHolds reports whether the checksum in the content of a checkpoint file is correct, whatever version has
// written the file.
func ChecksumHolds(b []byte) bool {
	if len(b) <= crcSize {
		return false
	}
	body, crc := b[:len(b)-crcSize], binary.BigEndian.Uint32(b[len(b)-crcSize:])
	return crc32.Checksum(body, castagnoli) == crc
}

// decodeBody parses a checkpoint without its checksum. body must have at least checkpointHead bytes.
func decodeBody(file string, body []byte) (*Checkpoint, error) {
	damaged := func(reason string, err error) (*Checkpoint, error) {
		return nil, &CheckpointError{File: file, Reason: reason, Err: err}
	}
	be := binary.BigEndian
	magic := string(body[:8])
	if magic != checkpointMagic && magic != checkpointMagic2 {
		return damaged(fmt.Sprintf("it begins with %q: another version wrote it", body[:8]), nil)
	}
	c := &Checkpoint{
		Sequence: be.Uint64(body[8:]),
		Boundary: journal.LSN(be.Uint64(body[16:])),
		Epoch:    int32(be.Uint32(body[24:])),
		Cluster:  [16]byte(body[28:44]),
	}
	r := fields.NewReader(body[checkpointHead:], nil)
	c.ProducerIDs, c.Catalogue, c.Groups = section(&r), section(&r), section(&r)
	if magic == checkpointMagic2 {
		c.Transactions = section(&r)
	}
	for n := r.Uint32(); n > 0 && r.OK(); n-- {
		var p PartitionCheckpoint
		copy(p.ID.Topic[:], r.Take(len(p.ID.Topic)))
		p.ID.Index = int32(r.Uint32())
		p.ProducersEnd = int64(r.Uint64())
		state := section(&r)
		p.Producers = section(&r)
		if !r.OK() {
			break
		}
		var err error
		if p.State, _, err = partition.DecodeState(state); err != nil {
			return damaged(fmt.Sprintf("partition %s/%d", p.ID.Topic, p.ID.Index), err)
		}
		c.Partitions = append(c.Partitions, p)
	}
	if r.End() != nil {
		return damaged("its sections do not fit its length", nil)
	}
	return c, nil
}

// section reads a part of a checkpoint that follows its length, a big-endian u32.
func section(r *fields.Reader) []byte { return r.Take(int(r.Uint32())) }
