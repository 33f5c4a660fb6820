package meta

import (
	"strconv"
	"time"
)

// ConfigEntry is one configuration in the answer to a DescribeConfigs request.
type ConfigEntry struct {
	Name      string
	Value     string
	Default   bool // the value is a default: it was not set on the topic, or on the broker
	Source    ConfigSource
	Type      ConfigType
	ReadOnly  bool
	Sensitive bool // the value must not be sent to clients; no configuration is sensitive at present
	Doc       string
}

// Describe returns every configuration of a topic in the order of names, including those with default values.
func Describe(t Topic, d Defaults) []ConfigEntry {
	entries := make([]ConfigEntry, 0, len(settings))
	for _, s := range settings {
		e := ConfigEntry{Name: s.name, Value: s.value, Default: true, Source: SourceDefault, Type: s.typ, Doc: s.doc}
		if v, ok := d.lookup(s.name); ok {
			e.Value, e.Source = v, SourceStaticBroker
		}
		if v, ok := t.Configs[s.name]; ok {
			e.Value, e.Source, e.Default = v, SourceTopic, false
		}
		entries = append(entries, e)
	}
	return entries
}

// BrokerSettings contains the values in the answer to a DescribeConfigs request for the broker. Zero values are sent as
// they are, so the caller sets every field.
type BrokerSettings struct {
	NodeID                int32
	Advertised            string // host:port; empty means the address to which the client has connected
	AutoCreateTopics      bool
	DefaultPartitions     int32
	SegmentBytes          int64
	MaxMessageBytes       int64
	InitialRebalanceDelay time.Duration
	MinSessionTimeout     time.Duration
	MaxSessionTimeout     time.Duration
	OffsetRetention       time.Duration
	MaxOffsetMetadata     int
	MaxFetchSessions      int
	Topics                map[string]string // defaults of topic configurations that were set, by the names of those
}

// DescribeBroker returns the broker's configurations, with Kafka's names and in the order of names. All of them are
// read-only.
func DescribeBroker(b BrokerSettings) []ConfigEntry {
	entry := func(name, value, fallback string, typ ConfigType, doc string) ConfigEntry {
		e := ConfigEntry{Name: name, Value: value, Source: SourceStaticBroker, Type: typ, ReadOnly: true, Doc: doc}
		if value == fallback {
			e.Source, e.Default = SourceDefault, true
		}
		return e
	}
	number := func(name string, value, fallback int64, typ ConfigType, doc string) ConfigEntry {
		return entry(name, strconv.FormatInt(value, 10), strconv.FormatInt(fallback, 10), typ, doc)
	}
	ofTopic := func(name, topics string, value int64, typ ConfigType) ConfigEntry {
		s, _ := findSetting(topics)
		text := s.value
		if value != 0 {
			text = strconv.FormatInt(value, 10)
		}
		if v, ok := b.Topics[topics]; ok {
			text = v
		}
		return entry(name, text, s.value, typ, "The default of "+topics+".")
	}
	return []ConfigEntry{
		entry("advertised.listeners", b.Advertised, "", TypeList, "The address sent to clients; empty: the one they dialled."),
		entry("auto.create.topics.enable", strconv.FormatBool(b.AutoCreateTopics), "false", TypeBool, "Whether a topic comes into being when it is first named."),
		number("broker.id", int64(b.NodeID), 1, TypeInt, "The id of this broker."),
		number("default.replication.factor", 1, 1, TypeInt, "There is one replica."),
		number("group.initial.rebalance.delay.ms", b.InitialRebalanceDelay.Milliseconds(), 0, TypeInt, "How long a new group waits for more members."),
		number("group.max.session.timeout.ms", b.MaxSessionTimeout.Milliseconds(), 1_800_000, TypeInt, "The longest session a member may ask for."),
		number("group.min.session.timeout.ms", b.MinSessionTimeout.Milliseconds(), 6000, TypeInt, "The shortest session a member may ask for."),
		ofTopic("log.cleanup.policy", CleanupPolicy, 0, TypeList),
		ofTopic("log.retention.bytes", RetentionBytes, 0, TypeLong),
		ofTopic("log.retention.ms", RetentionMS, 0, TypeLong),
		ofTopic("log.roll.ms", SegmentMS, 0, TypeLong),
		ofTopic("log.segment.bytes", SegmentBytes, b.SegmentBytes, TypeInt),
		number("max.incremental.fetch.session.cache.slots", int64(b.MaxFetchSessions), 1000, TypeInt, "How many fetch sessions there may be; clients beyond them fetch in full."),
		ofTopic("message.max.bytes", MaxMessageBytes, b.MaxMessageBytes, TypeInt),
		number("min.insync.replicas", 1, 1, TypeInt, "There is one replica."),
		number("node.id", int64(b.NodeID), 1, TypeInt, "The id of this broker."),
		number("num.partitions", int64(b.DefaultPartitions), 4, TypeInt, "How many partitions a new topic has if its creation names no number."),
		number("offset.metadata.max.bytes", int64(b.MaxOffsetMetadata), 4096, TypeInt, "The longest metadata of a committed offset."),
		number("offsets.retention.minutes", int64(b.OffsetRetention/time.Minute), 7*24*60, TypeInt, "How long offsets outlive the last member of their group."),
	}
}
