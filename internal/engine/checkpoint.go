package engine

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"tidings.dev/internal/journal"
	"tidings.dev/internal/meta"
	"tidings.dev/internal/partition"
)

// A checkpoint is one file, big-endian (docs/format/checkpoint.md):
//
//	0              8               16              24          28               44
//	+--------------+---------------+---------------+-----------+----------------+
//	| "TIDCKPT" 1  | sequence u64  | boundary LSN  | epoch i32 | cluster id, 16 |
//	+--------------+---------------+---------------+-----------+----------------+
//	then sections, each u32 length | bytes: producer ids, catalogue, groups
//	then u32 count of partitions, each:
//	+--------------+---------------+-------------------+----------------+-----------------------+
//	| topic id, 16 | partition u32 | producers at, i64 | section: State | section: txn.Producers|
//	+--------------+---------------+-------------------+----------------+-----------------------+
//	then u32 CRC32C of everything before it
//
// Every journal entry up to the boundary is contained in it and in the segments that the States describe.
const (
	checkpointMagic = "TIDCKPT\x01"
	checkpointHead  = 8 + 8 + 8 + 4 + 16
	crcSize         = 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checkpoint is a checkpoint's content. The zero value is that of an empty directory.
type checkpoint struct {
	sequence  uint64
	boundary  journal.LSN
	epoch     int32
	cluster   [16]byte
	ids       []byte
	catalogue []byte
	groups    []byte
	parts     []partCheckpoint
}

// partCheckpoint is one partition in a checkpoint. producersAt is the offset up to which the producer state goes.
type partCheckpoint struct {
	id          Partition
	producersAt int64
	state       partition.State
	producers   []byte
}

func (c *checkpoint) encode() []byte {
	be := binary.BigEndian
	b := make([]byte, 0, checkpointHead+len(c.ids)+len(c.catalogue)+len(c.groups)+64*len(c.parts)+64)
	section := func(p []byte) { b = append(be.AppendUint32(b, uint32(len(p))), p...) }
	b = append(b, checkpointMagic...)
	b = be.AppendUint64(b, c.sequence)
	b = be.AppendUint64(b, uint64(c.boundary))
	b = be.AppendUint32(b, uint32(c.epoch))
	b = append(b, c.cluster[:]...)
	section(c.ids)
	section(c.catalogue)
	section(c.groups)
	b = be.AppendUint32(b, uint32(len(c.parts)))
	for _, p := range c.parts {
		b = append(b, p.id.Topic[:]...)
		b = be.AppendUint32(b, uint32(p.id.Index))
		b = be.AppendUint64(b, uint64(p.producersAt))
		section(p.state.AppendTo(nil))
		section(p.producers)
	}
	return be.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// decodeCheckpoint reads a checkpoint; the error is a *CheckpointError that names file.
func decodeCheckpoint(file string, b []byte) (*checkpoint, error) {
	damaged := func(reason string, err error) (*checkpoint, error) {
		return nil, &CheckpointError{File: file, Reason: reason, Err: err}
	}
	be := binary.BigEndian
	if len(b) < checkpointHead+crcSize {
		return damaged(fmt.Sprintf("it has only %d bytes", len(b)), nil)
	}
	body, crc := b[:len(b)-crcSize], be.Uint32(b[len(b)-crcSize:])
	if crc32.Checksum(body, castagnoli) != crc {
		return damaged("its checksum does not hold", nil)
	}
	if string(b[:8]) != checkpointMagic {
		return damaged(fmt.Sprintf("it begins with %q: another version wrote it", b[:8]), nil)
	}
	c := &checkpoint{
		sequence: be.Uint64(b[8:]),
		boundary: journal.LSN(be.Uint64(b[16:])),
		epoch:    int32(be.Uint32(b[24:])),
		cluster:  [16]byte(b[28:44]),
	}
	d := sections{b: body[checkpointHead:]}
	c.ids, c.catalogue, c.groups = d.section(), d.section(), d.section()
	for n := d.uint32(); n > 0 && !d.short; n-- {
		p := partCheckpoint{id: Partition{Topic: meta.TopicID(d.take(16)), Index: int32(d.uint32())}}
		p.producersAt = int64(be.Uint64(d.take(8)))
		state := d.section()
		p.producers = d.section()
		if d.short {
			break
		}
		var err error
		if p.state, _, err = partition.DecodeState(state); err != nil {
			return damaged(fmt.Sprintf("partition %s/%d", p.id.Topic, p.id.Index), err)
		}
		c.parts = append(c.parts, p)
	}
	if d.short || len(d.b) > 0 {
		return damaged("its sections do not fit its length", nil)
	}
	return c, nil
}

// sections reads the parts of a checkpoint; past the end it gives zeros and says so in short.
type sections struct {
	b     []byte
	short bool
}

func (d *sections) take(n int) []byte {
	if n > len(d.b) {
		d.short, d.b = true, nil
		return make([]byte, min(n, 16))
	}
	p := d.b[:n]
	d.b = d.b[n:]
	return p
}

func (d *sections) uint32() uint32 { return binary.BigEndian.Uint32(d.take(4)) }

func (d *sections) section() []byte { return d.take(int(d.uint32())) }
