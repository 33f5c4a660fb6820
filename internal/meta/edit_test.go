package meta

import (
	"maps"
	"testing"
)

// Case: configurations are set, taken back, and edited as lists; what is wrong changes nothing and says why.
func TestEditConfig(t *testing.T) {
	c := NewCatalogue(1)
	apply := mustApply(t, c)
	apply(c.Create(TopicSpec{Name: "orders", Configs: map[string]string{RetentionMS: "5", SegmentBytes: "2048"}}, id(1)))
	apply(c.Create(TopicSpec{Name: "signals", Configs: map[string]string{DurabilityMode: "memory"}}, id(2)))

	for _, x := range []struct {
		topic string
		edits []ConfigEdit
		want  map[string]string // nil: refused as ErrInvalidConfig
	}{
		{"orders", []ConfigEdit{{RetentionMS, EditSet, "7"}, {SegmentBytes, EditDelete, ""}, {RetentionBytes, EditDelete, ""}},
			map[string]string{RetentionMS: "7"}},
		{"orders", []ConfigEdit{{CleanupPolicy, EditAppend, "compact, delete"}},
			map[string]string{RetentionMS: "7", CleanupPolicy: "delete,compact"}}, // the list begins as its default
		{"orders", []ConfigEdit{{CleanupPolicy, EditSubtract, "delete,gone"}},
			map[string]string{RetentionMS: "7", CleanupPolicy: "compact"}},
		{"orders", []ConfigEdit{{CleanupPolicy, EditSubtract, "compact"}}, map[string]string{RetentionMS: "7", CleanupPolicy: ""}},
		{"orders", []ConfigEdit{{DurabilityMode, EditSet, "os"}, {CleanupPolicy, EditDelete, ""}}, map[string]string{RetentionMS: "7", DurabilityMode: "os"}},
		{"orders", []ConfigEdit{{DurabilityMode, EditSet, "fast"}}, nil},
		{"orders", []ConfigEdit{{DurabilityMode, EditSet, "memory"}}, nil}, // what is stored can't be memory only
		{"orders", []ConfigEdit{{RetentionMS, EditAppend, "7"}}, nil},      // no list
		{"orders", []ConfigEdit{{RetentionMS, EditSet, "1"}, {RetentionMS, EditDelete, ""}}, nil},
		{"orders", []ConfigEdit{{"retention.hours", EditSet, "1"}}, nil},
		{"orders", []ConfigEdit{{"retention.hours", EditDelete, ""}}, map[string]string{RetentionMS: "7", DurabilityMode: "os"}}, // it is not set
		{"orders", []ConfigEdit{{RetentionMS, EditOp(4), "1"}}, nil},
		{"signals", []ConfigEdit{{DurabilityMode, EditDelete, ""}}, nil},
		{"signals", []ConfigEdit{{CleanupPolicy, EditSet, "compact"}}, nil},
		{"signals", []ConfigEdit{{RetentionBytes, EditSet, "9"}}, map[string]string{DurabilityMode: "memory", RetentionBytes: "9"}},
	} {
		before, _ := c.Topic(x.topic)
		ch, err := c.EditConfig(x.topic, x.edits, Defaults{})
		if x.want == nil {
			want(t, "edit", err, ErrInvalidConfig)
			continue
		}
		apply(ch, err)
		if after, _ := c.Topic(x.topic); !maps.Equal(after.Configs, x.want) || after.ID != before.ID || after.Partitions != before.Partitions {
			t.Errorf("%v made %+v, want %v", x.edits, after, x.want)
		}
	}
	_, err := c.EditConfig("none", nil, Defaults{})
	want(t, "unknown", err, ErrUnknownTopic)

	// Case: the whole configuration is replaced.
	apply(c.Configure("orders", map[string]string{RetentionBytes: "5"}))
	if after, _ := c.Topic("orders"); !maps.Equal(after.Configs, map[string]string{RetentionBytes: "5"}) {
		t.Errorf("%+v", after)
	}
	// Case: a change of a topic that is gone changes nothing, so that a journal may be replayed.
	ch, _ := c.Configure("orders", nil)
	gone, _ := c.Delete(id(1))
	apply(gone, nil)
	c.Apply(ch)
	if _, ok := c.Topic("orders"); ok {
		t.Error("it is back")
	}
}
