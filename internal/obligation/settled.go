package obligation

import "time"

// The CloudEvents types of the facts about stories.
const (
	TypeSettled  = "story.settled"
	TypeReopened = "story.reopened"
)

// Settled is the fact that every reaction that listened has handled all events of a correlation, and that nothing more
// follows from them. It holds for the events below Through; if a later event of the correlation is emitted, the story
// may be reopened, and settles again with another fact.
type Settled struct {
	Correlation string `json:"correlation"`
	// Root is the id of the story's first event.
	Root string `json:"root,omitempty"`
	// Episode is the number of the fact among those of its story, from 1. Two facts with the same correlation and
	// episode are one fact that was written twice.
	Episode int `json:"episode"`
	// Events is the number of events in the story; copies of one event count once.
	Events int `json:"events"`
	// Through has, for each partition with events of the story, the offset after the last event that was counted. If records below that were
	// removed before the indexer had read them, and a reaction may not have handled them, the partition has two entries: the first
	// covers Span offsets above them, the second what is below them.
	Through []Position `json:"through,omitempty"`
	// At is when the indexer came to the conclusion.
	At time.Time `json:"at,omitzero"`
}

// Kind implements Fact.
func (*Settled) Kind() string { return TypeSettled }

// RecordTopic implements Fact.
func (*Settled) RecordTopic() string { return StoryTopic }

// Key implements Fact.
func (s *Settled) Key() string { return s.Correlation }

// Covers reports whether the event at this place, which must be of the same correlation, is among the events that have
// settled.
func (s *Settled) Covers(topic string, partition int32, offset int64) bool {
	return s.CoversIn(topic, TopicID{}, partition, offset)
}

// CoversIn is like Covers for the topic that has both the name and the id; a zero id stands for any topic of the name.
func (s *Settled) CoversIn(topic string, id TopicID, partition int32, offset int64) bool {
	first := true
	for _, p := range s.Through {
		if p.Topic != topic || p.Partition != partition || !p.TopicID.Is(id) {
			continue
		}
		if first {
			id, first = p.TopicID, false // with a zero id the first topic of the name counts
		}
		if offset < p.Offset && (p.Span == 0 || offset >= p.Offset-p.Span) {
			return true
		}
	}
	return false
}

// Reopened is the fact that a settled story is not settled any more: because of a later event or a seek, a reaction
// owes something again. Its fields have the meaning of those of Settled.
type Reopened struct {
	Correlation string    `json:"correlation"`
	Root        string    `json:"root,omitempty"`
	Episode     int       `json:"episode"`
	Events      int       `json:"events"`
	At          time.Time `json:"at,omitzero"`
}

// Kind implements Fact.
func (*Reopened) Kind() string { return TypeReopened }

// RecordTopic implements Fact.
func (*Reopened) RecordTopic() string { return StoryTopic }

// Key implements Fact.
func (r *Reopened) Key() string { return r.Correlation }

// Position is an offset in a partition of a topic.
type Position struct {
	Topic     string  `json:"topic"`
	Partition int32   `json:"partition"`
	Offset    int64   `json:"offset"`
	TopicID   TopicID `json:"topic_id,omitzero"` // zero if the writer or the log does not have topic ids
	// Span is the number of offsets from the first one that is meant up to Offset. It is 0 in Marks if that is not known, and in Settled
	// and Answer if everything below Offset is meant.
	Span int64 `json:"span,omitzero"`
}
