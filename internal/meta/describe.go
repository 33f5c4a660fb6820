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
}

// DescribeBroker returns the broker's configurations, with Kafka's names and in the order of names. All of them are
// read-only.
func DescribeBroker(b BrokerSettings) []ConfigEntry {
	entry := func(name, value string, typ ConfigType, doc string) ConfigEntry {
		return ConfigEntry{Name: name, Value: value, Source: SourceStaticBroker, Type: typ, ReadOnly: true, Doc: doc}
	}
	number := func(name string, value int64, typ ConfigType, doc string) ConfigEntry {
		return entry(name, strconv.FormatInt(value, 10), typ, doc)
	}
	fallback := func(name string) string {
		s, _ := findSetting(name)
		return s.value
	}
	return []ConfigEntry{
		entry("advertised.listeners", b.Advertised, TypeList, "The address sent to clients; empty: the one they dialled."),
		entry("auto.create.topics.enable", strconv.FormatBool(b.AutoCreateTopics), TypeBool, "Whether a topic comes into being when it is first named."),
		number("broker.id", int64(b.NodeID), TypeInt, "The id of this broker."),
		number("default.replication.factor", 1, TypeInt, "There is one replica."),
		number("group.initial.rebalance.delay.ms", b.InitialRebalanceDelay.Milliseconds(), TypeInt, "How long a new group waits for more members."),
		number("group.max.session.timeout.ms", b.MaxSessionTimeout.Milliseconds(), TypeInt, "The longest session a member may ask for."),
		number("group.min.session.timeout.ms", b.MinSessionTimeout.Milliseconds(), TypeInt, "The shortest session a member may ask for."),
		entry("log.cleanup.policy", fallback(CleanupPolicy), TypeList, "The default of cleanup.policy."),
		entry("log.retention.bytes", fallback(RetentionBytes), TypeLong, "The default of retention.bytes."),
		entry("log.retention.ms", fallback(RetentionMS), TypeLong, "The default of retention.ms."),
		number("log.segment.bytes", b.SegmentBytes, TypeInt, "The default of segment.bytes."),
		number("message.max.bytes", b.MaxMessageBytes, TypeInt, "The default of max.message.bytes."),
		number("min.insync.replicas", 1, TypeInt, "There is one replica."),
		number("node.id", int64(b.NodeID), TypeInt, "The id of this broker."),
		number("num.partitions", int64(b.DefaultPartitions), TypeInt, "How many partitions a new topic has if its creation names no number."),
		number("offset.metadata.max.bytes", int64(b.MaxOffsetMetadata), TypeInt, "The longest metadata of a committed offset."),
		number("offsets.retention.minutes", int64(b.OffsetRetention/time.Minute), TypeInt, "How long offsets outlive the last member of their group."),
	}
}
