package kafka

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"tidings.dev/internal/meta"
)

// TestConfigsAreAlteredInEveryVersion edits and replaces the configuration of a topic in every version. A change that
// is refused must change nothing, and the response must have a row for every resource, with the reason if it was
// refused.
func TestConfigsAreAlteredInEveryVersion(t *testing.T) {
	h := newTestServer(t)
	w := h.dial()
	if _, err := h.engine.CreateTopic(t.Context(), meta.TopicSpec{Name: "orders", Partitions: 1}, false); err != nil {
		t.Fatal(err)
	}
	configured := func() map[string]string {
		topic, _ := h.engine.Topic("orders")
		return topic.Configs
	}
	text := func(s string) *string { return &s }
	const topic, broker = kmsg.ConfigResourceTypeTopic, kmsg.ConfigResourceTypeBroker
	codesOf := func(want []Code, got []Code, messages []*string) {
		t.Helper()
		if len(got) != len(want) {
			t.Fatalf("%d rows, want %d", len(got), len(want))
		}
		for i := range want {
			if got[i] != want[i] || (got[i] != none) != (messages[i] != nil) {
				t.Errorf("row %d: code %d, want %d, message %v", i, got[i], want[i], messages[i])
			}
		}
	}

	for v := int16(0); v <= lookupAPI(keyIncrementalConfigs).max; v++ {
		edit := func(validateOnly bool, resources ...kmsg.IncrementalAlterConfigsRequestResource) (codes []Code, messages []*string) {
			r := kmsg.NewPtrIncrementalAlterConfigsRequest()
			r.Resources, r.ValidateOnly = resources, validateOnly
			for _, row := range roundTrip[*kmsg.IncrementalAlterConfigsResponse](w, r, v).Resources {
				codes, messages = append(codes, row.ErrorCode), append(messages, row.ErrorMessage)
			}
			return codes, messages
		}
		of := func(kind kmsg.ConfigResourceType, name, key string, op kmsg.IncrementalAlterConfigOp, value *string) kmsg.IncrementalAlterConfigsRequestResource {
			return kmsg.IncrementalAlterConfigsRequestResource{ResourceType: kind, ResourceName: name,
				Configs: []kmsg.IncrementalAlterConfigsRequestResourceConfig{{Name: key, Op: op, Value: value}}}
		}
		set, del, add := kmsg.IncrementalAlterConfigOpSet, kmsg.IncrementalAlterConfigOpDelete, kmsg.IncrementalAlterConfigOpAppend
		codes, messages := edit(true, of(topic, "orders", "retention.ms", set, text("1000")))
		if codesOf([]Code{none}, codes, messages); len(configured()) != 0 {
			t.Fatalf("v%d: validate_only set %v", v, configured())
		}
		codes, messages = edit(false, of(topic, "orders", "retention.ms", set, text("1000")), of(topic, "none", "retention.ms", set, text("1")),
			of(broker, "1", "num.partitions", set, text("1")))
		codesOf([]Code{none, unknownTopicOrPartition, invalidRequest}, codes, messages)
		// Case: kafka-reassign-partitions --verify deletes throttles that were never set; nothing else of the broker is changed.
		codes, messages = edit(false, of(broker, "1", "leader.replication.throttled.rate", del, nil))
		codesOf([]Code{none}, codes, messages)
		for _, bad := range []kmsg.IncrementalAlterConfigsRequestResource{
			of(broker, "1", "leader.replication.throttled.rate", set, text("1")), of(broker, "1", "num.partitions", del, nil),
			of(broker, "7", "leader.replication.throttled.rate", del, nil), {ResourceType: broker, ResourceName: "1"},
		} {
			codes, messages = edit(false, bad)
			codesOf([]Code{invalidRequest}, codes, messages)
		}
		for _, bad := range []kmsg.IncrementalAlterConfigsRequestResource{
			of(topic, "orders", "retention.ms", set, text("soon")), of(topic, "orders", "flux", set, text("1")), of(topic, "orders", "retention.ms", add, text("1")),
		} {
			codes, messages = edit(false, bad)
			codesOf([]Code{invalidConfig}, codes, messages)
		}
		codes, messages = edit(false, of(topic, "orders", "retention.ms", set, nil))
		codesOf([]Code{invalidRequest}, codes, messages)
		codes, messages = edit(false, of(topic, "orders", "retention.ms", set, text("1")), of(topic, "orders", "retention.ms", set, text("2")))
		codesOf([]Code{invalidRequest}, codes, messages)
		if got := configured(); len(got) != 1 || got["retention.ms"] != "1000" {
			t.Fatalf("v%d: %v", v, got)
		}
		codes, messages = edit(false, of(topic, "orders", "retention.ms", del, nil))
		if codesOf([]Code{none}, codes, messages); len(configured()) != 0 {
			t.Fatalf("v%d: %v is left", v, configured())
		}
	}

	for v := int16(0); v <= lookupAPI(keyAlterConfigs).max; v++ {
		replace := func(validateOnly bool, name string, configs ...kmsg.AlterConfigsRequestResourceConfig) (codes []Code, messages []*string) {
			r := kmsg.NewPtrAlterConfigsRequest()
			r.Resources = []kmsg.AlterConfigsRequestResource{{ResourceType: topic, ResourceName: name, Configs: configs}}
			r.ValidateOnly = validateOnly
			for _, row := range roundTrip[*kmsg.AlterConfigsResponse](w, r, v).Resources {
				codes, messages = append(codes, row.ErrorCode), append(messages, row.ErrorMessage)
			}
			return codes, messages
		}
		bytes, ms := kmsg.AlterConfigsRequestResourceConfig{Name: "retention.bytes", Value: text("5")}, kmsg.AlterConfigsRequestResourceConfig{Name: "retention.ms", Value: text("7")}
		codes, messages := replace(false, "orders", bytes, ms)
		codesOf([]Code{none}, codes, messages)
		codes, messages = replace(true, "orders")
		codesOf([]Code{none}, codes, messages)
		codes, messages = replace(false, "orders", kmsg.AlterConfigsRequestResourceConfig{Name: "retention.ms"})
		codesOf([]Code{invalidRequest}, codes, messages)
		codes, messages = replace(false, "none", ms)
		codesOf([]Code{unknownTopicOrPartition}, codes, messages)
		if got := configured(); len(got) != 2 {
			t.Fatalf("v%d: %v", v, got)
		}
		codes, messages = replace(false, "orders", ms)
		if codesOf([]Code{none}, codes, messages); len(configured()) != 1 || configured()["retention.ms"] != "7" {
			t.Fatalf("v%d: %v", v, configured())
		}
	}
}

// TestConfigsThatPeopleSet sets configurations that tools and operators of Apache Kafka set without asking, in each of the
// three APIs. They are kept and described, and a topic with min.insync.replicas above the number of replicas is written to.
func TestConfigsThatPeopleSet(t *testing.T) {
	h := newTestServer(t, func(c *Config) { // the values of a broker that was configured otherwise than by default in nothing
		c.TopicDefaults = meta.Defaults{SegmentBytes: 64 << 20, MaxMessageBytes: 1<<20 + 12}
	})
	w := h.dial()
	for name, value := range map[string]string{
		"compression.type": "zstd", "min.insync.replicas": "2", "leader.replication.throttled.replicas": "0:1,1:1",
		"follower.replication.throttled.replicas": "*", "local.retention.ms": "5", "local.retention.bytes": "5",
		"remote.log.copy.disable": "true", "remote.log.delete.on.disable": "true",
	} {
		create := kmsg.NewPtrCreateTopicsRequest()
		create.Topics = []kmsg.CreateTopicsRequestTopic{{Topic: name, NumPartitions: 1, ReplicationFactor: 1,
			Configs: []kmsg.CreateTopicsRequestTopicConfig{{Name: name, Value: &value}}}}
		if got := roundTrip[*kmsg.CreateTopicsResponse](w, create, 7).Topics[0]; got.ErrorCode != none {
			t.Errorf("CreateTopics with %s=%s: %s", name, value, *got.ErrorMessage)
		}
		alter := kmsg.NewPtrAlterConfigsRequest()
		alter.Resources = []kmsg.AlterConfigsRequestResource{{ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: name,
			Configs: []kmsg.AlterConfigsRequestResourceConfig{{Name: name, Value: &value}}}}
		if got := roundTrip[*kmsg.AlterConfigsResponse](w, alter, 2).Resources[0]; got.ErrorCode != none {
			t.Errorf("AlterConfigs of %s=%s: %s", name, value, *got.ErrorMessage)
		}
		incremental := kmsg.NewPtrIncrementalAlterConfigsRequest()
		incremental.Resources = []kmsg.IncrementalAlterConfigsRequestResource{{ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: name,
			Configs: []kmsg.IncrementalAlterConfigsRequestResourceConfig{{Name: name, Value: &value}}}}
		if got := roundTrip[*kmsg.IncrementalAlterConfigsResponse](w, incremental, 1).Resources[0]; got.ErrorCode != none {
			t.Errorf("IncrementalAlterConfigs of %s=%s: %s", name, value, *got.ErrorMessage)
		}
		topic, _ := h.engine.Topic(name)
		if got := roundTrip[*kmsg.ProduceResponse](w, produceTo(topic, 0, records("x")), 9).Topics[0].Partitions[0]; got.ErrorCode != none {
			t.Errorf("Produce with %s=%s: %+v", name, value, got)
		}

		// Case: an empty list of names asks for all configurations, of which only this one is not the default.
		describe := kmsg.NewPtrDescribeConfigsRequest()
		describe.Resources = []kmsg.DescribeConfigsRequestResource{{ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: name, ConfigNames: []string{}}}
		configs := roundTrip[*kmsg.DescribeConfigsResponse](w, describe, 4).Resources[0].Configs
		if len(configs) < 30 {
			t.Errorf("%d configurations", len(configs))
		}
		for _, c := range configs {
			if changed := c.Source != kmsg.ConfigSourceDefaultConfig; changed != (c.Name == name) || changed && *c.Value != value {
				t.Errorf("%s=%s: source of %s=%s is %v", name, value, c.Name, *c.Value, c.Source)
			}
		}
	}
}
