package obligation

import (
	"fmt"
	"regexp"
	"time"

	"tidings.dev/internal/offsets"
)

// ControlTopic has the commands for reactions that run, and what has become of them: Command, Claim, Result. It is compacted,
// and its records are stamped by the log's clock, by which commands expire.
const ControlTopic = "tidings.control"

// Command asks the instance that owns a partition to do something in it. It is open until there is a Result with its key. The
// owner reads the open commands of a partition before it handles anything of it, and follows the topic from then on. A command
// that a claim finds older than Valid is expired: its owner does nothing but say so.
//
// So far there is one action, ActionSeek: the events of Again are to be handled again and no others, or those of Jump are to be
// jumped and no others. It is a plan that was made when the last seek of the partition had Epoch. What was done by then stays
// done until there is another seek, so the plan can be carried out later as it was made: what was handled meanwhile is not
// handled again, and not jumped.
type Command struct {
	// ID names the command for people and for who runs it twice. The commands of one ID belong together, one for each partition.
	ID        string  `json:"id"`
	Action    string  `json:"action"`
	Reaction  string  `json:"reaction"`
	Topic     string  `json:"topic"`
	TopicID   TopicID `json:"topic_id,omitzero"`
	Partition int32   `json:"partition"`
	// Epoch is that of the last seek of the partition when the plan was made; 0 before the first.
	Epoch int64 `json:"epoch,omitempty"`
	// Position is where the reaction stood in the partition when the plan was made.
	Position int64 `json:"position"`
	// To is where the position is to be. One that goes ahead, To > Position, jumps all below To that is not done.
	To int64 `json:"to"`
	// Again has the offsets that are to be handled again, in order. All of them were done when the plan was made.
	Again []offsets.Range `json:"again,omitempty"`
	// Jump has the offsets that are to be jumped, in order. None of those of events was done when the plan was made.
	Jump []offsets.Range `json:"jump,omitempty"`
	// Who is the person or program that has written the command, and Why the reason that was given; both are for people.
	Who string `json:"who,omitempty"`
	Why string `json:"why,omitempty"`
	// Valid is for how many milliseconds from when the log has appended it the command may be begun.
	Valid int64     `json:"valid_ms"`
	At    time.Time `json:"at,omitzero"`
}

// ActionSeek is the Action of a command that moves a position.
const ActionSeek = "seek"

// Kind implements Fact.
func (*Command) Kind() string { return "command" }

// RecordTopic implements Fact.
func (*Command) RecordTopic() string { return ControlTopic }

// Key implements Fact. A Result has the key of its command, and so replaces it.
func (c *Command) Key() string { return commandKey(c.Reaction, c.Topic, c.Partition, c.ID) }

// MaxCommand is how many bytes of JSON a command has at most, so that every topic takes it.
const MaxCommand = 60 << 10

// Expired reports whether a command that was appended at one time may not be begun any more at another, both by the log's clock.
func (c *Command) Expired(appended, now time.Time) bool {
	return now.Sub(appended) > time.Duration(c.Valid)*time.Millisecond
}

// commandKey returns "reaction/topic/partition/id".
func commandKey(reaction, topic string, partition int32, id string) string {
	return partitionKey(reaction, topic, partition) + "/" + id
}

var commandID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// CheckCommandID returns an error unless id can be that of a command: up to 64 letters, digits, dots, dashes and underscores.
func CheckCommandID(id string) error {
	if !commandID.MatchString(id) {
		return fmt.Errorf("the id %q has not 1 to 64 letters, digits, dots, dashes or underscores, with a letter or digit first", id)
	}
	return nil
}

// Claim is the record that an instance has taken up a command. Its time, by the log's clock, says whether the command has
// expired by then.
type Claim struct {
	ID        string    `json:"id"`
	Reaction  string    `json:"reaction"`
	Topic     string    `json:"topic"`
	Partition int32     `json:"partition"`
	By        string    `json:"by,omitempty"` // the member of the group, for people
	At        time.Time `json:"at,omitzero"`
}

// Kind implements Fact.
func (*Claim) Kind() string { return "claim" }

// RecordTopic implements Fact.
func (*Claim) RecordTopic() string { return ControlTopic }

// Key implements Fact.
func (c *Claim) Key() string {
	return commandKey(c.Reaction, c.Topic, c.Partition, c.ID) + "/claim"
}

// Result is what has become of a command. A seek that is done is recorded in ReactionsTopic and committed before.
type Result struct {
	ID        string  `json:"id"`
	Reaction  string  `json:"reaction"`
	Topic     string  `json:"topic"`
	TopicID   TopicID `json:"topic_id,omitzero"`
	Partition int32   `json:"partition"`
	// State is one of the constants ResultDone, …
	State string `json:"state"`
	// Reason says why it is not done.
	Reason string `json:"reason,omitempty"`
	// From and To are where the position was and is, and Epoch is that of the seek, if it is done.
	From  int64     `json:"from,omitempty"`
	To    int64     `json:"to,omitempty"`
	Epoch int64     `json:"epoch,omitempty"`
	Who   string    `json:"who,omitempty"` // has given the command
	Why   string    `json:"why,omitempty"`
	By    string    `json:"by,omitempty"` // has carried it out: a member of the group, for people
	At    time.Time `json:"at,omitzero"`
}

// The states of a Result. Of all but ResultDone nothing was done.
const (
	ResultDone    = "done"
	ResultStale   = "stale"   // the plan does not fit any more: somebody else has moved the position, or all was handled meanwhile
	ResultRefused = "refused" // it cannot be done
	ResultExpired = "expired" // no instance has taken it up in time
)

// Kind implements Fact.
func (*Result) Kind() string { return "result" }

// RecordTopic implements Fact.
func (*Result) RecordTopic() string { return ControlTopic }

// Key implements Fact.
func (r *Result) Key() string { return commandKey(r.Reaction, r.Topic, r.Partition, r.ID) }

// Result returns a result of the command with a state and what it shares with the command.
func (c *Command) Result(state, reason string) *Result {
	return &Result{ID: c.ID, Reaction: c.Reaction, Topic: c.Topic, TopicID: c.TopicID, Partition: c.Partition, State: state, Reason: reason, Who: c.Who, Why: c.Why}
}

// Commands is what was read of ControlTopic, by the keys of the commands.
type Commands map[string]*Commanded

// Commanded is what is known of one command. At least one of Command and Result is there: compaction leaves only the last.
type Commanded struct {
	Command  *Command
	Offset   int64     // of Command
	Appended time.Time // when the log has appended Command
	Claim    *Claim    // the last one; nil: none
	Claimed  time.Time // when the log has appended Claim
	Result   *Result   // the first one; nil: the command is open
}

// Open reports whether the command has no result yet.
func (c *Commanded) Open() bool { return c.Result == nil && c.Command != nil }

// Add takes in one record, with its offset and the time by the log's clock at which it was appended; the records must come in order. A value
// that is no record of this topic, or one that is out of place, is ignored.
func (cs Commands) Add(value []byte, offset int64, appended time.Time) {
	f, err := Decode(value)
	if err != nil {
		return
	}
	switch f := f.(type) {
	case *Command:
		if CheckCommandID(f.ID) != nil || cs[f.Key()] != nil { // of two with one id the first counts
			return
		}
		cs[f.Key()] = &Commanded{Command: f, Offset: offset, Appended: appended}
	case *Claim:
		if c := cs[commandKey(f.Reaction, f.Topic, f.Partition, f.ID)]; c != nil {
			c.Claim, c.Claimed = f, appended
		}
	case *Result:
		c := cs[f.Key()]
		if c == nil {
			c = new(Commanded)
			cs[f.Key()] = c
		}
		if c.Result == nil {
			c.Result = f
		}
	}
}
