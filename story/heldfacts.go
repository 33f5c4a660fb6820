package story

import (
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"tidings.dev/internal/obligation"
)

// A client that catches up reads tidings.story faster than the topics of the events, of which there are many more. A fact that
// is read before its events costs the index several times as much as one that is read after them (ahead.go), so the indexer
// holds such facts back: it reads them, and applies them when the index has read what they cover.

const (
	maxHeld  = 1 << 13     // facts from which on no more of them are fetched
	heldFor  = time.Second // time without any record that was applied after which facts are applied as they are
	heldLeft = maxHeld / 2 // facts below which they are fetched again
)

// heldFacts are the facts of tidings.story that an indexer has read and not applied, in the order of their offsets. They
// belong to the goroutine of Indexer.Run.
type heldFacts struct {
	facts  []heldFact
	paused bool        // the client does not fetch tidings.story
	timer  *time.Timer // runs while there are facts
}

type heldFact struct {
	record  *kgo.Record
	topic   topicNum
	through []obligation.Position
}

func newHeldFacts() *heldFacts {
	h := &heldFacts{timer: time.NewTimer(time.Hour)}
	h.timer.Stop()
	return h
}

// pass takes the facts out of the records of a poll, and returns the other records and those facts that can be applied with
// them.
func (h *heldFacts) pass(ix *Index, records []*kgo.Record) []*kgo.Record {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	num := ix.topics[obligation.StoryTopic]
	isFact := func(r *kgo.Record) bool { return r.Topic == obligation.StoryTopic }
	for _, r := range records {
		if isFact(r) {
			fact := heldFact{record: r, topic: num}
			if f, err := obligation.Decode(r.Value); err == nil {
				if settled, ok := f.(*obligation.Settled); ok {
					fact.through = settled.Through
				}
			}
			h.facts = append(h.facts, fact)
		}
	}
	if len(h.facts) == 0 {
		return records
	}
	records = slices.DeleteFunc(records, isFact)
	// Of a topic that was deleted, no fact is applied any more.
	h.facts = slices.DeleteFunc(h.facts, func(f heldFact) bool { return f.topic != num })
	ends := make(map[partition]int64)
	for i, r := range records {
		if i+1 == len(records) || records[i+1].Topic != r.Topic || records[i+1].Partition != r.Partition {
			p := partition{ix.topics[r.Topic], r.Partition}
			ends[p] = max(ends[p], r.Offset+1)
		}
	}
	n := 0
	for n < len(h.facts) && !slices.ContainsFunc(h.facts[n].through, func(end obligation.Position) bool {
		topic, ok := ix.topics[end.Topic]
		p := partition{topic, end.Partition}
		return ok && end.TopicID.Is(ix.topicOf[topic].id) && max(ix.positions[p], ends[p]) < end.Offset
	}) {
		n++
	}
	return append(records, h.take(n)...)
}

// take removes the first n facts and returns their records.
func (h *heldFacts) take(n int) (records []*kgo.Record) {
	for _, f := range h.facts[:n] {
		records = append(records, f.record)
	}
	clear(h.facts[:n])
	if h.facts = h.facts[n:]; len(h.facts) == 0 {
		h.facts = nil
	}
	return records
}

// follow makes the client fetch facts, or not, by how many are held, and restarts the timer. It is to be called after records
// were applied.
func (h *heldFacts) follow(client *kgo.Client) {
	switch {
	case !h.paused && len(h.facts) > maxHeld:
		client.PauseFetchTopics(obligation.StoryTopic)
		h.paused = true
	case h.paused && len(h.facts) < heldLeft:
		client.ResumeFetchTopics(obligation.StoryTopic)
		h.paused = false
	}
	if len(h.facts) > 0 {
		h.timer.Reset(heldFor)
	} else {
		h.timer.Stop()
	}
}
