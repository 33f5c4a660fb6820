package meta

import (
	"encoding/binary"
	"maps"
	"slices"

	"tidings.dev/internal/fields"
)

// ChangeKind says what a Change does.
type ChangeKind uint8

const (
	Created    ChangeKind = 1 // Topic is the new topic
	Deleted    ChangeKind = 2 // Topic is the topic as it was
	Grown      ChangeKind = 3 // Topic is the topic with its new partition count
	Configured ChangeKind = 4 // Topic is the topic with its new configuration
)

// Change is a change of the catalogue that was checked. It is made durable and then passed to Catalogue.Apply.
type Change struct {
	Kind  ChangeKind
	Topic Topic
}

// A change in the journal; v is an unsigned varint, s is v bytes after their count v:
//
//	+-------+---------+-------+     topic:  +----------+--------+--------------+-----------+   then for each config,
//	| ver 1 | kind u8 | topic |             | id 16 B  | name s | partitions v | configs v |   by name:
//	+-------+---------+-------+             +----------+--------+--------------+-----------+   name s, value s
//
// A snapshot of the catalogue, topics by name:
//
//	+-------+---------+
//	| ver 1 | count v |   then topic × count
//	+-------+---------+
//
// Neither has a checksum: the journal frame and the checkpoint that carry them do.
const codecVersion = 1

// Encode returns the change in the form in which the journal stores it.
func (ch Change) Encode() []byte {
	return appendTopic([]byte{codecVersion, byte(ch.Kind)}, ch.Topic)
}

// DecodeChange decodes a change that Encode has encoded. The error matches ErrCorruptRecord.
func DecodeChange(b []byte) (Change, error) {
	r := fields.NewReader(b, ErrCorruptRecord)
	readVersion(&r)
	ch := Change{Kind: ChangeKind(r.Byte()), Topic: readTopic(&r)}
	if ch.Kind < Created || ch.Kind > Configured {
		r.Fail("change kind %d", ch.Kind)
	}
	return ch, r.End()
}

// Snapshot returns the whole catalogue in the form in which a checkpoint stores it.
func (c *Catalogue) Snapshot() []byte {
	b := binary.AppendUvarint([]byte{codecVersion}, uint64(len(c.sorted)))
	for _, t := range c.sorted {
		b = appendTopic(b, t)
	}
	return b
}

// Load restores the result of Snapshot. The catalogue must be empty. The error matches ErrCorruptRecord, after which
// the catalogue is still empty.
func (c *Catalogue) Load(snapshot []byte) error {
	r := fields.NewReader(snapshot, ErrCorruptRecord)
	readVersion(&r)
	count := r.Count(minTopicBytes)
	topics := make([]Topic, 0, count)
	for range count {
		topics = append(topics, readTopic(&r))
	}
	if err := r.End(); err != nil {
		return err
	}
	for _, t := range topics {
		c.Apply(Change{Kind: Created, Topic: t})
	}
	return nil
}

func appendTopic(b []byte, t Topic) []byte {
	b = append(b, t.ID[:]...)
	b = appendString(b, t.Name)
	b = binary.AppendUvarint(b, uint64(t.Partitions))
	b = binary.AppendUvarint(b, uint64(len(t.Configs)))
	for _, name := range slices.Sorted(maps.Keys(t.Configs)) {
		b = appendString(b, name)
		b = appendString(b, t.Configs[name])
	}
	return b
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

const (
	minTopicBytes  = 16 + 2 + 1 + 1 // id, a name of one byte, partition count, and no configurations
	minConfigBytes = 2
)

// readVersion reads the version, with which a change and a snapshot begin, and fails r if it is not codecVersion.
func readVersion(r *fields.Reader) {
	if v := r.Byte(); v != codecVersion {
		r.Fail("version %d, this program knows %d", v, codecVersion)
	}
}

// readTopic reads a topic. It fails r if Create would refuse the name or the partition count.
func readTopic(r *fields.Reader) (t Topic) {
	copy(t.ID[:], r.Take(len(t.ID)))
	t.Name = r.Text()
	partitions := r.Uvarint()
	if r.OK() && (CheckName(t.Name) != nil || partitions < 1 || partitions > MaxPartitions) {
		r.Fail("topic %q with %d partitions", t.Name, partitions)
	}
	t.Partitions = int32(partitions)
	if n := r.Count(minConfigBytes); n > 0 {
		t.Configs = make(map[string]string, n)
		for range n {
			name := r.Text()
			t.Configs[name] = r.Text()
		}
	}
	return t
}
