package obligation

import "time"

// CloudEvents types of the story's own facts.
const (
	TypeSettled  = "story.settled"
	TypeReopened = "story.reopened"
)

// Settled says that all events of a correlation have been handled by everybody who listened to them, and that nothing
// more follows from them. It is true of the events below Through; a later event of the correlation settles anew.
type Settled struct {
	Correlation string `json:"correlation"`
	// Root is the id of the story's first event.
	Root string `json:"root,omitempty"`
	// Episode counts the facts of this story: 1 for the first. Two facts with one (correlation, episode) are the same
	// fact, told twice.
	Episode int `json:"episode"`
	// Events is how many events the story has, copies of one event counted once.
	Events int `json:"events"`
	// Through has, for each partition in which the story has an event, the offset after the last one counted. An event
	// at a lower offset there is part of what has settled: Covers.
	Through []Position `json:"through,omitempty"`
	At      time.Time  `json:"at,omitzero"`
}

func (*Settled) Kind() string        { return TypeSettled }
func (*Settled) RecordTopic() string { return StoryTopic }
func (s *Settled) Key() string       { return s.Correlation }

// Covers tells whether an event of this correlation at that place is among those which have settled.
func (s *Settled) Covers(topic string, partition int32, offset int64) bool {
	for _, p := range s.Through {
		if p.Topic == topic && p.Partition == partition {
			return offset < p.Offset
		}
	}
	return false
}

// Reopened says that a settled story is not settled any more: a later event or a seek made somebody owe something.
type Reopened struct {
	Correlation string    `json:"correlation"`
	Root        string    `json:"root,omitempty"`
	Episode     int       `json:"episode"`
	Events      int       `json:"events"`
	At          time.Time `json:"at,omitzero"`
}

func (*Reopened) Kind() string        { return TypeReopened }
func (*Reopened) RecordTopic() string { return StoryTopic }
func (r *Reopened) Key() string       { return r.Correlation }

// Position is an offset in a partition of a topic.
type Position struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
}
