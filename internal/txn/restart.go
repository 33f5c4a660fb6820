package txn

import (
	"cmp"
	"encoding/binary"
	"maps"
	"slices"
	"time"

	"tidings.dev/internal/fields"
)

// ApplyRecord applies a record of the journal that a Persist or Finish had. It is for recovery, before Resume. Applying
// a record twice has the same result as once, if all later records are applied again after it. Errors match
// ErrCorruptRecord, and then nothing has changed.
func (c *Coordinator) ApplyRecord(record []byte) error {
	id, s, removed, err := decodeRecord(record)
	if err != nil {
		return err
	}
	if !removed {
		c.put(id, s)
	} else if t := c.ids[id]; t != nil {
		c.remove(t)
	}
	return nil
}

// Found tells the coordinator that a partition's log has an open transaction of a producer. It is for recovery, before
// Resume.
func (c *Coordinator) Found(p Producer, in Partition) { c.foundOf(p).partitions[in] = true }

// FoundGroup tells the coordinator that a group has pending positions of a producer. It is for recovery, before Resume.
func (c *Coordinator) FoundGroup(p Producer, group string) { c.foundOf(p).groups[group] = true }

// foundOf returns what was found of a producer.
func (c *Coordinator) foundOf(p Producer) *openTransaction {
	o := c.found[p]
	if o == nil {
		o = newTransaction()
		c.found[p] = o
	}
	return o
}

// Resume makes the coordinator ready for Step and returns its first effects. What was found open belongs to the
// transactional id with its producer, and has a whole timeout from now. What belongs to none is aborted: nobody else
// could end it.
func (c *Coordinator) Resume(now time.Time) []Effect {
	for _, t := range c.inOrder() {
		o := c.found[t.durable.producer]
		delete(c.found, t.durable.producer)
		if o != nil || len(t.durable.partitions)+len(t.durable.groups) > 0 {
			c.begin(now, t)
			c.addRecorded(t)
		}
		if o != nil {
			for p := range o.partitions {
				c.addPartition(t, p)
			}
			for g := range o.groups {
				c.addGroup(t, g)
			}
		}
		c.wakeFor(t)
	}
	c.endOrphans()
	out := c.out
	c.out = nil
	return out
}

// endOrphans aborts what was found and belongs to no transactional id.
func (c *Coordinator) endOrphans() {
	orphans := slices.SortedFunc(maps.Keys(c.found), func(a, b Producer) int {
		return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.Epoch, b.Epoch))
	})
	for _, p := range orphans {
		o := c.found[p]
		if o.ending {
			continue
		}
		o.ending = true
		f := o.finish(p, false)
		f.Seq = c.await(func(now time.Time, err error) {
			if err == nil {
				delete(c.found, p)
				return
			}
			o.ending = false
			c.wakeAt(now.Add(retryAfter))
		})
		c.out = append(c.out, *f)
	}
}

// Encoding of a record in the journal. v is an unsigned varint, z a zigzag varint, and s a string: its length v and its
// bytes.
//
//	+-------+---------+------+
//	| ver 1 | kind u8 | body |
//	+-------+---------+------+
//
//	kind 1, a transactional id: | id s | producer id z | epoch z | previous producer id z | previous epoch z |
//	                            | timeout ms v | outcome u8 | updated ms z | partitions v × (topic id 16, number v) |
//	                            | groups v × (group s) |
//	kind 2, one removed:        | id s |
//
// A snapshot has the records of all transactional ids, in the order of their names:
//
//	+-------+---------------------+
//	| ver 1 | records v × (s)     |
//	+-------+---------------------+
//
// Neither has a checksum of its own: the frame of the journal and the checkpoint that contain them have one.
const (
	coordinatorVersion = 1

	kindID        = 1
	kindIDRemoved = 2
)

func encodeState(id string, s state) []byte {
	b := appendString([]byte{coordinatorVersion, kindID}, id)
	for _, p := range []Producer{s.producer, s.previous} {
		b = binary.AppendVarint(b, p.ID)
		b = binary.AppendVarint(b, int64(p.Epoch))
	}
	b = binary.AppendUvarint(b, uint64(s.timeout.Milliseconds()))
	b = append(b, byte(s.outcome))
	b = binary.AppendVarint(b, s.updated.UnixMilli())
	b = binary.AppendUvarint(b, uint64(len(s.partitions)))
	for _, p := range s.partitions {
		b = append(b, p.Topic[:]...)
		b = binary.AppendUvarint(b, uint64(p.Index))
	}
	b = binary.AppendUvarint(b, uint64(len(s.groups)))
	for _, g := range s.groups {
		b = appendString(b, g)
	}
	return b
}

func encodeRemoved(id string) []byte {
	return appendString([]byte{coordinatorVersion, kindIDRemoved}, id)
}

func appendString[T ~string | ~[]byte](b []byte, s T) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// decodeRecord decodes a record. Errors match ErrCorruptRecord.
func decodeRecord(record []byte) (id string, s state, removed bool, err error) {
	r := fields.NewReader(record, ErrCorruptRecord)
	if v := r.Byte(); v != coordinatorVersion {
		r.Fail("version %d of a transaction record, this program knows %d", v, coordinatorVersion)
	}
	kind := r.Byte()
	if id = r.Text(); id == "" {
		r.Fail("a transactional id without a name")
	}
	switch kind {
	case kindID:
		s = readState(&r)
	case kindIDRemoved:
		removed = true
	default:
		r.Fail("transaction record of kind %d", kind)
	}
	return id, s, removed, r.End()
}

// latestMillis is the largest distance of a time from 1970 in milliseconds that is accepted, in both directions. Times
// and timeouts up to it can be added without an overflow.
const latestMillis = 1 << 52

// readState decodes the state in a record of kind kindID. Values that encodeState cannot have written are malformed.
func readState(r *fields.Reader) state {
	var s state
	for _, p := range []*Producer{&s.producer, &s.previous} {
		p.ID = r.VarintIn(-1, 1<<63-1)
		p.Epoch = int16(r.VarintIn(-1, 1<<15-1))
	}
	s.timeout = time.Duration(r.UvarintUpTo(uint64(1<<40))) * time.Millisecond
	if s.outcome = Outcome(r.Byte()); s.outcome > Aborted {
		r.Fail("outcome %d of a transaction", s.outcome)
	}
	s.updated = time.UnixMilli(r.VarintIn(-latestMillis, latestMillis))
	for range r.Count(17) {
		var p Partition
		copy(p.Topic[:], r.Take(len(p.Topic)))
		p.Index = int32(r.UvarintUpTo(1<<31 - 1))
		s.partitions = append(s.partitions, p)
	}
	for range r.Count(1) {
		s.groups = append(s.groups, r.Text())
	}
	if !slices.IsSortedFunc(s.partitions, comparePartitions) || !slices.IsSorted(s.groups) {
		r.Fail("partitions or groups of a transaction are not in order")
	}
	return s
}

// Snapshot returns the encoded durable state, for a checkpoint. The caller owns the slice.
func (c *Coordinator) Snapshot() []byte {
	var records [][]byte
	for _, t := range c.inOrder() {
		if t.durable.producer != NoProducer { // else its first record is on its way
			records = append(records, encodeState(t.id, t.durable))
		}
	}
	b := binary.AppendUvarint([]byte{coordinatorVersion}, uint64(len(records)))
	for _, r := range records {
		b = appendString(b, r)
	}
	return b
}

// Load restores a Snapshot into an empty coordinator. Errors match ErrCorruptRecord.
func (c *Coordinator) Load(snapshot []byte) error {
	r := fields.NewReader(snapshot, ErrCorruptRecord)
	if v := r.Byte(); v != coordinatorVersion {
		r.Fail("version %d of a snapshot of transactions, this program knows %d", v, coordinatorVersion)
	}
	for range r.Count(1) {
		record := r.Bytes()
		if !r.OK() {
			break
		}
		if err := c.ApplyRecord(record); err != nil {
			return err
		}
	}
	return r.End()
}
