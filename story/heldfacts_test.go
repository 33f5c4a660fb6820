package story

import (
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"tidings.dev/internal/logclient"
	"tidings.dev/internal/obligation"
)

// TestFactsComeAfterTheirEvents reads facts before the events that they cover, some of them never: they are held back until the
// events are applied with them or before them, and nothing is kept ahead.
func TestFactsComeAfterTheirEvents(t *testing.T) {
	const stories = 50
	ix, log := openTest(t), newTestLog()
	must(t, ix.setTopics([]logclient.Topic{shopTopic("orders"), shopTopic(obligation.StoryTopic)}))
	var events, facts []*kgo.Record
	for i := range stories {
		id := fmt.Sprint("c", i)
		event := log.event("orders", id, id, "", "", "placed", "order/1", epoch)
		log.fact(&obligation.Settled{Correlation: id, Root: id, Episode: 1, Events: 1, Through: []obligation.Position{{Topic: "orders", TopicID: shopTopic("orders").ID, Offset: event.Offset + 1}}, At: epoch})
		events, facts = append(events, log.records[0]), append(facts, log.records[1])
		log.records = nil
	}
	h := newHeldFacts()
	poll := func(records ...*kgo.Record) (n int) {
		t.Helper()
		passed := h.pass(ix, records)
		must(t, ix.Apply(passed))
		if rows := rowsIn(t, ix, bucketAhead); rows > 0 {
			t.Errorf("%d facts are kept ahead of their events", rows)
		}
		return len(passed)
	}
	if n := poll(facts[:20]...); n != 0 || len(h.facts) != 20 {
		t.Errorf("%d records are applied, %d facts are held back", n, len(h.facts))
	}
	if n := poll(append(events[:10:10], facts[20:30]...)...); n != 20 || len(h.facts) != 20 {
		t.Errorf("%d records are applied, %d facts are held back", n, len(h.facts))
	}
	if n := poll(append(events[10:40:40], facts[30:]...)...); n != 60 || len(h.facts) != 10 {
		t.Errorf("%d records are applied, %d facts are held back", n, len(h.facts))
	}
	if n := poll(events[40:]...); n != 20 || len(h.facts) != 0 {
		t.Errorf("%d records are applied, %d facts are held back", n, len(h.facts))
	}
	if s := ix.Stats(); s.Settled != stories {
		t.Errorf("%+v", s)
	}
}
