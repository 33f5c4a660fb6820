package obligation

import "time"

// QuestionsTopic is the topic of Question and Answer: receipts ask there whether a story had settled before they began
// to wait, and the elected indexer answers there. Its records are only of use for a moment, and are kept for an hour.
const QuestionsTopic = "tidings.questions"

// IndexersGroup is the consumer group of the indexers that emit. Its members read QuestionsTopic. The member that
// partition 0 is assigned to is the elected one: it alone appends to StoryTopic and answers questions. While the group
// has no members, no story settles.
const IndexersGroup = "tidings.indexers"

// Question asks the elected indexer whether a story has settled.
type Question struct {
	Correlation string `json:"correlation"`
	// StoryEnd is the offset of StoryTopic from which on the asking process reads the topic itself. The answer must
	// take all facts below it into account.
	StoryEnd int64     `json:"story_end"`
	At       time.Time `json:"at,omitzero"`
}

// Kind implements Fact.
func (*Question) Kind() string { return "question" }

// RecordTopic implements Fact.
func (*Question) RecordTopic() string { return QuestionsTopic }

// Key implements Fact.
func (q *Question) Key() string { return q.Correlation }

// Answer is the elected indexer's answer to a Question.
type Answer struct {
	Correlation string `json:"correlation"`
	// StoryEnd is an offset of StoryTopic: the answer takes all facts below it into account.
	StoryEnd int64 `json:"story_end"`
	// Settled reports whether the story has settled, with all events below Through.
	Settled bool       `json:"settled"`
	Through []Position `json:"through,omitempty"`
	At      time.Time  `json:"at,omitzero"`
}

// Kind implements Fact.
func (*Answer) Kind() string { return "answer" }

// RecordTopic implements Fact.
func (*Answer) RecordTopic() string { return QuestionsTopic }

// Key implements Fact.
func (a *Answer) Key() string { return a.Correlation }
