package obligation

import (
	"strconv"
	"time"
)

// Fact is one of the records of this package: *Subscription, *Marks, *Retrying, *Seek, *Settled, *Reopened.
type Fact interface {
	// Kind is the name of the record on the wire.
	Kind() string
	// RecordTopic is the topic that the record belongs on.
	RecordTopic() string
	// Key is the record key.
	Key() string
}

// Subscription says that a reaction listens on a topic. The last one per key counts. It is written once the start
// offsets are resolved, and before they are committed. A tombstone (no value) counts as Retired.
type Subscription struct {
	Reaction string `json:"reaction"`
	Topic    string `json:"topic"`
	// Types that the reaction handles; empty means every type. Events of other types are no obligation of it.
	Types []string `json:"types,omitempty"`
	// Start is the first offset of each partition that the reaction reads. Events before it are no obligation. A
	// partition that is absent starts at 0.
	Start map[int32]int64 `json:"start,omitempty"`
	// Since is the high watermark of each partition when the reaction joined. An event before it, but not before
	// Start, was there first: the reaction joined later, so the obligation is shown but holds up no story. A partition
	// that is absent has 0. A restart of a reaction keeps Since; only new partitions and topics are added.
	Since map[int32]int64 `json:"since,omitempty"`
	// At is when the reaction joined.
	At time.Time `json:"at,omitzero"`
	// Retired means that the reaction is gone for good: what it has not handled holds up nothing any more.
	Retired bool `json:"retired,omitempty"`
}

func (*Subscription) Kind() string        { return "subscription" }
func (*Subscription) RecordTopic() string { return SubscriptionsTopic }
func (s *Subscription) Key() string       { return SubscriptionKey(s.Reaction, s.Topic) }

// SubscriptionKey is the record key of a subscription: it identifies (reaction, topic). A topic name has no slash.
func SubscriptionKey(reaction, topic string) string { return reaction + "/" + topic }

// Range is the offsets [Lo, Hi). On the wire it is the pair [lo,hi].
type Range struct{ Lo, Hi int64 }

// Marks says what a reaction has finished in one partition since its last marks. They are appended after everything
// that those events made it emit is acknowledged, and before the position is committed: who has read a mark finds the
// emissions below the high watermarks of that moment.
type Marks struct {
	Reaction  string `json:"reaction"`
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	// Epoch is that of the last Seek on this partition which the writer has obeyed; 0 before the first. Marks of an
	// older epoch than the last Seek before them in the log are ignored: their writer did not know of the seek.
	Epoch int64 `json:"epoch,omitempty"`
	// Done are all offsets that need nothing more: handled, skipped, duplicates, types without a handler, and offsets
	// that hold no record. Ranges may overlap earlier marks.
	Done []Range `json:"done,omitempty"`
	// Skipped, Retried and Duplicates tell more about offsets that are in Done.
	Skipped    []Skipped `json:"skipped,omitempty"`
	Retried    []Retried `json:"retried,omitempty"`
	Duplicates []int64   `json:"duplicates,omitempty"`
	// Position is the offset that is committed next: everything below it is done.
	Position int64 `json:"position"`
	// Started and Finished bound the handler runs in this record.
	Started  time.Time `json:"started,omitzero"`
	Finished time.Time `json:"finished,omitzero"`
	// Times has one entry for each event that a handler ran for.
	Times []Timing `json:"-"`
}

func (*Marks) Kind() string        { return "marks" }
func (*Marks) RecordTopic() string { return ReactionsTopic }
func (m *Marks) Key() string       { return partitionKey(m.Reaction, m.Topic, m.Partition) }

// Skipped is an event that the reaction decided not to handle.
type Skipped struct {
	Offset int64  `json:"offset"`
	Reason string `json:"reason,omitempty"`
}

// Retried is an event that was handled, but not at the first attempt. Error is that of the last attempt that failed.
type Retried struct {
	Offset   int64  `json:"offset"`
	Attempts int    `json:"attempts"`
	Error    string `json:"error,omitempty"`
}

// Timing is one handler run that succeeded: Finished is its end, Took its duration (both kept to the microsecond). On
// the wire it is [offset, took in µs, finished in µs after Marks.Started].
type Timing struct {
	Offset   int64
	Took     time.Duration
	Finished time.Time
}

// Retrying says that an event has failed and will be tried again. It may be left out or throttled: it tells people
// what goes on and decides nothing. Marks that cover the offset end it.
type Retrying struct {
	Reaction  string    `json:"reaction"`
	Topic     string    `json:"topic"`
	Partition int32     `json:"partition"`
	Offset    int64     `json:"offset"`
	Attempt   int       `json:"attempt"` // how many have failed
	Error     string    `json:"error,omitempty"`
	Next      time.Time `json:"next,omitzero"`
	At        time.Time `json:"at,omitzero"`
}

func (*Retrying) Kind() string        { return "retrying" }
func (*Retrying) RecordTopic() string { return ReactionsTopic }
func (r *Retrying) Key() string       { return partitionKey(r.Reaction, r.Topic, r.Partition) }

// Seek says that somebody moved the position of a reaction by hand. It is written before the position is committed.
// From then on everything at or above To is open again, whatever earlier marks said, and what lies in [From, To) and
// was not done is skipped.
type Seek struct {
	Reaction  string `json:"reaction"`
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	From      int64  `json:"from"`
	To        int64  `json:"to"`
	// Epoch is 1 for the first seek of a partition and grows by one with each.
	Epoch int64     `json:"epoch"`
	Who   string    `json:"who,omitempty"`
	At    time.Time `json:"at,omitzero"`
}

func (*Seek) Kind() string        { return "seek" }
func (*Seek) RecordTopic() string { return ReactionsTopic }
func (s *Seek) Key() string       { return partitionKey(s.Reaction, s.Topic, s.Partition) }

func partitionKey(reaction, topic string, partition int32) string {
	return SubscriptionKey(reaction, topic) + "/" + strconv.Itoa(int(partition))
}
