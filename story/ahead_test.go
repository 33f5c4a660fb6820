package story

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"tidings.dev/internal/logclient"
	"tidings.dev/internal/obligation"
)

// TestFactsThatAreReadBeforeTheirEvents makes an index read the facts of tidings.story before the events that they are
// about. The index must have all verdicts of a settled story, also if it has several events, and must number the next
// episode after them.
func TestFactsThatAreReadBeforeTheirEvents(t *testing.T) {
	ix, log := openTest(t), newTestLog()
	first := log.event("orders", "a", "a", "", "", "placed", "order/a", epoch)
	second := log.event("orders", "a2", "a", "a", "payment", "captured", "order/a", epoch)
	later := log.event("orders", "a3", "a", "a", "payment", "shipped", "order/a", epoch)
	log.records = nil
	if err := ix.setTopics([]logclient.Topic{{Name: "orders", ID: [16]byte{1}, Partitions: 1}, {Name: obligation.StoryTopic, ID: [16]byte{2}, Partitions: 1}}); err != nil {
		t.Fatal(err)
	}
	log.fact(&obligation.Settled{Correlation: "a", Root: "a", Episode: 1, Events: 1, Through: []obligation.Position{{Topic: "orders", Offset: 1}}, At: epoch})
	log.fact(&obligation.Settled{Correlation: "a", Root: "a", Episode: 2, Events: 2, Through: []obligation.Position{{Topic: "orders", Offset: 2}}, At: epoch})
	apply(t, ix, log)
	for _, r := range []*kgo.Record{first, second} {
		if err := ix.Apply([]*kgo.Record{r}); err != nil {
			t.Fatal(err)
		}
		if s := ix.Stats(); ix.hasPending() || s.Settled != 1 || s.Open != 0 {
			t.Fatalf("after event %d: a verdict is missing, %+v", r.Offset, s)
		}
	}
	if err := ix.Apply([]*kgo.Record{later}); err != nil {
		t.Fatal(err)
	}
	ix.freeze()
	verdicts := ix.allRead(ix.beginAll(), epoch)
	if len(verdicts) != 1 {
		t.Fatalf("%d verdicts after an event that no fact covers", len(verdicts))
	}
	if f, ok := verdicts[0].fact.(*obligation.Settled); !ok || f.Episode != 3 || f.Events != 3 {
		t.Errorf("%+v", verdicts[0].fact)
	}
}
