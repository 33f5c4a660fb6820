package group

import (
	"cmp"
	"encoding/binary"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"tidings.dev/internal/fields"
)

// Encoding of the coordinator's records in the journal. v is an unsigned varint, z a zigzag varint, and s a string: its
// length v and its bytes.
//
//	+-------+---------+------+
//	| ver 1 | kind u8 | body |
//	+-------+---------+------+
//
//	kind 1, a group:          | id s | state u8 | generation z | protocol type s | protocol s | leader s | since ms z |
//	                          | members v | then each, in order of joining:
//	                          |   id s | instance: 0 u8, or 1 u8 and s | client id s | client host s |
//	                          |   session timeout ms v | rebalance timeout ms v | protocols v × (name s, metadata s) |
//	                          |   assignment s |
//	kind 2, offsets:          | group s | at ms z | topics v × (topic s, partitions v × (partition v, offset z,
//	                          |   leader epoch z, metadata s, at − at above z)) |
//	kind 3, offsets removed:  | group s | topics v × (topic s, partitions v × (partition v)) |
//	kind 4, group removed:    | group s |, with its offsets
//	kind 5, topic removed:    | topic s |, its offsets in every group
//	kind 6, undecided:        | group s | producer id z | epoch z | then as kind 2 after the group |
//	kind 7, transaction ends: | producer id z | epoch z | committed u8 | groups v × (group s) |
//
// A record has no checksum of its own: the frame of the journal that contains it has one. The meaning of the fields is
// described in docs/format/coordinators.md.
const codecVersion = 1

// Values of the field kind of a record.
const (
	kindGroup          = 1
	kindOffsets        = 2
	kindOffsetsRemoved = 3
	kindGroupRemoved   = 4
	kindTopicRemoved   = 5
	kindUndecided      = 6
	kindTransactionEnd = 7
)

// groupRecord is the content of a record of kind kindGroup. The members are shared with the group.
type groupRecord struct {
	id           string
	state        state // empty, preparing or stable
	generation   Generation
	protocolType string
	protocol     string
	leader       MemberID
	since        time.Time // when the group entered this state
	members      []*member
}

// header returns the beginning of an encoded record: version, kind, and the name of the group or topic.
func header(kind byte, name string) []byte {
	return appendString([]byte{codecVersion, kind}, name)
}

func appendString[T ~string | ~[]byte](b []byte, s T) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// memberRecordBytes is about the size of a member in a record without metadata and assignment.
const memberRecordBytes = 160

func encodeGroup(r groupRecord) []byte {
	bytes := 0 // of metadata and assignments, so that a large record is not copied while it grows
	for _, m := range r.members {
		bytes += memberRecordBytes + len(m.assignment)
		for _, p := range m.protocols {
			bytes += len(p.Metadata)
		}
	}
	b := slices.Grow(append(header(kindGroup, r.id), byte(r.state)), bytes)
	b = binary.AppendVarint(b, int64(r.generation))
	b = appendString(b, r.protocolType)
	b = appendString(b, r.protocol)
	b = appendString(b, r.leader)
	b = binary.AppendVarint(b, r.since.UnixMilli())
	b = binary.AppendUvarint(b, uint64(len(r.members)))
	for _, m := range r.members {
		b = appendString(b, m.id)
		if m.instanceID == nil {
			b = append(b, 0)
		} else {
			b = appendString(append(b, 1), *m.instanceID)
		}
		b = appendString(b, m.clientID)
		b = appendString(b, m.host)
		b = binary.AppendUvarint(b, uint64(m.sessionTimeout.Milliseconds()))
		b = binary.AppendUvarint(b, uint64(m.rebalanceTimeout.Milliseconds()))
		b = binary.AppendUvarint(b, uint64(len(m.protocols)))
		for _, p := range m.protocols {
			b = appendString(b, p.Name)
			b = appendString(b, p.Metadata)
		}
		b = appendString(b, m.assignment)
	}
	return b
}

func encodeOffsets(group string, offsets map[TopicPartition]Committed) []byte {
	return appendOffsets(header(kindOffsets, group), offsets)
}

// appendOffsets appends offsets to a record: the time of the first, and the partitions.
func appendOffsets(b []byte, offsets map[TopicPartition]Committed) []byte {
	keys := slices.SortedFunc(maps.Keys(offsets), comparePartitions)
	at := offsets[keys[0]].At.UnixMilli()
	b = binary.AppendVarint(b, at)
	return appendPartitions(b, keys, func(b []byte, tp TopicPartition) []byte {
		o := offsets[tp]
		b = binary.AppendVarint(b, o.Offset)
		b = binary.AppendVarint(b, int64(o.LeaderEpoch))
		b = appendString(b, o.Metadata)
		return binary.AppendVarint(b, o.At.UnixMilli()-at)
	})
}

func encodeOffsetsRemoved(group string, gone []TopicPartition) []byte {
	gone = slices.SortedFunc(slices.Values(gone), comparePartitions)
	return appendPartitions(header(kindOffsetsRemoved, group), gone, nil)
}

func encodeGroupRemoved(group string) []byte { return header(kindGroupRemoved, group) }
func encodeTopicRemoved(topic string) []byte { return header(kindTopicRemoved, topic) }

// comparePartitions compares partitions by topic, then by partition number.
func comparePartitions(a, b TopicPartition) int {
	return cmp.Or(strings.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
}

// appendPartitions appends partitions to b, grouped by topic: the number of topics, and for each topic its name, the
// number of its partitions, and the partitions. rest, unless nil, is called after each partition to append more fields.
// tps must be sorted by comparePartitions.
func appendPartitions(b []byte, tps []TopicPartition, rest func([]byte, TopicPartition) []byte) []byte {
	topics := 0
	for i, tp := range tps {
		if i == 0 || tp.Topic != tps[i-1].Topic {
			topics++
		}
	}
	b = binary.AppendUvarint(b, uint64(topics))
	for len(tps) > 0 {
		n := slices.IndexFunc(tps, func(tp TopicPartition) bool { return tp.Topic != tps[0].Topic })
		if n < 0 {
			n = len(tps)
		}
		b = appendString(b, tps[0].Topic)
		b = binary.AppendUvarint(b, uint64(n))
		for _, tp := range tps[:n] {
			b = binary.AppendUvarint(b, uint64(tp.Partition))
			if rest != nil {
				b = rest(b, tp)
			}
		}
		tps = tps[n:]
	}
	return b
}

// recordDecoder decodes the fields of a record one after another. Like its fields.Reader, it stops at the first
// malformed field; End returns the error.
type recordDecoder struct{ fields.Reader }

// newRecordDecoder returns a decoder whose errors match ErrCorruptRecord.
func newRecordDecoder(record []byte) recordDecoder {
	return recordDecoder{fields.NewReader(record, ErrCorruptRecord)}
}

// header decodes the version and the kind of a record.
func (d *recordDecoder) header() (kind byte) {
	if v := d.Byte(); v != codecVersion {
		d.Fail("record version %d, this program knows %d", v, codecVersion)
	}
	return d.Byte()
}

// latestMillis is the largest distance of a time from 1970, in milliseconds and in both directions, that is accepted.
// It is small enough that the distance of two times does not overflow.
const latestMillis = math.MaxInt64 / 4

// time decodes a time that is encoded as its distance in milliseconds from the time fromMillis.
func (d *recordDecoder) time(fromMillis int64) time.Time {
	millis := fromMillis + d.VarintIn(-2*latestMillis, 2*latestMillis)
	if millis < -latestMillis || millis > latestMillis {
		d.Fail("%d ms since 1970 is no time", millis)
		return time.Time{}
	}
	return time.UnixMilli(millis)
}

func (d *recordDecoder) milliseconds() time.Duration {
	return time.Duration(d.UvarintUpTo(math.MaxInt64/uint64(time.Millisecond))) * time.Millisecond
}

// decodeGroup decodes a record of kind kindGroup, with its header. Errors match ErrCorruptRecord.
func decodeGroup(record []byte) (groupRecord, error) {
	d := newRecordDecoder(record)
	if d.header() != kindGroup {
		d.Fail("not a group")
	}
	r := d.group()
	return r, d.End()
}

// group decodes the fields of a record of kind kindGroup after its header.
func (d *recordDecoder) group() groupRecord {
	r := groupRecord{id: d.Text(), state: state(d.Byte())}
	if r.state != empty && r.state != preparing && r.state != stable {
		d.Fail("group state %d", r.state)
	}
	r.generation = Generation(d.VarintIn(0, math.MaxInt32))
	r.protocolType, r.protocol, r.leader = d.Text(), d.Text(), MemberID(d.Text())
	r.since = d.time(0)
	for range d.Count(8) {
		m := &member{id: MemberID(d.Text())}
		switch d.Byte() {
		case 0:
		case 1:
			instance := d.Text()
			m.instanceID = &instance
		default:
			d.Fail("instance id mark")
		}
		m.clientID, m.host = d.Text(), d.Text()
		m.sessionTimeout, m.rebalanceTimeout = d.milliseconds(), d.milliseconds()
		for range d.Count(2) {
			m.protocols = append(m.protocols, Protocol{Name: d.Text(), Metadata: d.Bytes()})
		}
		m.assignment = d.Bytes()
		r.members = append(r.members, m)
	}
	if d.OK() && (r.state == empty && len(r.members) > 0 || r.state == stable && len(r.members) == 0) {
		d.Fail("group %q is %v with %d members", r.id, r.state, len(r.members))
	}
	return r
}

// offsets decodes the positions in a record of kind kindOffsets, after the name of the group.
func (d *recordDecoder) offsets() map[TopicPartition]Committed {
	at := d.time(0).UnixMilli()
	offsets := make(map[TopicPartition]Committed)
	d.eachPartition(5, func(tp TopicPartition) {
		offsets[tp] = Committed{
			Offset:      d.Varint(),
			LeaderEpoch: int32(d.VarintIn(math.MinInt32, math.MaxInt32)),
			Metadata:    d.Text(),
			At:          d.time(at),
		}
	})
	return offsets
}

func (d *recordDecoder) partitions() (tps []TopicPartition) {
	d.eachPartition(1, func(tp TopicPartition) { tps = append(tps, tp) })
	return tps
}

// eachPartition decodes partitions that appendPartitions has encoded, and calls f for each. f decodes the further
// fields of the partition. minBytes is the least number of bytes that one partition takes with its further fields.
func (d *recordDecoder) eachPartition(minBytes int, f func(TopicPartition)) {
	for range d.Count(2) {
		topic := d.Text()
		for range d.Count(minBytes) {
			f(TopicPartition{Topic: topic, Partition: int32(d.UvarintUpTo(math.MaxInt32))})
			if !d.OK() {
				return
			}
		}
	}
}
