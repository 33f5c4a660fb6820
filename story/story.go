package story

import (
	"time"
)

// Certainty says where the state of an [Obligation] is known from.
type Certainty string

const (
	// Recorded means that the reaction itself has recorded the state, after all that it emitted for the event was
	// durable, or that the state follows from the recorded subscription of the reaction.
	Recorded Certainty = "recorded"
	// Inferred means that the state follows from the committed position of a consumer group that records nothing
	// else.
	Inferred Certainty = "inferred"
	// Unknown means that nothing in the log or on the brokers tells the state.
	Unknown Certainty = "unknown"
)

// State is how far a reaction has come with an event: the state of an [Obligation].
type State string

const (
	// Handled means that the handler has run for the event without an error.
	Handled State = "handled"
	// Waiting means that the event is not handled yet and that no attempt has failed.
	Waiting State = "waiting"
	// Running means that the handler has been running for the event for long, and had not returned when that was last
	// recorded.
	Running State = "running"
	// Retrying means that the last attempt to handle the event has failed and that the reaction will try again.
	Retrying State = "retrying"
	// SkippedEvent means that the event was passed over without being handled: by [tidings.Skip] in the handler, or
	// by a seek.
	SkippedEvent State = "skipped"
	// JoinedLater means that the event was in the log before the reaction subscribed to it. The obligation is listed,
	// but the story settles without it.
	JoinedLater State = "joined_later"
	// NobodyListening means that no reaction subscribes to the type of the event and that no other consumer group reads
	// its topic. An event has no other obligation beside this one.
	NobodyListening State = "nobody_listening"
	// Retired means that the event was not handled and that the subscription of the reaction has ended for good.
	Retired State = "retired"
	// Lost means that the event was not handled before retention removed it or its topic was deleted.
	Lost State = "lost"
	// UnknownState means that the committed position of the reaction has moved past the event and that no record says
	// why.
	UnknownState State = "unknown"
)

// Obligation is what one reaction owes to one event, or what it has done with it. A field that does not apply to the
// State is zero.
type Obligation struct {
	// Reaction is the name of the reaction, or of a consumer group that belongs to no reaction. It is empty if State
	// is NobodyListening.
	Reaction  string    `json:"reaction,omitempty"`
	State     State     `json:"state"`
	Certainty Certainty `json:"certainty"`
	// At is when the event was handled or skipped, or when the last attempt failed. It is zero if that was not
	// recorded.
	At time.Time `json:"at,omitzero"`
	// Took is how long the handler ran, if State is Handled. It is 0 if that was not recorded.
	Took time.Duration `json:"took_ns,omitempty"`
	// Behind is how many events of this partition the reaction has to handle up to this event, which is included, if
	// State is Waiting.
	Behind int64 `json:"behind,omitempty"`
	// Attempts is the number of attempts that have failed, if State is Retrying or Running, or if it is Handled and
	// the first attempt failed. Error is the error of the last failed attempt; it is empty if State is Running.
	Attempts int    `json:"attempts,omitempty"`
	Error    string `json:"error,omitempty"`
	// Since is when the first attempt failed, in whatever instance that was, if State is Retrying, and when the
	// handler was called if State is Running. It is zero if that was not recorded.
	Since time.Time `json:"since,omitzero"`
	// Next is when the next attempt is due, if State is Retrying.
	Next time.Time `json:"next,omitzero"`
	// Reason is why the event was skipped, if State is SkippedEvent.
	Reason string `json:"reason,omitempty"`
	// Duplicate is true if State is Handled and the record is a copy of an event that the reaction had handled
	// before.
	Duplicate bool `json:"duplicate,omitempty"`
	// Late is true if the reaction subscribed when the event was already in the log and has handled or skipped it
	// nevertheless. Joined is when the reaction subscribed, if Late is true or State is JoinedLater. It is zero if
	// that was not recorded.
	Late   bool      `json:"late,omitempty"`
	Joined time.Time `json:"joined,omitzero"`
	// LostFrom and LostTo are the range of offsets [LostFrom, LostTo) that retention removed before the reaction had
	// handled them, if State is Lost. Both are 0 if the topic was deleted.
	LostFrom int64 `json:"lost_from,omitempty"`
	LostTo   int64 `json:"lost_to,omitempty"`
	// LostEmissions are the topics to which the handler has emitted what nobody can read any more: before the index had read it, the
	// topic was deleted, or it may have been removed from the topic and not been handled. The story does not settle then.
	LostEmissions []LostEmission `json:"lost_emissions,omitempty"`
	// Mismatch lists the fields in which events of this kind differ from the Go type that the reaction decodes them
	// into. It is nil if the reaction has recorded no difference. The index does not have this information: the
	// methods of this package leave Mismatch nil, and the command `tidings story` sets it.
	Mismatch *FieldMismatch `json:"mismatch,omitempty"`
}

// LostEmission is what a handler has emitted to a topic that was deleted, or from which it may have been removed, before the index had read it.
type LostEmission struct {
	Topic string `json:"topic"`
	// Uncertain is true if the reaction has recorded what it emitted for several events together, so that it may have been emitted
	// for another one of them, and if OwedBy is not empty.
	Uncertain bool `json:"uncertain,omitempty"`
	// OwedBy is a reaction that may not have handled it. Then the topic is there, and records of it were removed, by retention, DeleteRecords, or
	// a restart of the broker that had them in memory. The story settles when no reaction can owe what was removed: each has moved its
	// position past it, or has retired. OwedBy is empty if the topic was deleted.
	OwedBy string `json:"owed_by,omitempty"`
}

// Open reports whether the obligation keeps its story from settling: the reaction has not handled the event, or it is
// not known whether it has. An obligation that is only inferred is never open.
func (o Obligation) Open() bool {
	switch o.State {
	case Waiting, Running, Retrying, Lost, UnknownState:
		return o.Certainty != Inferred
	}
	return false
}

// Event is one event of a [Story], with its obligations and the events that it caused.
type Event struct {
	// ID is the id of the event. If Foreign is true, the event has none and ID is topic/partition/offset.
	ID string `json:"id"`
	// Type is the name of the fact. It is empty if the record carries none.
	Type string `json:"type,omitempty"`
	// Subject is what the event is about. If the event names no subject, it is the key of the record.
	Subject string `json:"subject,omitempty"`
	Source  string `json:"source,omitempty"`
	// Reaction is the name of the reaction that emitted the event. It is empty if the event is a root emission.
	Reaction    string `json:"emitted_by,omitempty"`
	Correlation string `json:"correlation"`
	// Causation is the id of the event that was being handled when this one was emitted. It is empty if the event is
	// a root emission.
	Causation string    `json:"causation,omitempty"`
	Time      time.Time `json:"time"`
	Topic     string    `json:"topic"`
	Partition int32     `json:"partition"`
	Offset    int64     `json:"offset"`
	// Copies are the offsets, ascending, of later records of the same event in the same partition. They exist because
	// a handler that runs twice emits the same events again.
	Copies []int64 `json:"copies,omitempty"`
	// CopyOf is the correlation of another story if this is a later record of an event that is in that story and counts there: somebody
	// has emitted it again under another correlation. It is empty otherwise.
	CopyOf string `json:"copy_of,omitempty"`
	// Foreign is true if the record has no event id, because its producer does not write CloudEvents.
	Foreign bool `json:"foreign,omitempty"`
	// CauseMissing is true if Causation names an event that is not in the story or that itself follows from this
	// event. The event is then one of the roots of the story.
	CauseMissing bool `json:"cause_missing,omitempty"`
	// Obligations are those of reactions, sorted by name, followed by those of other consumer groups, sorted by name.
	// There is at least one.
	Obligations []Obligation `json:"obligations"`
	// Children are the events that name this event as their cause, oldest first.
	Children []*Event `json:"caused,omitempty"`
}

// Standing says whether a story is open, quiet or settled.
type Standing string

const (
	// StandingSettled means that tidings.story has a story.settled for the story that still holds.
	StandingSettled Standing = "settled"
	// StandingQuiet means that no obligation is known to be open, but that no indexer has recorded the story as
	// settled.
	StandingQuiet Standing = "quiet"
	// StandingOpen means that at least one obligation is open.
	StandingOpen Standing = "open"
)

// Story is what happened to the key that was asked for: all events of one correlation, or of several correlations if
// the key is a subject or a trace. [Index.Story] and [Indexer.Story] return one. [Story.Render] prints it for people,
// and encoding/json encodes it for programs. The names of the JSON fields do not change.
type Story struct {
	// Query is the key that was asked for.
	Query string `json:"query"`
	// Correlations are the correlations of the stories in this answer. The stories with open obligations come first,
	// the one with the worst obligation at the head; among the others the newest comes first.
	Correlations []string `json:"correlations"`
	// Standing is the worst standing among all stories that the key leads to: open if any is open, else quiet if any
	// is quiet, else settled.
	Standing Standing `json:"standing"`
	// Sentence is one line for people. It says what the story is about, whether it has settled, and which reactions
	// it waits for. It covers all stories that the key leads to.
	Sentence string `json:"sentence"`
	// Events is the number of events in all stories that the key leads to. Copies of an event count once.
	Events int `json:"events"`
	// OpenStories is the number of open stories among those that the key leads to.
	OpenStories int `json:"open_stories,omitempty"`
	// IncompleteStories is the number of quiet stories among them that do not settle, since an event of theirs was, or may have been,
	// lost: see Obligation.LostEmissions.
	IncompleteStories int `json:"incomplete_stories,omitempty"`
	// First is the time of the first event. Last is the latest time at which something is known to have happened: an
	// event was emitted, or was handled, was skipped or failed.
	First time.Time `json:"first"`
	Last  time.Time `json:"last"`
	// AsOf is when the question was answered.
	AsOf time.Time `json:"as_of"`
	// GoneEvents is the number of records of events of these stories that retention has removed from the log, and that the index
	// has forgotten: see [Indexer.Forget]. They do not count in Events. A story of which nothing is left is not found, and an
	// index that was built after they were removed knows nothing of them.
	GoneEvents int `json:"gone_events,omitempty"`
	// LeftStories is the number of stories of the key that are left out of this answer. LeftEvents is the number of
	// records that are left out because a story is very long.
	LeftStories int `json:"left_stories,omitempty"`
	LeftEvents  int `json:"left_events,omitempty"`
	// Settled lists the stories among Correlations that have settled, if the key leads to more than one story.
	// [Story.Render] prints one line for each of them. Roots has their events as far as the limit on events allows.
	Settled []Ref `json:"settled,omitempty"`
	// Roots are the events that no event of the story caused, oldest first. Every other event is a descendant of a
	// root, by [Event.Children].
	Roots []*Event `json:"roots"`
	// Deeper is used in JSON only, because many JSON decoders limit how deeply objects may be nested. The encoder
	// moves each event that is more than 16 levels deep from the children of its cause to Deeper, together with up to
	// 16 levels of its own children. Its Causation names the event that it belongs to. Deeper is empty unless the
	// Story was decoded from JSON.
	Deeper []*Event `json:"deeper,omitempty"`
}

// All yields every event of the story, each before the events that it caused. It is an [iter.Seq]: for e := range
// s.All.
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
	_ = walk(s.Roots) && walk(s.Deeper)
}

// Live is what the brokers know and the index does not. With the zero value no obligation is Inferred, Lost to
// retention, or UnknownState. A Live must be read from the brokers before the index catches up with the log;
// otherwise a committed position in it may be newer than the marks that explain it. [Indexer.Story] reads one in that
// order.
type Live struct {
	// Committed has the committed positions of all groups, by group, topic and partition.
	Committed map[string]map[string]map[int32]int64
	// Starts has the first offset that retention has not removed, by topic and partition.
	Starts map[string]map[int32]int64
}
