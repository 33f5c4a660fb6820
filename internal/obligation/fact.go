package obligation

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"tidings.dev/internal/offsets"
)

// Fact is one of the records of this package: a *Subscription, *Derivation, *Emission, *Mismatch, *NotUnderstood, *Marks,
// *Retrying, *Running, *Seek, *Settled, *Reopened, *Question, *Answer, *Command, *Claim or *Result.
type Fact interface {
	// Kind returns the kind of the record, as it is named in the JSON.
	Kind() string
	// RecordTopic returns the name of the topic that the record belongs on.
	RecordTopic() string
	// Key returns the record's key.
	Key() string
}

// Subscription is the record that a reaction listens to a topic. Of the records with one key the last counts (see
// Merge for the exception). It is written once the start offsets are known, and before any position of the group is
// committed. A tombstone (a record without a value) counts as Retired.
type Subscription struct {
	Reaction string `json:"reaction"`
	Topic    string `json:"topic"`
	// App is the name of the app that the reaction belongs to; empty in records of earlier versions.
	App string `json:"app,omitempty"`
	// TopicID is the id of the topic that the offsets belong to; a topic that was deleted and made again has another
	// id. It is zero if the writer or the log does not have topic ids.
	TopicID TopicID `json:"topic_id,omitzero"`
	// Version is the version of the program whose types these are. The zero value is lower than every other version.
	Version Version `json:"version,omitzero"`
	// Types are the event types that the reaction handles; empty means every type. The reaction owes nothing to events
	// of other types. An instance of the reaction without a handler for one of Types must not pass over events of that
	// type.
	Types []string `json:"types,omitempty"`
	// Joining has those of Types that were added lately, and of which it is not known yet from which offset on they
	// are owed. Until then nothing is owed to their events. The instance that has added a type sets its TypeSince once
	// this record is durable.
	Joining []string `json:"joining,omitempty"`
	// TypeSince has, by type and partition, the offset from which on events of a type that was added later are owed.
	// It is to the type what Since is to the subscription.
	TypeSince map[string]map[int32]int64 `json:"type_since,omitempty"`
	// Ended has the types that the reaction was subscribed to and is not any more, by type. What it has handled of them stays
	// handled, and it owes nothing to the others. A type may be in Types, too, if it was added again.
	Ended map[string]Ended `json:"ended,omitempty"`
	// Start is the first offset that the reaction reads, by partition; 0 for a partition that is absent. The reaction
	// owes nothing to events below it.
	Start map[int32]int64 `json:"start,omitempty"`
	// Since is the high watermark at the time when the reaction joined, by partition; 0 for a partition that is
	// absent. An event from Start on and below Since was in the log before the reaction: what the reaction owes to it
	// is shown as "joined later" and does not hold a story open. A restart of the reaction does not change Since.
	Since map[int32]int64 `json:"since,omitempty"`
	// At is the time when the reaction joined.
	At time.Time `json:"at,omitzero"`
	// Revision is one more than the revision of the record that this one replaces. If two records have the same
	// revision, their writers did not know of each other, and Merge combines the two. A record with a lower revision
	// than an earlier record does not count.
	Revision int64 `json:"revision,omitempty"`
	// Retired reports whether the subscription has ended for good. A retired subscription owes nothing.
	Retired bool `json:"retired,omitempty"`
}

// Ended is when a reaction was subscribed to a type that it does not handle any more.
type Ended struct {
	// Since and Until have, by partition, the offset from which on events of the type were owed, and the one from which on they
	// were not any more. An absent partition has 0. A nil Until is not known yet.
	Since map[int32]int64 `json:"since,omitempty"`
	Until map[int32]int64 `json:"until,omitempty"`
	At    time.Time       `json:"at,omitzero"` // when the subscription to the type ended; zero if Until is nil
}

// Has reports whether the reaction was subscribed to the type when the event at an offset was appended. While Until is not known, it
// is taken to be the end of the log.
func (e Ended) Has(partition int32, offset int64) bool {
	return offset >= e.Since[partition] && (e.Until == nil || offset < e.Until[partition])
}

// Kind implements Fact.
func (*Subscription) Kind() string { return "subscription" }

// RecordTopic implements Fact.
func (*Subscription) RecordTopic() string { return SubscriptionsTopic }

// Key implements Fact.
func (s *Subscription) Key() string { return SubscriptionKey(s.Reaction, s.Topic) }

// SubscriptionKey returns the key of the records of a subscription, "reaction/topic". Topic names contain no slash, so
// the key identifies the subscription.
func SubscriptionKey(reaction, topic string) string { return reaction + "/" + topic }

// Marks is the record of what a reaction has finished in one partition since its last marks. It is appended after all
// events that the reaction emitted for the finished events are acknowledged, and before the position is committed. So
// a reader of the marks finds those emissions below the high watermarks of the time at which it reads, and below the offsets in Through.
type Marks struct {
	Reaction string `json:"reaction"`
	Topic    string `json:"topic"`
	// TopicID is the id of the topic that the offsets belong to; zero if the writer or the log does not have topic
	// ids. The same holds for Retrying, Running and Seek.
	TopicID   TopicID `json:"topic_id,omitzero"`
	Partition int32   `json:"partition"`
	// Epoch is the epoch of the last Seek on this partition that the writer has obeyed; 0 before the first seek. Marks
	// with a lower epoch than the last Seek before them in the log are ignored, since their writer did not know of the
	// seek.
	Epoch int64 `json:"epoch,omitempty"`
	// Leader is the leader epoch of the newest record that the writer has read of the partition; nil if it, or the log, knows
	// none. Marks do not count at and above the end of that epoch: see Below.
	Leader *int32 `json:"leader_epoch,omitempty"`
	// Done has the offsets that are done: of events that were handled or skipped, of events of types without a
	// handler, and offsets without a record. For every range 0 <= Lo <= Hi. Ranges may overlap those of earlier marks.
	Done []offsets.Range `json:"done,omitempty"`
	// Unhandled has the offsets in Done whose events the reaction has no handler for.
	Unhandled []offsets.Range `json:"unhandled,omitempty"`
	// Skipped and Retried describe some of the offsets in Done.
	Skipped []Skipped `json:"skipped,omitempty"`
	Retried []Retried `json:"retried,omitempty"`
	// Copies has the later records of events that have arrived before. Their offsets are not in Done: a copy is done
	// when its original is, and the original may be marked in an earlier record, in this one, or in a later one.
	Copies []Copy `json:"copies,omitempty"`
	// Duplicates has the offsets of copies in records of the first version of this package. They are in Done as well.
	Duplicates []int64 `json:"duplicates,omitempty"`
	// Emitted has the offsets of Done whose handlers have emitted something; it may have others of Done, and offsets that are not
	// in Done. It is nil if the writer, of an earlier version, has not recorded it, or if Through would be too long: then any of Done
	// may have emitted something, anywhere. Empty, and not nil, means that none of Done has.
	Emitted []offsets.Range `json:"emitted,omitzero"`
	// Through has, for each partition that the handlers of Emitted have emitted to, the offset after the last of it, and how many
	// offsets it spans. Whoever has read so far has read all that they emitted. A partition whose leader epoch has changed meanwhile,
	// as at a start of its broker, has one entry for each epoch: where records are kept in memory, the offsets between the two
	// may never have been given. In records of earlier versions, without Span, it has one. A topic id of zero means that it is not
	// known.
	Through []Position `json:"through,omitempty"`
	// Position is the offset that is committed after this record: all offsets below it are done.
	Position int64 `json:"position"`
	// Started is when the first handler run that this record covers began, and Finished when the last one ended.
	Started  time.Time `json:"started,omitzero"`
	Finished time.Time `json:"finished,omitzero"`
	// Times has one entry for each event whose handler ran and succeeded.
	Times []Timing `json:"-"`
}

// Kind implements Fact.
func (*Marks) Kind() string { return "marks" }

// RecordTopic implements Fact.
func (*Marks) RecordTopic() string { return ReactionsTopic }

// Key implements Fact.
func (m *Marks) Key() string { return partitionKey(m.Reaction, m.Topic, m.Partition) }

// Skipped is an event that the reaction has decided not to handle. Reason is a text for people and may be empty.
type Skipped struct {
	Offset int64  `json:"offset"`
	Reason string `json:"reason,omitempty"`
}

// Copy is a record at Offset that has the identity of an earlier record of its partition, the original, which is at
// Of. In the JSON it is [offset, of].
type Copy struct{ Offset, Of int64 }

// MarshalJSON implements json.Marshaler.
func (c Copy) MarshalJSON() ([]byte, error) { return json.Marshal([2]int64{c.Offset, c.Of}) }

// UnmarshalJSON implements json.Unmarshaler.
func (c *Copy) UnmarshalJSON(b []byte) error {
	var pair [2]int64
	if err := json.Unmarshal(b, &pair); err != nil {
		return err
	}
	if pair[1] < 0 || pair[0] <= pair[1] {
		return fmt.Errorf("copy %d of %d: an original comes before its copies", pair[0], pair[1])
	}
	*c = Copy{pair[0], pair[1]}
	return nil
}

// Retried is an event that was handled after one or more failed attempts. Attempts is the number of all attempts,
// including the last one, which succeeded. Error is the error of the last failed attempt.
type Retried struct {
	Offset   int64  `json:"offset"`
	Attempts int    `json:"attempts"`
	Error    string `json:"error,omitempty"`
}

// Timing is one handler run that succeeded. Its times have a precision of one microsecond. In the JSON it is [offset,
// Took in µs, time from Marks.Started to Finished in µs].
type Timing struct {
	// Took is how long the run took.
	Offset   int64
	Took     time.Duration
	Finished time.Time // when the run ended
}

// Retrying is the record that a reaction has failed to handle an event and will try again. It is shown to people and
// nothing depends on it, so it may be left out, as for short waits and when many events fail. It does not hold any
// more once Marks cover its offset.
type Retrying struct {
	Reaction  string  `json:"reaction"`
	Topic     string  `json:"topic"`
	TopicID   TopicID `json:"topic_id,omitzero"`
	Partition int32   `json:"partition"`
	Offset    int64   `json:"offset"`
	// Attempt is the number of attempts that have failed; 1 or more.
	Attempt int `json:"attempt"`
	// First is when the first attempt failed, which may have been in another instance; zero in records of earlier
	// versions.
	First time.Time `json:"first,omitzero"`
	// Error is the error of the last attempt.
	Error string `json:"error,omitempty"`
	// Next is when the next attempt is due.
	Next time.Time `json:"next,omitzero"`
	// At is when the last attempt failed.
	At time.Time `json:"at,omitzero"`
}

// Kind implements Fact.
func (*Retrying) Kind() string { return "retrying" }

// RecordTopic implements Fact.
func (*Retrying) RecordTopic() string { return ReactionsTopic }

// Key implements Fact.
func (r *Retrying) Key() string { return partitionKey(r.Reaction, r.Topic, r.Partition) }

// Running is the record that a handler has been running for long. It is written when that is noticed, and again every
// RunningEvery while the handler runs. It is shown to people and nothing depends on it, so it may be left out.
type Running struct {
	Reaction  string  `json:"reaction"`
	Topic     string  `json:"topic"`
	TopicID   TopicID `json:"topic_id,omitzero"`
	Partition int32   `json:"partition"`
	Offset    int64   `json:"offset"`
	// Attempt is the number of the running attempt, from 1.
	Attempt int `json:"attempt"`
	// Since is when the handler was called.
	Since time.Time `json:"since,omitzero"`
	// First is when the first attempt failed; zero if none has failed.
	First time.Time `json:"first,omitzero"`
	// At is a time at which the handler was still running.
	At time.Time `json:"at,omitzero"`
}

// Kind implements Fact.
func (*Running) Kind() string { return "running" }

// RecordTopic implements Fact.
func (*Running) RecordTopic() string { return ReactionsTopic }

// Key implements Fact.
func (r *Running) Key() string { return partitionKey(r.Reaction, r.Topic, r.Partition) }

// RunningEvery is the time after which another Running record is written while a handler runs.
const RunningEvery = 20 * time.Second

// Seek is the record that the position of a reaction in one partition was moved by hand, from From to To. It is
// written before the new position is committed. If it moves back, all events from To on are open again, whatever
// earlier marks say. Otherwise the events in [From, To) that were not done are skipped, and offsets above To that are
// done stay done.
type Seek struct {
	Reaction  string  `json:"reaction"`
	Topic     string  `json:"topic"`
	TopicID   TopicID `json:"topic_id,omitzero"`
	Partition int32   `json:"partition"`
	From      int64   `json:"from"`
	To        int64   `json:"to"`
	// Epoch is 1 for the first seek of a partition, and one more for each further one.
	Epoch int64 `json:"epoch"`
	// Who names the person or program that moved the position, for people; "unknown" if a reaction found its position
	// moved.
	Who string `json:"who,omitempty"`
	// Why is the reason that was given, for people.
	Why string `json:"why,omitempty"`
	// Command is the ID of the Command that the seek carries out; empty if no instance was told to do it.
	Command string    `json:"command,omitempty"`
	At      time.Time `json:"at,omitzero"`
}

// Back reports whether the seek moves the position back, so that all events from To on are handled again, including
// those that were done ahead of the position. Otherwise the seek jumps over [From, To).
func (s *Seek) Back() bool { return s.To < s.From }

// Kind implements Fact.
func (*Seek) Kind() string { return "seek" }

// RecordTopic implements Fact.
func (*Seek) RecordTopic() string { return ReactionsTopic }

// Key implements Fact.
func (s *Seek) Key() string { return partitionKey(s.Reaction, s.Topic, s.Partition) }

// partitionKey returns "reaction/topic/partition".
func partitionKey(reaction, topic string, partition int32) string {
	return SubscriptionKey(reaction, topic) + "/" + strconv.Itoa(int(partition))
}
