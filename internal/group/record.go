package group

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"
)

// A record in the journal; v is an unsigned varint, z a zigzag varint, s is v bytes after their count v:
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
//
// Records carry no checksum: the journal frame that holds them does. What each means stands in
// docs/format/coordinators.md.
const codecVersion = 1

const (
	kindGroup          = 1
	kindOffsets        = 2
	kindOffsetsRemoved = 3
	kindGroupRemoved   = 4
	kindTopicRemoved   = 5
)

type groupRecord struct {
	id           string
	state        state // empty, preparing or stable
	generation   Generation
	protocolType string
	protocol     string
	leader       MemberID
	since        time.Time // in this state
	members      []*member
}

func header(kind byte, name string) []byte {
	return appendString([]byte{codecVersion, kind}, name)
}

func appendString[T ~string | ~[]byte](b []byte, s T) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func encodeGroup(r groupRecord) []byte {
	b := append(header(kindGroup, r.id), byte(r.state))
	b = binary.AppendVarint(b, int64(r.generation))
	b = appendString(b, r.protocolType)
	b = appendString(b, r.protocol)
	b = appendString(b, r.leader)
	b = binary.AppendVarint(b, r.since.UnixMilli())
	b = binary.AppendUvarint(b, uint64(len(r.members)))
	for _, m := range r.members {
		b = appendString(b, m.id)
		if m.instance == nil {
			b = append(b, 0)
		} else {
			b = appendString(append(b, 1), *m.instance)
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
	keys := slices.SortedFunc(maps.Keys(offsets), comparePartitions)
	at := offsets[keys[0]].At.UnixMilli()
	b := binary.AppendVarint(header(kindOffsets, group), at)
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

func comparePartitions(a, b TopicPartition) int {
	return cmp.Or(strings.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
}

// appendPartitions writes sorted partitions topic by topic, each followed by what rest appends.
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

func (d *decoder) header() (kind byte) {
	if v := d.byte(); v != codecVersion {
		d.fail("record version %d, this program knows %d", v, codecVersion)
	}
	return d.byte()
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

func (d *decoder) uvarint(limit uint64) uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 || v > limit {
		d.fail("bad number")
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) varint(lo, hi int64) int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 || v < lo || v > hi {
		d.fail("bad number")
		return 0
	}
	d.b = d.b[n:]
	return v
}

// latestMillis is how far a time may be from 1970, in either direction: the distance of two such times can be written, too.
const latestMillis = math.MaxInt64 / 4

// time reads a time, as its distance in milliseconds from another.
func (d *decoder) time(fromMillis int64) time.Time {
	millis := fromMillis + d.varint(-2*latestMillis, 2*latestMillis)
	if millis < -latestMillis || millis > latestMillis {
		d.fail("%d ms since 1970 is no time", millis)
		return time.Time{}
	}
	return time.UnixMilli(millis)
}

// count reads how many things follow, each of at least minBytes.
func (d *decoder) count(minBytes int) int {
	n := d.uvarint(math.MaxInt32)
	if n > uint64(len(d.b)/minBytes) {
		d.fail("%d entries in %d bytes", n, len(d.b))
		return 0
	}
	return int(n)
}

func (d *decoder) bytes() []byte {
	n := d.count(1)
	v := d.b[:n:n]
	d.b = d.b[n:]
	return v
}

func (d *decoder) string() string { return string(d.bytes()) }

func (d *decoder) milliseconds() time.Duration {
	return time.Duration(d.uvarint(math.MaxInt64/uint64(time.Millisecond))) * time.Millisecond
}

func (d *decoder) end() error {
	if len(d.b) > 0 {
		d.fail("%d bytes too many", len(d.b))
	}
	return d.err
}

func decodeGroup(record []byte) (groupRecord, error) {
	d := decoder{b: record}
	if d.header() != kindGroup {
		d.fail("not a group")
	}
	r := d.group()
	return r, d.end()
}

func (d *decoder) group() groupRecord {
	r := groupRecord{id: d.string(), state: state(d.byte())}
	if r.state != empty && r.state != preparing && r.state != stable {
		d.fail("group state %d", r.state)
	}
	r.generation = Generation(d.varint(0, math.MaxInt32))
	r.protocolType, r.protocol, r.leader = d.string(), d.string(), MemberID(d.string())
	r.since = d.time(0)
	for range d.count(8) {
		m := &member{id: MemberID(d.string())}
		switch d.byte() {
		case 0:
		case 1:
			instance := d.string()
			m.instance = &instance
		default:
			d.fail("instance id mark")
		}
		m.clientID, m.host = d.string(), d.string()
		m.sessionTimeout, m.rebalanceTimeout = d.milliseconds(), d.milliseconds()
		for range d.count(2) {
			m.protocols = append(m.protocols, Protocol{Name: d.string(), Metadata: d.bytes()})
		}
		m.assignment = d.bytes()
		r.members = append(r.members, m)
	}
	if d.err == nil && (r.state == empty && len(r.members) > 0 || r.state == stable && len(r.members) == 0) {
		d.fail("group %q is %v with %d members", r.id, r.state, len(r.members))
	}
	return r
}

func (d *decoder) offsets() map[TopicPartition]Committed {
	at := d.time(0).UnixMilli()
	offsets := make(map[TopicPartition]Committed)
	d.eachPartition(5, func(tp TopicPartition) {
		offsets[tp] = Committed{
			Offset:      d.varint(math.MinInt64, math.MaxInt64),
			LeaderEpoch: int32(d.varint(math.MinInt32, math.MaxInt32)),
			Metadata:    d.string(),
			At:          d.time(at),
		}
	})
	return offsets
}

func (d *decoder) partitions() (tps []TopicPartition) {
	d.eachPartition(1, func(tp TopicPartition) { tps = append(tps, tp) })
	return tps
}

func (d *decoder) eachPartition(minBytes int, f func(TopicPartition)) {
	for range d.count(2) {
		topic := d.string()
		for range d.count(minBytes) {
			f(TopicPartition{Topic: topic, Partition: int32(d.uvarint(math.MaxInt32))})
			if d.err != nil {
				return
			}
		}
	}
}
