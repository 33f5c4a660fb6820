package group

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
)

// durableState is the result of all records that are durable in the journal, applied in order.
type durableState struct {
	groups map[string]*durableGroup
	size   *durableSize // of groups
}

// durableGroup is the durable state of one group. It has a group record or at least one offset.
type durableGroup struct {
	meta    []byte // the group's last record of kind kindGroup; nil if the group only has offsets
	offsets map[TopicPartition]Committed
	// undecided are the offsets of open transactions, by producer; nil if there are none. No map in it is empty.
	undecided map[Producer]map[TopicPartition]Committed
}

func newDurableState() durableState {
	return durableState{groups: make(map[string]*durableGroup), size: new(durableSize)}
}

// has reports whether anything of the group is durable.
func (im durableState) has(group string) bool { return im.groups[group] != nil }

// getOrCreate returns the group with this id. If there is none, it adds an empty one.
func (im durableState) getOrCreate(group string) *durableGroup {
	g := im.groups[group]
	if g == nil {
		g = &durableGroup{offsets: make(map[TopicPartition]Committed)}
		im.groups[group] = g
		im.size.bytes += im.size.of(group, g)
	}
	return g
}

// apply applies one record. It keeps the slice. Applying a record twice has the same result as once, if all later
// records are applied again after it. Errors match ErrCorruptRecord, and then nothing has changed.
func (im durableState) apply(record []byte) error {
	d := newRecordDecoder(record)
	switch kind := d.header(); kind {
	case kindGroup:
		r := d.group()
		if err := d.End(); err != nil {
			return err
		}
		im.getOrCreate(r.id).meta = record
	case kindOffsets:
		group := d.Text()
		offsets := d.offsets()
		if err := d.End(); err != nil {
			return err
		}
		g := im.getOrCreate(group)
		for tp, o := range offsets {
			if have, ok := g.offsets[tp]; ok {
				im.size.bytes -= sizeOfPosition(tp, have)
			}
			g.offsets[tp] = o
			im.size.bytes += sizeOfPosition(tp, o)
		}
	case kindUndecided:
		group, p := d.Text(), d.producer()
		offsets := d.offsets()
		if err := d.End(); err != nil {
			return err
		}
		if len(offsets) > 0 {
			im.addUndecided(group, p, offsets)
		}
	case kindTransactionEnd:
		p, committed := d.producer(), d.Byte()
		var groups []string
		for range d.Count(1) {
			groups = append(groups, d.Text())
		}
		if committed > 1 {
			d.Fail("outcome %d of a transaction", committed)
		}
		if err := d.End(); err != nil {
			return err
		}
		for _, g := range groups {
			im.endTransaction(g, p, committed == 1)
		}
	case kindOffsetsRemoved:
		group := d.Text()
		gone := d.partitions()
		if err := d.End(); err != nil {
			return err
		}
		if g := im.groups[group]; g != nil {
			for _, tp := range gone {
				im.remove(g, tp)
			}
			im.removeIfEmpty(group)
		}
	case kindGroupRemoved:
		group := d.Text()
		if err := d.End(); err != nil {
			return err
		}
		if g := im.groups[group]; g != nil {
			im.size.bytes -= im.size.of(group, g)
			delete(im.groups, group)
		}
	case kindTopicRemoved:
		topic := d.Text()
		if err := d.End(); err != nil {
			return err
		}
		for id, g := range im.groups {
			for tp := range g.offsets {
				if tp.Topic == topic {
					im.remove(g, tp)
				}
			}
			im.removeUndecided(g, func(tp TopicPartition) bool { return tp.Topic == topic })
			im.removeIfEmpty(id)
		}
	default:
		d.Fail("record kind %d", kind)
		return d.Err()
	}
	return nil
}

// remove removes the position of a group in a partition, if there is one.
func (im durableState) remove(g *durableGroup, tp TopicPartition) {
	if o, ok := g.offsets[tp]; ok {
		im.size.bytes -= sizeOfPosition(tp, o)
		delete(g.offsets, tp)
	}
}

// removeIfEmpty removes the group with this id if it has neither a record nor offsets, undecided ones included.
func (im durableState) removeIfEmpty(id string) {
	if g := im.groups[id]; g.meta == nil && len(g.offsets) == 0 && len(g.undecided) == 0 {
		im.size.bytes -= im.size.of(id, g)
		delete(im.groups, id)
	}
}

// Encoding of a snapshot. v is an unsigned varint; the records are in order of group id:
//
//	+-------+---------+
//	| ver 1 | count v |   then for each record: its length v and its bytes, as in the journal (record.go)
//	+-------+---------+

// Snapshot returns the durable state, encoded, for a checkpoint. It includes exactly the records that were replayed or
// whose Persisted came without error. The caller owns the slice.
func (c *Coordinator) Snapshot() []byte {
	var records [][]byte
	for _, id := range slices.Sorted(maps.Keys(c.durable.groups)) {
		g := c.durable.groups[id]
		if g.meta != nil {
			records = append(records, g.meta)
		}
		if len(g.offsets) > 0 {
			records = append(records, encodeOffsets(id, g.offsets))
		}
		records = append(records, g.undecidedRecords(id)...)
	}
	b := binary.AppendUvarint([]byte{codecVersion}, uint64(len(records)))
	for _, r := range records {
		b = append(binary.AppendUvarint(b, uint64(len(r))), r...)
	}
	return b
}

// Load restores a Snapshot into a new coordinator, which keeps the slice. Errors match ErrCorruptRecord.
func (c *Coordinator) Load(snapshot []byte) error {
	d := newRecordDecoder(snapshot)
	if v := d.Byte(); v != codecVersion {
		d.Fail("snapshot version %d, this program knows %d", v, codecVersion)
	}
	for range d.Count(1) {
		r := d.Bytes()
		if !d.OK() {
			break
		}
		if err := c.durable.apply(r); err != nil {
			return err
		}
	}
	return d.End()
}

// ApplyRecord replays one record from the journal. The coordinator keeps the slice. Errors match ErrCorruptRecord.
func (c *Coordinator) ApplyRecord(record []byte) error {
	if err := c.durable.apply(record); err != nil {
		return fmt.Errorf("group record of %d bytes: %w", len(record), err)
	}
	return nil
}

// FetchOffsets returns the durable offsets of a group, for the partitions in tps, or for all partitions if tps is nil.
// Partitions without an offset are absent. For a group that does not exist, the map is empty. The caller owns the map.
func (c *Coordinator) FetchOffsets(group string, tps []TopicPartition) map[TopicPartition]Committed {
	g := c.durable.groups[group]
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
