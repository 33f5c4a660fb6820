package meta

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// BrokerConfig is what configurations of a broker, by the names that Apache Kafka has for them, ask for. A zero field was
// not set.
type BrokerConfig struct {
	AutoCreateTopics  *bool
	DefaultPartitions int32
	MaxMessageBytes   int64
	SegmentBytes      int64
	// Topics are the defaults of topic configurations, by the names of those.
	Topics map[string]string

	OffsetRetention       time.Duration
	MaxOffsetMetadata     int
	MinSessionTimeout     time.Duration
	MaxSessionTimeout     time.Duration
	InitialRebalanceDelay time.Duration
}

// brokerConfig describes one configuration of a broker.
type brokerConfig struct {
	name  string
	check func(value string) (reason string)
	apply func(c *BrokerConfig, value string)
}

// millisecondsOf returns an apply function that sets a duration, given in units of unit.
func millisecondsOf(unit time.Duration, field func(*BrokerConfig) *time.Duration) func(*BrokerConfig, string) {
	return func(c *BrokerConfig, value string) { *field(c) = time.Duration(numberOf(value)) * unit }
}

// topicDefault returns an apply function that sets the default of a topic configuration, given in units of unit of that.
// A negative value, which stands for no limit, is not scaled. A value that overflows becomes the largest one.
func topicDefault(name string, unit int64) func(*BrokerConfig, string) {
	return func(c *BrokerConfig, value string) {
		n := numberOf(value)
		switch {
		case n > math.MaxInt64/unit:
			n = math.MaxInt64
		case n >= 0:
			n *= unit
		}
		c.Topics[name] = strconv.FormatInt(n, 10)
	}
}

// numberOf returns a value that whole has checked.
func numberOf(value string) int64 {
	n, _ := strconv.ParseInt(strings.TrimSpace(value), 10, 64)
	return n
}

// brokerConfigs lists the configurations of a broker that can be set. Where several set the same, the later row counts, as in
// Apache Kafka: milliseconds before minutes before hours.
var brokerConfigs = []brokerConfig{
	{"auto.create.topics.enable", boolean, func(c *BrokerConfig, value string) {
		enabled := strings.EqualFold(strings.TrimSpace(value), "true")
		c.AutoCreateTopics = &enabled
	}},
	{"group.initial.rebalance.delay.ms", whole(0, math.MaxInt32), millisecondsOf(time.Millisecond, func(c *BrokerConfig) *time.Duration { return &c.InitialRebalanceDelay })},
	{"group.max.session.timeout.ms", whole(1, math.MaxInt32), millisecondsOf(time.Millisecond, func(c *BrokerConfig) *time.Duration { return &c.MaxSessionTimeout })},
	{"group.min.session.timeout.ms", whole(1, math.MaxInt32), millisecondsOf(time.Millisecond, func(c *BrokerConfig) *time.Duration { return &c.MinSessionTimeout })},
	{"log.retention.bytes", whole(math.MinInt64, math.MaxInt64), topicDefault(RetentionBytes, 1)},
	{"log.retention.hours", whole(-1, math.MaxInt32), topicDefault(RetentionMS, 3_600_000)},
	{"log.retention.minutes", whole(-1, math.MaxInt32), topicDefault(RetentionMS, 60_000)},
	{"log.retention.ms", whole(-1, math.MaxInt64), topicDefault(RetentionMS, 1)},
	{"log.roll.hours", whole(1, math.MaxInt32), topicDefault(SegmentMS, 3_600_000)},
	{"log.roll.ms", whole(1, math.MaxInt64), topicDefault(SegmentMS, 1)},
	{"log.segment.bytes", whole(1024, math.MaxInt32), func(c *BrokerConfig, value string) { c.SegmentBytes = numberOf(value) }},
	{"message.max.bytes", whole(1, math.MaxInt32), func(c *BrokerConfig, value string) { c.MaxMessageBytes = numberOf(value) }},
	{"num.partitions", whole(1, MaxPartitions), func(c *BrokerConfig, value string) { c.DefaultPartitions = int32(numberOf(value)) }},
	{"offset.metadata.max.bytes", whole(1, math.MaxInt32), func(c *BrokerConfig, value string) { c.MaxOffsetMetadata = int(numberOf(value)) }},
	{"offsets.retention.minutes", whole(1, math.MaxInt32), millisecondsOf(time.Minute, func(c *BrokerConfig) *time.Duration { return &c.OffsetRetention })},
}

// ParseBrokerConfig returns what configurations ask for. The error is an *InvalidError that matches ErrInvalidConfig; of a
// name that is not known it says which one is nearest.
func ParseBrokerConfig(configs map[string]string) (BrokerConfig, error) {
	c := BrokerConfig{Topics: make(map[string]string)}
	for _, name := range slices.Sorted(maps.Keys(configs)) {
		i := slices.IndexFunc(brokerConfigs, func(b brokerConfig) bool { return b.name == name })
		if i < 0 {
			return BrokerConfig{}, invalid(ErrInvalidConfig, name, "there is no such broker configuration here; the nearest is %s", nearestBrokerConfig(name))
		}
		if reason := brokerConfigs[i].check(configs[name]); reason != "" {
			return BrokerConfig{}, invalid(ErrInvalidConfig, name+"="+configs[name], "%s", reason)
		}
	}
	for _, b := range brokerConfigs {
		if value, ok := configs[b.name]; ok {
			b.apply(&c, value)
		}
	}
	if lo, hi := c.MinSessionTimeout, c.MaxSessionTimeout; lo > 0 && hi > 0 && lo > hi {
		return BrokerConfig{}, invalid(ErrInvalidConfig, fmt.Sprint("group.min.session.timeout.ms=", lo.Milliseconds()), "it is above group.max.session.timeout.ms")
	}
	return c, nil
}

// nearestBrokerConfig returns the name that differs from name in the fewest letters.
func nearestBrokerConfig(name string) string {
	return slices.MinFunc(brokerConfigs, func(a, b brokerConfig) int { return editDistance(name, a.name) - editDistance(name, b.name) }).name
}

// editDistance returns how many letters must be inserted, removed or replaced to make b of a.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}
