package story

import (
	"time"
)

// Certainty is how sure an answer is.
type Certainty string

const (
	Recorded Certainty = "recorded" // the reaction itself has said so
	Inferred Certainty = "inferred" // from a committed position: whoever committed it tells nothing more
	Unknown  Certainty = "unknown"
)

// State is that of an obligation.
type State string

const (
	Handled         State = "handled"
	Waiting         State = "waiting"
	Retrying        State = "retrying"
	SkippedEvent    State = "skipped"
	JoinedLater     State = "joined_later"     // was there first; holds up no story
	NobodyListening State = "nobody_listening" // stands alone under an event
	Retired         State = "retired"          // the reaction is gone for good
	Lost            State = "lost"             // fell to retention before it was handled
	UnknownState    State = "unknown"          // the position moved on without a record of why
)

// Obligation is what one reaction owes, or has given, to one event.
type Obligation struct {
	// Reaction that listens; empty with NobodyListening.
	Reaction  string    `json:"reaction,omitempty"`
	State     State     `json:"state"`
	Certainty Certainty `json:"certainty"`
	// At is when it was handled, skipped, or last failed; Took how long the handler ran.
	At   time.Time     `json:"at,omitzero"`
	Took time.Duration `json:"took_ns,omitempty"`
	// Behind, with Waiting: how many events the reaction has to handle in this partition, this one included.
	Behind int64 `json:"behind,omitempty"`
	// Attempts that failed, the last Error, and the Next attempt: with Retrying, and with Handled after a retry.
	Attempts int       `json:"attempts,omitempty"`
	Error    string    `json:"error,omitempty"`
	Next     time.Time `json:"next,omitzero"`
	// Reason, with SkippedEvent.
	Reason string `json:"reason,omitempty"`
	// Duplicate: the event had been handled by another of its copies.
	Duplicate bool `json:"duplicate,omitempty"`
	// LostFrom and LostTo, with Lost: the offsets [LostFrom, LostTo) that are gone.
	LostFrom int64 `json:"lost_from,omitempty"`
	LostTo   int64 `json:"lost_to,omitempty"`
}

// Open tells whether the obligation holds up its story.
func (o Obligation) Open() bool {
	switch o.State {
	case Waiting, Retrying, Lost, UnknownState:
		return o.Certainty != Inferred
	}
	return false
}

// Event is one event of a story, with what came of it.
type Event struct {
	ID          string    `json:"id"`
	Type        string    `json:"type,omitempty"` // empty: a foreign record
	Subject     string    `json:"subject,omitempty"`
	Source      string    `json:"source,omitempty"`
	Reaction    string    `json:"emitted_by,omitempty"` // the reaction that emitted it; empty on a root
	Correlation string    `json:"correlation"`
	Causation   string    `json:"causation,omitempty"`
	Time        time.Time `json:"time"`
	Topic       string    `json:"topic"`
	Partition   int32     `json:"partition"`
	Offset      int64     `json:"offset"`
	// Copies has the offsets of later records of the same event: a handler ran twice, and emitted the same again.
	Copies []int64 `json:"copies,omitempty"`
	// Foreign: the record has no CloudEvents headers, and its place serves as id.
	Foreign bool `json:"foreign,omitempty"`
	// CauseMissing: it names a cause that is not among the events of the story.
	CauseMissing bool         `json:"cause_missing,omitempty"`
	Obligations  []Obligation `json:"obligations"`
	Children     []*Event     `json:"caused,omitempty"`
}

// Standing is where a story stands.
type Standing string

const (
	StandingSettled Standing = "settled" // recorded by a story.settled that still holds
	StandingQuiet   Standing = "quiet"   // nothing is owed as far as is known, but nobody has recorded it
	StandingOpen    Standing = "open"    // somebody owes something
)

// Story is what happened to a thing, or what followed from an event: all events of one correlation, or of all
// correlations that touch a subject.
type Story struct {
	Query        string   `json:"query"`
	Correlations []string `json:"correlations"`
	Standing     Standing `json:"standing"`
	Sentence     string   `json:"sentence"`
	Events       int      `json:"events"` // copies counted once
	// First and Last are the times of the first event and of the last thing that is known to have happened.
	First time.Time `json:"first"`
	Last  time.Time `json:"last"`
	// AsOf is when the question was answered.
	AsOf time.Time `json:"as_of"`
	// Left is how many older stories of the same subject, and events of a very long story, were left out.
	LeftStories int      `json:"left_stories,omitempty"`
	LeftEvents  int      `json:"left_events,omitempty"`
	Roots       []*Event `json:"roots"`
}

// All gives every event of the story, causes before what they caused.
func (s *Story) All(yield func(*Event) bool) {
	var walk func([]*Event) bool
	walk = func(events []*Event) bool {
		for _, e := range events {
			if !yield(e) || !walk(e.Children) {
				return false
			}
		}
		return true
	}
	walk(s.Roots)
}

// Live is what the brokers say at the moment, beyond what the index knows. The zero value says nothing: then what is
// inferred from it is left out. Whoever reads it does so before the index catches up, so that marks come first.
type Live struct {
	// Committed has the committed positions by group, topic and partition.
	Committed map[string]map[string]map[int32]int64
	// Starts has the first offset that retention has left of each partition.
	Starts map[string]map[int32]int64
}
