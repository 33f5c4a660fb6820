package logclient_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// The limit of a topic is raised again and again, and records come that need it, first of all those with which kgo begins anew. Each
// record that is acknowledged is in the log, at its offset, and other topics are not concerned.
func TestTopicsThatAreRestartedHaveWhatIsAcknowledged(t *testing.T) {
	c := open(t)
	acknowledged := map[string]map[int64]int{"orders": {}, "returns": {}, "notes": {}} // topic, offset, size
	produce := func(topic string, size int) {
		t.Helper()
		r := &kgo.Record{Topic: topic, Value: []byte(strings.Repeat("x", size))}
		if err := c.ProduceSyncWithin(t.Context(), 10*time.Second, r); err != nil {
			t.Fatal(err)
		}
		if had, twice := acknowledged[topic][r.Offset]; twice {
			t.Errorf("%s: %d and %d bytes were acknowledged at %d", topic, had, size, r.Offset)
		}
		acknowledged[topic][r.Offset] = size
	}
	for topic := range acknowledged {
		c.Declare(topic, 1, nil)
	}
	adm := kadm.NewClient(c.Client())
	for i := range 3 {
		produce("notes", i)
		for _, topic := range []string{"orders", "returns"} {
			size := (i + 1) * 1_100_000
			produce(topic, 100+i)
			limit := fmt.Sprint(size + 1000)
			if _, err := adm.AlterTopicConfigs(t.Context(), []kadm.AlterConfig{{Name: "max.message.bytes", Value: &limit}}, topic); err != nil {
				t.Fatal(err)
			}
			large := &kgo.Record{Topic: topic, Value: make([]byte, size)}
			for c.Fits(t.Context(), 0, large) != nil { // it asks for the limit at most once a second
				time.Sleep(10 * time.Millisecond)
			}
			produce(topic, size)
			produce(topic, i)
		}
	}
	produce("notes", 3)
	for topic, at := range acknowledged {
		for r, err := range c.ReadAll(t.Context(), topic, 0) {
			if err != nil {
				t.Fatal(err)
			}
			if size, ok := at[r.Offset]; !ok || size != len(r.Value) {
				t.Errorf("%s: at %d are %d bytes, and %d were acknowledged", topic, r.Offset, len(r.Value), size)
			}
			delete(at, r.Offset)
		}
		if len(at) > 0 {
			t.Errorf("%s: not in the log: %v", topic, at)
		}
	}
}
