package reactor

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
)

func TestMarksAreKeptAsLongAsTheLongestOfTheirTopics(t *testing.T) {
	topic := func(policy, ms, bytes string) retention {
		return retentionOf(kadm.ResourceConfig{Configs: []kadm.Config{
			{Key: "cleanup.policy", Value: &policy}, {Key: "retention.ms", Value: &ms}, {Key: "retention.bytes", Value: &bytes},
		}})
	}
	for name, c := range map[string]struct {
		marks, longest retention
		want           map[string]string
	}{
		"kept for ever":                       {topic("delete", "-1", "-1"), topic("delete", "-1", "-1"), nil},
		"as long":                             {topic("delete", "5000", "-1"), topic("delete", "5000", "100"), nil},
		"longer: nothing is lowered":          {topic("delete", "9000", "-1"), topic("delete", "5000", "-1"), nil},
		"shorter":                             {topic("delete", "4000", "-1"), topic("delete", "5000", "-1"), map[string]string{"retention.ms": "5000"}},
		"events for ever":                     {topic("delete", "4000", "-1"), topic("delete", "-1", "-1"), map[string]string{"retention.ms": "-1"}},
		"events compacted: the last for ever": {topic("delete", "4000", "-1"), topic("compact", "5000", "-1"), map[string]string{"retention.ms": "-1"}},
		"limited by bytes":                    {topic("delete", "-1", "1000000"), topic("delete", "5000", "-1"), map[string]string{"retention.bytes": "-1"}},
		"compacted":                           {topic("compact", "4000", "-1"), topic("delete", "5000", "-1"), map[string]string{"cleanup.policy": "delete", "retention.ms": "5000"}},
	} {
		got := make(map[string]string)
		for _, change := range c.marks.raise(c.longest.time) {
			got[change.Name] = *change.Value
		}
		if len(got) != len(c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
		for key, value := range c.want {
			if got[key] != value {
				t.Errorf("%s: %v, want %v", name, got, c.want)
			}
		}
	}
	if change := (retention{}).raise(time.Hour); change != nil {
		t.Errorf("a topic of which nothing is known is changed: %v", change)
	}
}
