package meta

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
)

// ChangeKind says what a Change does.
type ChangeKind uint8

const (
	Created    ChangeKind = 1 // Topic is the new topic
	Deleted    ChangeKind = 2 // Topic is the topic as it was
	Grown      ChangeKind = 3 // Topic is the topic with its new partition count
	Configured ChangeKind = 4 // Topic is the topic with its new configuration
)

// Change is one decided change of the catalogue.
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

// Encode returns the change as it is journaled.
func (ch Change) Encode() []byte {
	return appendTopic([]byte{codecVersion, byte(ch.Kind)}, ch.Topic)
}

// DecodeChange reads a journaled change; the error is ErrCorruptRecord.
func DecodeChange(b []byte) (Change, error) {
	d := decoder{b: b}
	d.version()
	ch := Change{Kind: ChangeKind(d.byte()), Topic: d.topic()}
	if ch.Kind < Created || ch.Kind > Configured {
		d.fail("change kind %d", ch.Kind)
	}
	return ch, d.end()
}

// Snapshot returns the catalogue for a checkpoint.
func (c *Catalogue) Snapshot() []byte {
	b := binary.AppendUvarint([]byte{codecVersion}, uint64(len(c.sorted)))
	for _, t := range c.sorted {
		b = appendTopic(b, t)
	}
	return b
}

// Load restores a Snapshot into an empty catalogue. The error is ErrCorruptRecord and leaves it empty.
func (c *Catalogue) Load(snapshot []byte) error {
	d := decoder{b: snapshot}
	d.version()
	count := d.count(minTopicBytes)
	topics := make([]Topic, 0, count)
	for range count {
		topics = append(topics, d.topic())
	}
	if err := d.end(); err != nil {
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
	minTopicBytes  = 16 + 2 + 1 + 1 // id, a name of one byte, partitions, no configs
	minConfigBytes = 2
)

// decoder reads fields one after the other; after the first that does not fit, all are zero and err says why.
type decoder struct {
	b   []byte
	err error
}

func (d *decoder) fail(format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf("%w: "+format, append([]any{ErrCorruptRecord}, args...)...)
	}
	d.b = nil
}

func (d *decoder) version() {
	if v := d.byte(); v != codecVersion {
		d.fail("version %d, this program knows %d", v, codecVersion)
	}
}

func (d *decoder) byte() byte {
	if len(d.b) == 0 {
		d.fail("cut short")
		return 0
	}
	v := d.b[0]
	d.b = d.b[1:]
	return v
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.fail("bad varint")
		return 0
	}
	d.b = d.b[n:]
	return v
}

// count reads how many things follow, each of at least minBytes.
func (d *decoder) count(minBytes int) int {
	v := d.uvarint()
	if v > uint64(len(d.b)/minBytes) {
		d.fail("%d entries in %d bytes", v, len(d.b))
		return 0
	}
	return int(v)
}

func (d *decoder) string() string {
	n := d.count(1)
	s := string(d.b[:n])
	d.b = d.b[n:]
	return s
}

func (d *decoder) topic() (t Topic) {
	if len(d.b) < len(t.ID) {
		d.fail("cut short")
		return t
	}
	d.b = d.b[copy(t.ID[:], d.b):]
	t.Name = d.string()
	partitions := d.uvarint()
	if d.err == nil && (CheckName(t.Name) != nil || partitions < 1 || partitions > MaxPartitions) {
		d.fail("topic %q with %d partitions", t.Name, partitions)
	}
	t.Partitions = int32(partitions)
	if n := d.count(minConfigBytes); n > 0 {
		t.Configs = make(map[string]string, n)
		for range n {
			name := d.string()
			t.Configs[name] = d.string()
		}
	}
	return t
}

func (d *decoder) end() error {
	if len(d.b) > 0 {
		d.fail("%d bytes too many", len(d.b))
	}
	return d.err
}
