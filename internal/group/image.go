package group

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
)

// image is the durable side: what the records in the journal amount to.
type image struct{ groups map[string]*storedGroup }

type storedGroup struct {
	meta    []byte // its last group record; nil: only offsets
	offsets map[TopicPartition]Committed
}

func newImage() image { return image{groups: make(map[string]*storedGroup)} }

func (im image) has(group string) bool { return im.groups[group] != nil }

func (im image) open(group string) *storedGroup {
	g := im.groups[group]
	if g == nil {
		g = &storedGroup{offsets: make(map[TopicPartition]Committed)}
		im.groups[group] = g
	}
	return g
}

// apply takes one record in. A record applied twice is as good as once, if those after it are applied again too.
func (im image) apply(record []byte) error {
	d := decoder{b: record}
	switch kind := d.header(); kind {
	case kindGroup:
		r := d.group()
		if err := d.end(); err != nil {
			return err
		}
		im.open(r.id).meta = record
	case kindOffsets:
		group := d.string()
		offsets := d.offsets()
		if err := d.end(); err != nil {
			return err
		}
		maps.Copy(im.open(group).offsets, offsets)
	case kindOffsetsRemoved:
		group := d.string()
		gone := d.partitions()
		if err := d.end(); err != nil {
			return err
		}
		if g := im.groups[group]; g != nil {
			for _, tp := range gone {
				delete(g.offsets, tp)
			}
			im.prune(group)
		}
	case kindGroupRemoved:
		group := d.string()
		if err := d.end(); err != nil {
			return err
		}
		delete(im.groups, group)
	case kindTopicRemoved:
		topic := d.string()
		if err := d.end(); err != nil {
			return err
		}
		for id, g := range im.groups {
			maps.DeleteFunc(g.offsets, func(tp TopicPartition, _ Committed) bool { return tp.Topic == topic })
			im.prune(id)
		}
	default:
		d.fail("record kind %d", kind)
		return d.err
	}
	return nil
}

// prune forgets a group of which nothing is left.
func (im image) prune(id string) {
	if g := im.groups[id]; g.meta == nil && len(g.offsets) == 0 {
		delete(im.groups, id)
	}
}

// A snapshot, groups by id; v is an unsigned varint:
//
//	+-------+---------+
//	| ver 1 | count v |   then for each record: its length v and its bytes, as in the journal (record.go)
//	+-------+---------+

// Snapshot returns the durable state for a checkpoint: that of every record which was replayed, or whose Persisted was
// stepped, and of no other.
func (c *Coordinator) Snapshot() []byte {
	var records [][]byte
	for _, id := range slices.Sorted(maps.Keys(c.image.groups)) {
		g := c.image.groups[id]
		if g.meta != nil {
			records = append(records, g.meta)
		}
		if len(g.offsets) > 0 {
			records = append(records, encodeOffsets(id, g.offsets))
		}
	}
	b := binary.AppendUvarint([]byte{codecVersion}, uint64(len(records)))
	for _, r := range records {
		b = append(binary.AppendUvarint(b, uint64(len(r))), r...)
	}
	return b
}

// Load restores a Snapshot into an empty coordinator; the error is ErrCorruptRecord. It keeps the slice.
func (c *Coordinator) Load(snapshot []byte) error {
	d := decoder{b: snapshot}
	if v := d.byte(); v != codecVersion {
		d.fail("snapshot version %d, this program knows %d", v, codecVersion)
	}
	for range d.count(1) {
		r := d.bytes()
		if d.err != nil {
			break
		}
		if err := c.image.apply(r); err != nil {
			return err
		}
	}
	return d.end()
}

// ApplyRecord replays one persisted record; the error is ErrCorruptRecord. It keeps the slice.
func (c *Coordinator) ApplyRecord(record []byte) error {
	if err := c.image.apply(record); err != nil {
		return fmt.Errorf("group record of %d bytes: %w", len(record), err)
	}
	return nil
}

// FetchOffsets returns the durable offsets of a group: of the partitions named, or of all when tps is nil. Partitions
// without one, and those of unknown groups, are absent. The map is the caller's.
func (c *Coordinator) FetchOffsets(group string, tps []TopicPartition) map[TopicPartition]Committed {
	g := c.image.groups[group]
	if g == nil {
		return map[TopicPartition]Committed{}
	}
	if tps == nil {
		return maps.Clone(g.offsets)
	}
	found := make(map[TopicPartition]Committed, len(tps))
	for _, tp := range tps {
		if o, ok := g.offsets[tp]; ok {
			found[tp] = o
		}
	}
	return found
}
