package client

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"tidings.dev/internal/cli/shell"
	"tidings.dev/internal/logclient"
	"tidings.dev/internal/obligation"
)

// moveResult is what has become of one partition's part of a seek of a reaction that runs.
type moveResult struct {
	ID      string    `json:"id"`
	State   string    `json:"state"` // done, stale, refused or expired, or pending: there is no result yet
	Reason  string    `json:"reason,omitempty"`
	From    int64     `json:"from"` // where the position was, if it is done
	To      int64     `json:"to"`
	By      string    `json:"by,omitempty"` // the member of the group that has done it, or begun to
	Expires time.Time `json:"expires,omitzero"`
}

const statePending = "pending"

// newSeekID makes up an id.
func newSeekID() string { return strings.ToLower(rand.Text()[:10]) }

// commandOf returns the command to carry out a move.
func (k *seek) commandOf(m move) *obligation.Command {
	c := &obligation.Command{
		ID: k.id, Action: obligation.ActionSeek, Reaction: k.group, Topic: m.Topic, TopicID: k.ledger.ids[m.Topic], Partition: m.Partition,
		Epoch: k.account(m.Partition).Epoch(), Position: m.from, To: m.To, Who: userAtHost(), Why: k.why, At: time.Now().UTC(),
	}
	switch {
	case m.exact:
		c.Again, c.Jump = m.again.Ranges(), m.jump.Ranges()
	case m.To < m.from:
		done := k.account(m.Partition).Done.Clone()
		done.Add(m.To, m.from) // what is below a position is done
		again := done.CutFrom(m.To)
		c.Again = again.Ranges()
	}
	return c
}

// moves reports whether the move changes anything.
func (m move) moves() bool { return m.exact || m.To != m.from }

// performRunning has the instances of the reaction do what the plan says, waits for them, and writes what has become of it.
func (k *seek) performRunning(ctx context.Context, s *shell.Session, plan []move, f seekFlags) error {
	if !s.Format.Machine() {
		if err := writePlan(s.Output(), plan); err != nil {
			return err
		}
	}
	var records []*kgo.Record
	for _, m := range plan {
		if !m.moves() {
			continue
		}
		c := k.commandOf(m)
		c.Valid = f.valid.Milliseconds()
		r := &kgo.Record{Topic: c.RecordTopic(), Key: []byte(c.Key()), Value: obligation.Encode(c)}
		if len(r.Value) > obligation.MaxCommand {
			return shell.Failedf("too_many", "stop the group, and run this again", "what is done of %s/%d is scattered so much that a command cannot name it", m.Topic, m.Partition)
		}
		records = append(records, r)
	}
	if len(records) == 0 {
		if s.Format.Machine() {
			return writePlan(s.Output(), plan)
		}
		s.Note("nothing to do: the positions are there")
		return nil
	}
	if err := k.produceControl(ctx, records); err != nil {
		return fmt.Errorf("command the reaction: %w", err)
	}
	return k.await(ctx, s, plan, f.timeout)
}

// produceControl appends records to the topic of commands.
func (k *seek) produceControl(ctx context.Context, records []*kgo.Record) error {
	for _, t := range obligation.Topics() {
		if t.Name == obligation.ControlTopic {
			k.log.Declare(t.Name, t.Partitions, t.Configs)
		}
	}
	if _, err := k.log.Topic(ctx, obligation.ControlTopic); err != nil {
		return err
	}
	return k.log.ProduceSync(ctx, records...)
}

// readCommands returns the commands for a reaction.
func (c connection) readCommands(ctx context.Context, reaction string) (obligation.Commands, error) {
	starts, ends, err := c.boundsOfExisting(ctx, obligation.ControlTopic)
	if err != nil {
		return nil, err
	}
	found := make(obligation.Commands)
	for r, err := range c.log.Read(ctx, starts, ends) {
		if err != nil {
			return nil, fmt.Errorf("read commands: %w", err)
		}
		addCommand(found, r, reaction)
	}
	return found, nil
}

func addCommand(to obligation.Commands, r *kgo.Record, reaction string) {
	if strings.HasPrefix(string(r.Key), reaction+"/") {
		to.Add(r.Value, r.Offset, r.Timestamp)
	}
}

// repeat waits for the seek with the id, if there is one, and writes what has become of it.
func (k *seek) repeat(ctx context.Context, s *shell.Session, timeout time.Duration) (repeated bool, err error) {
	commands, err := k.readCommands(ctx, k.group)
	if err != nil {
		return false, err
	}
	plan := []move{}
	for _, c := range commands {
		m := move{Types: []typeCount{}}
		switch {
		case c.Command != nil && c.Command.ID == k.id:
			m.topicPartition, m.From, m.To = topicPartition{c.Command.Topic, c.Command.Partition}, c.Command.Position, c.Command.To
		case c.Command == nil && c.Result != nil && c.Result.ID == k.id:
			m.topicPartition, m.From, m.To = topicPartition{c.Result.Topic, c.Result.Partition}, c.Result.From, c.Result.To
		default:
			continue
		}
		m.from, m.exact = m.From, true // so that it moves
		plan = append(plan, m)
	}
	if len(plan) == 0 {
		return false, nil
	}
	slices.SortFunc(plan, func(a, b move) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	return true, k.await(ctx, s, plan, timeout)
}

// await waits until all moves of a plan that was commanded have results, writes these, and returns nil if all are done.
func (k *seek) await(ctx context.Context, s *shell.Session, plan []move, timeout time.Duration) error {
	waiting, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	commands, err := k.results(waiting, plan)
	if err != nil && waiting.Err() == nil {
		return err
	}
	asking := ctx
	if ctx.Err() != nil { // ctrl-C: what is known is still said
		asking, cancel = context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
	}
	k.setResults(plan, commands, k.owners(asking))
	if err := writeResults(s.Output(), plan); err != nil {
		return err
	}
	counts := make(map[string]int)
	for _, m := range plan {
		if m.Result != nil {
			counts[m.Result.State]++
		}
	}
	return k.verdict(ctx, counts)
}

// results reads the commands of a plan until all of them have results. With an error it returns what it has read.
func (k *seek) results(ctx context.Context, plan []move) (obligation.Commands, error) {
	found := make(obligation.Commands)
	starts, err := k.log.Starts(ctx, obligation.ControlTopic)
	if err != nil {
		return found, err
	}
	complete := func() bool {
		for _, m := range plan {
			if c := found[k.key(m)]; m.moves() && (c == nil || c.Result == nil) {
				return false
			}
		}
		return true
	}
	for r, err := range k.log.Read(ctx, logclient.Offsets{obligation.ControlTopic: starts[obligation.ControlTopic]}, nil) {
		if err != nil {
			return found, err
		}
		if addCommand(found, r, k.group); complete() {
			break
		}
	}
	return found, nil
}

// key returns the key of the command of a move.
func (k *seek) key(m move) string {
	return (&obligation.Command{ID: k.id, Reaction: k.group, Topic: m.Topic, Partition: m.Partition}).Key()
}

// owners returns the members that have the partitions; nil if that cannot be found out.
func (k *seek) owners(ctx context.Context) map[topicPartition]string {
	group, err := k.connection.group(ctx, k.group)
	if err != nil {
		return nil
	}
	owners := make(map[topicPartition]string)
	for _, m := range group.Members {
		if assigned, ok := m.Assigned.AsConsumer(); ok {
			for _, t := range assigned.Topics {
				for _, p := range t.Partitions {
					owners[topicPartition{t.Topic, p}] = m.MemberID
				}
			}
		}
	}
	return owners
}

// setResults sets what has become of each move that changes something.
func (k *seek) setResults(plan []move, commands obligation.Commands, owners map[topicPartition]string) {
	for i := range plan {
		m := &plan[i]
		if !m.moves() {
			continue
		}
		m.Result = &moveResult{ID: k.id, State: statePending, From: m.from, To: m.To}
		c := commands[k.key(*m)]
		switch owner, owned := owners[m.topicPartition]; {
		case c != nil && c.Result != nil:
			r := c.Result
			m.Result.State, m.Result.Reason, m.Result.By = r.State, r.Reason, r.By
			if r.State == obligation.ResultDone {
				m.Result.From, m.Result.To = r.From, r.To
			}
			continue
		case c != nil && c.Claim != nil:
			m.Result.By = c.Claim.By
			m.Result.Reason = "begun: handlers are still running, or the instance has died since and the next one goes on"
		case owned:
			m.Result.Reason = fmt.Sprintf("the instance that has the partition, %s, has not taken it up: is it of a version that knows no commands?", owner)
		default:
			m.Result.Reason = "no instance has the partition: the next that gets it does it"
		}
		if c != nil && c.Command != nil {
			m.Result.Expires = c.Appended.Add(time.Duration(c.Command.Valid) * time.Millisecond).UTC()
		}
	}
}

// verdict returns the fault of a seek whose moves are in these states; nil if all are done.
func (k *seek) verdict(ctx context.Context, counts map[string]int) error {
	pending, all := counts[statePending], 0
	for _, n := range counts {
		all += n
	}
	again := fmt.Sprintf("`tidings group seek %s --id %s` waits for it again, and `tidings group show %s` shows it", k.group, k.id, k.group)
	switch {
	case pending > 0 && ctx.Err() != nil:
		return &shell.Fault{Code: "interrupted", Exit: shell.ExitInterrupted, Err: context.Cause(ctx), Hint: again,
			Message: fmt.Sprintf("interrupted: the seek %s stays pending on %s", k.id, shell.Plural(pending, "partition"))}
	case pending > 0:
		return shell.Failedf("pending", again, "the seek %s is pending on %s", k.id, shell.Plural(pending, "partition"))
	case counts[obligation.ResultDone] < all:
		return shell.Failedf("not_done", "run it again without an id, for a plan that fits", "the seek %s was not done on %s", k.id, shell.Plural(all-counts[obligation.ResultDone], "partition"))
	}
	return nil
}

// writeResults prints what has become of moves, one line for each that has a result.
func writeResults(out *shell.Output, plan []move) error {
	return writeMoves(out, plan, []string{"TOPIC", "PARTITION", "STATE", "FROM", "TO", "EXPIRES", "REASON"}, func(m *move) [][]string {
		r := m.Result
		if r == nil {
			return nil
		}
		return [][]string{{m.Topic, fmt.Sprint(m.Partition), r.State, fmt.Sprint(r.From), fmt.Sprint(r.To), timeText(r.Expires), r.Reason}}
	})
}

func timeText(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Format(time.RFC3339)
}
