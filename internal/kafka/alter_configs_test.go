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
