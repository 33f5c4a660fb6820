package meta

import (
	"errors"
	"maps"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestParseBrokerConfig(t *testing.T) {
	c, err := ParseBrokerConfig(map[string]string{
		"auto.create.topics.enable": "TRUE", "num.partitions": "8", "message.max.bytes": "2000000", "log.segment.bytes": "1048576",
		"log.retention.hours": "48", "log.retention.minutes": "10", "log.retention.bytes": "-1", "log.roll.hours": "2",
		"offsets.retention.minutes": "5", "offset.metadata.max.bytes": "100", "group.min.session.timeout.ms": "100",
		"group.max.session.timeout.ms": "200", "group.initial.rebalance.delay.ms": "3000",
	})
	if err != nil {
		t.Fatal(err)
	}
	// Case: minutes win over hours.
	want := map[string]string{RetentionMS: "600000", RetentionBytes: "-1", SegmentMS: "7200000"}
	if !*c.AutoCreateTopics || c.DefaultPartitions != 8 || c.MaxMessageBytes != 2_000_000 || c.SegmentBytes != 1<<20 || !maps.Equal(c.Topics, want) ||
		c.OffsetRetention != 5*time.Minute || c.MaxOffsetMetadata != 100 || c.MinSessionTimeout != 100*time.Millisecond ||
		c.MaxSessionTimeout != 200*time.Millisecond || c.InitialRebalanceDelay != 3*time.Second {
		t.Errorf("%+v", c)
	}
	none, err := ParseBrokerConfig(nil)
	if err != nil || none.AutoCreateTopics != nil || len(none.Topics) != 0 || none.OffsetRetention != 0 {
		t.Errorf("of nothing: %+v, %v", none, err)
	}
	forever, err := ParseBrokerConfig(map[string]string{"log.retention.hours": "-1", "log.roll.ms": strconv.FormatInt(math.MaxInt64, 10)})
	if err != nil || forever.Topics[RetentionMS] != "-1" || forever.Topics[SegmentMS] != strconv.FormatInt(math.MaxInt64, 10) {
		t.Errorf("without limits: %+v, %v", forever, err)
	}
	for name, x := range map[string]struct{ value, reason string }{
		"log.retention.hour":        {"1", "the nearest is log.retention.hours"},
		"num.partition":             {"1", "the nearest is num.partitions"},
		"auto.create.topic.enable":  {"true", "the nearest is auto.create.topics.enable"},
		"num.partitions":            {"0", "not in 1 to"},
		"log.retention.ms":          {"soon", "not a whole number"},
		"auto.create.topics.enable": {"yes", "not one of"},
	} {
		_, err := ParseBrokerConfig(map[string]string{name: x.value})
		if !errors.Is(err, ErrInvalidConfig) || !strings.Contains(err.Error(), x.reason) {
			t.Errorf("%s=%s: %v", name, x.value, err)
		}
	}
	if _, err := ParseBrokerConfig(map[string]string{"group.min.session.timeout.ms": "200", "group.max.session.timeout.ms": "100"}); !errors.Is(err, ErrInvalidConfig) {
		t.Errorf("the shortest session above the longest: %v", err)
	}
}

// What a broker was configured with is a topic's default, and stands behind what the topic sets itself.
func TestBrokerDefaultsOfTopics(t *testing.T) {
	d := Defaults{SegmentBytes: 4096, Topics: map[string]string{RetentionMS: "1000", SegmentMS: "604800000"}}
	if got := (Topic{}).Config(d); got.Retention != time.Second || got.SegmentBytes != 4096 {
		t.Errorf("%+v", got)
	}
	if got := (Topic{Configs: map[string]string{RetentionMS: "-1"}}).Config(d); got.Retention != -1 {
		t.Errorf("what the topic sets: %+v", got)
	}
	for _, e := range Describe(Topic{}, d) {
		if want := e.Name == RetentionMS || e.Name == SegmentBytes; (e.Source == SourceStaticBroker) != want {
			t.Errorf("%s=%s has the source %d", e.Name, e.Value, e.Source)
		}
	}
}
