package meta

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ConfigType is the type of a configuration's value, with the numbers of Kafka's DescribeConfigs.
type ConfigType int8

const (
	TypeBool   ConfigType = 1
	TypeString ConfigType = 2
	TypeInt    ConfigType = 3
	TypeShort  ConfigType = 4
	TypeLong   ConfigType = 5
	TypeDouble ConfigType = 6
	TypeList   ConfigType = 7
)

// ConfigSource says where the value of a configuration comes from, with the numbers of Kafka's DescribeConfigs.
type ConfigSource int8

const (
	SourceTopic        ConfigSource = 1 // set on the topic
	SourceStaticBroker ConfigSource = 4 // set for the broker when it was started
	SourceDefault      ConfigSource = 5 // built in
)

// Names of the topic configurations that change what the broker does.
const (
	CleanupPolicy      = "cleanup.policy"
	CleanableRatio     = "min.cleanable.dirty.ratio"
	MinCompactionLagMS = "min.compaction.lag.ms"
	MaxCompactionLagMS = "max.compaction.lag.ms"
	DeleteRetentionMS  = "delete.retention.ms"
	RetentionMS        = "retention.ms"
	RetentionBytes     = "retention.bytes"
	SegmentBytes       = "segment.bytes"
	SegmentMS          = "segment.ms"
	IndexIntervalBytes = "index.interval.bytes"
	MaxMessageBytes    = "max.message.bytes"
	TimestampType      = "message.timestamp.type"
	TimestampBeforeMS  = "message.timestamp.before.max.ms"
	TimestampAfterMS   = "message.timestamp.after.max.ms"
	DurabilityMode     = "tidings.durability"
	DurabilityInterval = "tidings.durability.interval.ms"
)

// Durability says when an append to a topic is acknowledged, and so which records can be lost (docs/guarantees.md).
type Durability string

const (
	Sync Durability = "sync" // after the sync; nothing can be lost
	// Interval acknowledges after the write, which is synced within an interval. An OS crash or power cut can lose the
	// records of that interval.
	Interval Durability = "interval"
	// OS acknowledges after the write, which is synced with other data. An OS crash or power cut can lose all records
	// since the last sync.
	OS Durability = "os"
	// Memory means that records are never written to the disk. They are lost when the broker stops, and when newer
	// records push them out of the ring.
	Memory Durability = "memory"
)

// noLimit is the value of limits that are not in force: the largest 64-bit integer, as in Kafka.
var noLimit = strconv.FormatInt(math.MaxInt64, 10)

// setting describes one topic configuration of Apache Kafka 4.3.
type setting struct {
	name  string
	typ   ConfigType
	value string // the default
	check func(value string) (reason string)
	doc   string
}

// settings lists every topic configuration that this broker knows, in the order of names. A configuration that promises
// something that the broker does not offer (tiered storage) accepts only the value that describes what the broker does.
// One that only tunes Apache Kafka's storage or replication, or chooses a compression, accepts every valid value and has
// no effect, as its doc says: tools set it without asking.
var settings = []setting{
	{CleanupPolicy, TypeList, "delete", policies, "What happens to old segments: delete (retention), compact, both, or nothing when empty."},
	{"compression.gzip.level", TypeInt, "-1", gzipLevel, "No effect: batches are stored as they came."},
	{"compression.lz4.level", TypeInt, "9", whole(1, 17), "No effect: batches are stored as they came."},
	{"compression.type", TypeString, "producer", oneOf("uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"), "Kept, with no effect: batches are stored as the producer compressed them."},
	{"compression.zstd.level", TypeInt, "3", whole(-131072, 22), "No effect: batches are stored as they came."},
	{DeleteRetentionMS, TypeLong, "86400000", whole(0, math.MaxInt64), "How long compaction keeps tombstones."},
	{"file.delete.delay.ms", TypeLong, "60000", whole(0, math.MaxInt64), "No effect: files go as soon as no reader holds them."},
	{"flush.messages", TypeLong, noLimit, whole(1, math.MaxInt64), "No effect: tidings.durability sets when records are synced."},
	{"flush.ms", TypeLong, noLimit, whole(0, math.MaxInt64), "No effect: tidings.durability sets when records are synced."},
	{"follower.replication.throttled.replicas", TypeList, "", throttled, "Kept, with no effect: there is one replica."},
	{IndexIntervalBytes, TypeInt, "4096", whole(0, math.MaxInt32), "Bytes of batches between two entries of a segment's index."},
	{"leader.replication.throttled.replicas", TypeList, "", throttled, "Kept, with no effect: there is one replica."},
	{"local.retention.bytes", TypeLong, "-2", whole(-2, math.MaxInt64), "Kept, with no effect: there is no tiered storage."},
	{"local.retention.ms", TypeLong, "-2", whole(-2, math.MaxInt64), "Kept, with no effect: there is no tiered storage."},
	{MaxCompactionLagMS, TypeLong, noLimit, whole(1, math.MaxInt64), "The longest that a record stays out of compaction's reach."},
	{MaxMessageBytes, TypeInt, "1048588", whole(0, math.MaxInt32), "The largest record batch, as stored."},
	{TimestampAfterMS, TypeLong, "3600000", whole(0, math.MaxInt64), "How far a record's CreateTime may lie in the future."},
	{TimestampBeforeMS, TypeLong, noLimit, whole(0, math.MaxInt64), "How far a record's CreateTime may lie in the past."},
	{TimestampType, TypeString, "CreateTime", oneOf("CreateTime", "LogAppendTime"), "Whose clock stamps records: the producer's or the broker's."},
	{CleanableRatio, TypeDouble, "0.5", ratio, "The share of uncompacted bytes at which compaction begins."},
	{MinCompactionLagMS, TypeLong, "0", whole(0, math.MaxInt64), "The least time that a record stays uncompacted."},
	{"min.insync.replicas", TypeInt, "1", whole(1, math.MaxInt32), "Counts up to the number of replicas, which is 1; tidings.durability sets what acknowledged means."},
	{"preallocate", TypeBool, "false", boolean, "No effect: the journal is preallocated, segments are not."},
	{"remote.log.copy.disable", TypeBool, "false", boolean, "Kept, with no effect: there is no tiered storage."},
	{"remote.log.delete.on.disable", TypeBool, "false", boolean, "Kept, with no effect: there is no tiered storage."},
	{"remote.storage.enable", TypeBool, "false", only("false", "there is no tiered storage"), "There is no tiered storage."},
	{RetentionBytes, TypeLong, "-1", whole(math.MinInt64, math.MaxInt64), "The most bytes a partition keeps; -1 for no limit."},
	{RetentionMS, TypeLong, "604800000", whole(-1, math.MaxInt64), "How long records are kept; -1 for ever."},
	// Apache Kafka's minimum is 1 MiB since version 4.0 (KIP-1030). Smaller segments are allowed here for tests.
	{SegmentBytes, TypeInt, "67108864", whole(1024, math.MaxInt32), "The size at which a new segment file is begun."},
	{"segment.index.bytes", TypeInt, "10485760", whole(4, math.MaxInt32), "No effect: indexes grow as needed."},
	{"segment.jitter.ms", TypeLong, "0", whole(0, math.MaxInt64), "No effect."},
	{SegmentMS, TypeLong, "604800000", whole(1, math.MaxInt64), "The age at which a new segment file is begun."},
	// The following two are not configurations of Apache Kafka.
	{DurabilityMode, TypeString, string(Sync), oneOf(string(Sync), string(Interval), string(OS), string(Memory)), "When an append is acknowledged: synced (sync), written and synced within an interval (interval), written (os), or in memory only (memory, for signals; only at creation)."},
	{DurabilityInterval, TypeLong, "100", whole(1, 3_600_000), "The longest that an acknowledged record stays unsynced under tidings.durability=interval."},
	{"unclean.leader.election.enable", TypeBool, "false", boolean, "No effect: there is one replica."},
}

// findSetting returns the setting with a name, and whether it exists.
func findSetting(name string) (setting, bool) {
	i, ok := slices.BinarySearchFunc(settings, name, func(s setting, n string) int { return strings.Compare(s.name, n) })
	if !ok {
		return setting{}, false
	}
	return settings[i], true
}

// CheckConfig returns nil if a topic may have a configuration with this value. Otherwise it returns an *InvalidError
// that matches ErrInvalidConfig.
func CheckConfig(name, value string) error {
	s, ok := findSetting(name)
	if !ok {
		return invalid(ErrInvalidConfig, name, "unknown topic configuration")
	}
	if reason := s.check(value); reason != "" {
		return invalid(ErrInvalidConfig, name+"="+value, "%s", reason)
	}
	return nil
}

// whole returns a check function that accepts integers in [lo, hi].
func whole(lo, hi int64) func(string) string {
	return func(v string) string {
		n, err := strconv.ParseInt(strings.TrimSpace(v), 10, 64)
		switch {
		case err != nil:
			return "not a whole number"
		case n < lo || n > hi:
			return "not in " + strconv.FormatInt(lo, 10) + " to " + strconv.FormatInt(hi, 10)
		}
		return ""
	}
}

// oneOf returns a check function that accepts the given values.
func oneOf(values ...string) func(string) string {
	return func(v string) string {
		if slices.Contains(values, v) {
			return ""
		}
		return "not one of " + strings.Join(values, ", ")
	}
}

// only returns a check function that accepts a single value. why is a part of the reason with which it refuses others.
func only(value, why string) func(string) string {
	return func(v string) string {
		if v == value {
			return ""
		}
		return "only " + strconv.Quote(value) + " is supported: " + why
	}
}

// boolean is a check function that accepts true and false in any case, as Apache Kafka does.
func boolean(v string) string {
	return oneOf("false", "true")(strings.ToLower(strings.TrimSpace(v)))
}

// gzipLevel is a check function that accepts the levels of gzip: 1 to 9, and -1 for its default.
func gzipLevel(v string) string {
	if strings.TrimSpace(v) == "-1" {
		return ""
	}
	return whole(1, 9)(v)
}

// throttled is a check function that accepts lists of replicas whose replication is throttled: of PARTITION:BROKER, or
// only a * for all.
func throttled(v string) string {
	list := splitList(v)
	for _, element := range list {
		partition, broker, ok := strings.Cut(element, ":")
		all := element == "*" && len(list) == 1
		if !all && (!ok || whole(0, math.MaxInt32)(partition) != "" || whole(0, math.MaxInt32)(broker) != "") {
			return "neither * nor a list of PARTITION:BROKER"
		}
	}
	return ""
}

// ratio is a check function that accepts numbers in [0, 1].
func ratio(v string) string {
	if f, err := strconv.ParseFloat(strings.TrimSpace(v), 64); err != nil || !(f >= 0 && f <= 1) {
		return "not a number in 0 to 1"
	}
	return ""
}

// policies is a check function that accepts lists of cleanup policies, including the empty list.
func policies(v string) string {
	for _, p := range splitList(v) {
		if p != "delete" && p != "compact" {
			return "not a list of delete and compact"
		}
	}
	return ""
}

// splitList returns the elements of a value of TypeList.
func splitList(v string) []string {
	if strings.TrimSpace(v) == "" {
		return nil
	}
	parts := strings.Split(v, ",")
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	return parts
}

// Defaults are the broker's values for configurations that a topic does not set. A zero field means the default in
// settings.
type Defaults struct {
	SegmentBytes    int64
	MaxMessageBytes int64
	Topics          map[string]string // further values, by the names of topic configurations
}

// lookup returns the broker's value of the configuration with a name, and whether the broker has one that is not the
// default in settings.
func (d Defaults) lookup(name string) (string, bool) {
	s, _ := findSetting(name)
	if v, ok := d.Topics[name]; ok {
		return v, v != s.value
	}
	var value int64
	switch name {
	case SegmentBytes:
		value = d.SegmentBytes
	case MaxMessageBytes:
		value = d.MaxMessageBytes
	}
	if value <= 0 {
		return "", false
	}
	text := strconv.FormatInt(value, 10)
	return text, text != s.value
}

// TopicConfig contains the configurations in force for one topic, as far as they change what the broker does.
type TopicConfig struct {
	Delete, Compact bool // the cleanup policy; if both are false, all records are kept
	// CleanableRatio is the share of bytes, in [0, 1], that were not compacted, above which a compaction begins.
	CleanableRatio     float64
	MinCompactionLag   time.Duration // records younger than this are not compacted
	MaxCompactionLag   time.Duration // records older than this are compacted whatever CleanableRatio is
	DeleteRetention    time.Duration // how long compaction keeps tombstones
	Retention          time.Duration // how long records are kept; -1 means without a limit
	RetentionBytes     int64         // how many bytes of records are kept; -1 means without a limit
	SegmentBytes       int64
	SegmentAge         time.Duration
	IndexIntervalBytes int
	MaxMessageBytes    int64
	LogAppendTime      bool
	TimestampBefore    time.Duration // how far before the broker's clock the timestamp of a record may be, under CreateTime
	TimestampAfter     time.Duration // how far after the broker's clock the timestamp of a record may be, under CreateTime
	Durability         Durability
	SyncWithin         time.Duration // how long an acknowledged record may stay unsynced if Durability is Interval
}

// Config returns the configurations in force for the topic: the values that the topic sets, and for others those of d
// or settings.
func (t Topic) Config(d Defaults) TopicConfig {
	get := func(name string) string { return t.inForce(name, d) }
	number := func(name string) int64 {
		n, _ := strconv.ParseInt(strings.TrimSpace(get(name)), 10, 64) // the value was checked when it was set
		return n
	}
	policy := splitList(get(CleanupPolicy))
	cleanable, _ := strconv.ParseFloat(strings.TrimSpace(get(CleanableRatio)), 64) // the value was checked when it was set
	return TopicConfig{
		Delete:             slices.Contains(policy, "delete"),
		Compact:            slices.Contains(policy, "compact"),
		CleanableRatio:     cleanable,
		MinCompactionLag:   milliseconds(number(MinCompactionLagMS)),
		MaxCompactionLag:   milliseconds(number(MaxCompactionLagMS)),
		DeleteRetention:    milliseconds(number(DeleteRetentionMS)),
		Retention:          milliseconds(number(RetentionMS)),
		RetentionBytes:     max(number(RetentionBytes), -1),
		SegmentBytes:       number(SegmentBytes),
		SegmentAge:         milliseconds(number(SegmentMS)),
		IndexIntervalBytes: int(number(IndexIntervalBytes)),
		MaxMessageBytes:    number(MaxMessageBytes),
		LogAppendTime:      get(TimestampType) == "LogAppendTime",
		TimestampBefore:    milliseconds(number(TimestampBeforeMS)),
		TimestampAfter:     milliseconds(number(TimestampAfterMS)),
		Durability:         Durability(get(DurabilityMode)),
		SyncWithin:         milliseconds(number(DurabilityInterval)),
	}
}

// inForce returns the value in force of the configuration with a name.
func (t Topic) inForce(name string, d Defaults) string {
	if v, ok := t.Configs[name]; ok && CheckConfig(name, v) == nil {
		return v
	}
	if v, ok := d.lookup(name); ok {
		return v
	}
	s, _ := findSetting(name)
	return s.value
}

// milliseconds returns ms milliseconds as a Duration. -1 stays -1, and a value that overflows becomes the longest
// Duration.
func milliseconds(ms int64) time.Duration {
	switch {
	case ms < 0:
		return -1
	case ms > math.MaxInt64/int64(time.Millisecond):
		return math.MaxInt64
	}
	return time.Duration(ms) * time.Millisecond
}
