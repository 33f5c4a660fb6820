package cli

import (
	"context"
	"fmt"
	"os"
	"os/user"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"tidings.dev/internal/obligation"
)

// move is one partition's part of a seek.
type move struct {
	topicPartition
	From   int64 `json:"from"` // -1: the group has no position there yet
	To     int64 `json:"to"`
	Repeat int64 `json:"repeat,omitempty"` // records that the group will get again
	Skip   int64 `json:"skip,omitempty"`   // records that it will not get
	first  int64 // offset kept in the log
}

func (s *session) groupSeekCommand() *cobra.Command {
	var topic, to string
	var partitions []int32
	yes := false
	c := &cobra.Command{
		Use: "seek GROUP --topic TOPIC --to earliest|latest|OFFSET|TIME|AGO", Short: "Move a group's position",
		Long: "Moves the position of a group, which must have no members: stop them first.\n" +
			"TIME is like 2010-12-01T08:26:00Z or 2010-12-01, AGO like 90m. For a reaction it writes down who moved what, so that\n" +
			"stories show it.",
		Args: arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			if topic == "" || to == "" {
				return usagef("usage: "+cmd.UseLine(), "say what to move with --topic, and where with --to")
			}
			goal, err := parsePlace(to, time.Now())
			if err != nil {
				return err
			}
			t, err := s.target(ctx)
			if err != nil {
				return err
			}
			client, err := t.client(ctx)
			if err != nil {
				return err
			}
			defer client.Close()
			seek := seek{target: t, client: client, adm: kadm.NewClient(client), group: args[0], topic: topic}
			plan, err := seek.plan(ctx, goal, partitions)
			if err != nil {
				return err
			}
			err = list(s.output(), []string{"TOPIC", "PARTITION", "FROM", "TO", "REPEAT", "SKIP"}, plan, func(m move) []string {
				return []string{m.Topic, strconv.Itoa(int(m.Partition)), strconv.FormatInt(m.From, 10), strconv.FormatInt(m.To, 10),
					strconv.FormatInt(m.Repeat, 10), strconv.FormatInt(m.Skip, 10)}
			})
			if err != nil {
				return err
			}
			if !yes {
				return needsYes()
			}
			return seek.perform(ctx, plan)
		},
	}
	c.Flags().StringVar(&topic, "topic", "", "the topic to move in")
	c.Flags().StringVar(&to, "to", "", "earliest, latest, an offset, a time, or a duration ago")
	c.Flags().Int32SliceVar(&partitions, "partition", nil, "only these partitions (default: all)")
	c.Flags().BoolVar(&yes, "yes", false, "do it")
	return c
}

// A logPlace is where in a log to go: the beginning, the end, an offset, or a time. Exactly one is set.
type logPlace struct {
	earliest, latest bool
	offset           int64 // if at is zero
	at               time.Time
}

// parsePlace reads earliest, latest, an offset, a time, or how long before now.
func parsePlace(s string, now time.Time) (logPlace, error) {
	switch s {
	case "earliest", "beginning":
		return logPlace{earliest: true}, nil
	case "latest", "end":
		return logPlace{latest: true}, nil
	}
	if offset, err := strconv.ParseInt(s, 10, 64); err == nil && offset >= 0 {
		return logPlace{offset: offset}, nil
	}
	for _, layout := range []string{time.RFC3339, time.DateTime, time.DateOnly} {
		if at, err := time.Parse(layout, s); err == nil {
			return logPlace{at: at}, nil
		}
	}
	if ago, err := time.ParseDuration(s); err == nil && ago >= 0 {
		return logPlace{at: now.Add(-ago)}, nil
	}
	return logPlace{}, usagef("earliest, latest, an offset like 42, a time like 2010-12-01T08:26:00Z, or a duration ago like 90m", "%q is no place in a log", s)
}

// resolve turns a place into offsets, within what each partition keeps.
func (l logPlace) resolve(ctx context.Context, adm *kadm.Client, starts, ends offsets, topics ...string) (offsets, error) {
	switch {
	case l.earliest:
		return starts, nil
	case l.latest:
		return ends, nil
	}
	found := offsets{}
	if l.at.IsZero() {
		for topic, partitions := range ends {
			for p, end := range partitions {
				found.set(topic, p, min(max(l.offset, starts[topic][p]), end))
			}
		}
		return found, nil
	}
	listed, err := adm.ListOffsetsAfterMilli(ctx, l.at.UnixMilli(), topics...)
	if err == nil {
		err = listed.Error()
	}
	if err != nil {
		return nil, err
	}
	for topic, partitions := range ends {
		for p, end := range partitions {
			offset := end
			if o, ok := listed.Lookup(topic, p); ok && o.Offset >= 0 {
				offset = o.Offset
			}
			found.set(topic, p, offset)
		}
	}
	return found, nil
}

type seek struct {
	target target
	client *kgo.Client
	adm    *kadm.Client
	group  string
	topic  string
}

// plan decides what would move.
func (k seek) plan(ctx context.Context, goal logPlace, only []int32) ([]move, error) {
	if _, err := findTopic(ctx, k.adm, k.topic); err != nil {
		return nil, err
	}
	group, err := findGroup(ctx, k.adm, k.group)
	if err != nil {
		return nil, err
	}
	if len(group.Members) > 0 {
		return nil, failedf("group_active", "stop them first: a running member would go on from where it is", "group %s has %s", k.group, plural(len(group.Members), "member"))
	}
	listedStarts, listedEnds, err := bounds(ctx, k.adm, k.topic)
	if err != nil {
		return nil, err
	}
	starts, ends := offsetsOf(listedStarts), offsetsOf(listedEnds)
	goals, err := goal.resolve(ctx, k.adm, starts, ends, k.topic)
	if err != nil {
		return nil, err
	}
	committed, err := k.adm.FetchOffsets(ctx, k.group)
	if err != nil {
		return nil, err
	}
	var plan []move
	for p, to := range goals[k.topic] {
		if len(only) > 0 && !slices.Contains(only, p) {
			continue
		}
		from := int64(-1)
		if c, ok := committed.Lookup(k.topic, p); ok && c.Err == nil {
			from = c.At
		}
		plan = append(plan, makeMove(k.topic, p, from, to, starts[k.topic][p]))
	}
	for _, p := range only {
		if _, ok := goals.of(k.topic, p); !ok {
			return nil, notFoundf(fmt.Sprintf("it has partitions 0 to %d", len(goals[k.topic])-1), "topic %s has no partition %d", k.topic, p)
		}
	}
	slices.SortFunc(plan, func(a, b move) int { return int(a.Partition) - int(b.Partition) })
	return plan, nil
}

func makeMove(topic string, partition int32, from, to, start int64) move {
	m := move{topicPartition: topicPartition{topic, partition}, From: from, To: to, first: start}
	stands := max(from, start)
	m.Repeat, m.Skip = max(stands-to, 0), max(to-stands, 0)
	return m
}

// perform writes down what is moved, if the group is a reaction, and then moves it.
func (k seek) perform(ctx context.Context, plan []move) error {
	reaction, epochs, err := k.history(ctx)
	if err != nil {
		return err
	}
	if reaction {
		var records []*kgo.Record
		for _, m := range plan {
			fact := &obligation.Seek{
				Reaction: k.group, Topic: m.Topic, Partition: m.Partition, From: max(m.From, m.first), To: m.To,
				Epoch: epochs[m.Partition] + 1, Who: whoAmI(), At: time.Now().UTC(),
			}
			records = append(records, &kgo.Record{Topic: fact.RecordTopic(), Key: []byte(fact.Key()), Value: obligation.Encode(fact)})
		}
		if err := k.client.ProduceSync(ctx, records...).FirstErr(); err != nil {
			return fmt.Errorf("write down the move: %w", err)
		}
	}
	moved := kadm.Offsets{}
	for _, m := range plan {
		moved.AddOffset(m.Topic, m.Partition, m.To, -1)
	}
	answers, err := k.adm.CommitOffsets(ctx, k.group, moved)
	if err == nil {
		err = answers.Error()
	}
	if err != nil {
		return fmt.Errorf("move the position: %w", err)
	}
	return nil
}

// history tells whether the group is a reaction to the topic, and the epoch of the last seek of each partition.
func (k seek) history(ctx context.Context) (reaction bool, epochs map[int32]int64, err error) {
	topics, err := k.adm.ListTopicsWithInternal(ctx, obligation.SubscriptionsTopic, obligation.ReactionsTopic)
	if err != nil {
		return false, nil, err
	}
	if !topics.Has(obligation.SubscriptionsTopic) || !topics.Has(obligation.ReactionsTopic) {
		return false, nil, nil
	}
	starts, ends, err := bounds(ctx, k.adm, obligation.SubscriptionsTopic, obligation.ReactionsTopic)
	if err != nil {
		return false, nil, err
	}
	epochs = map[int32]int64{}
	err = follow(ctx, k.target, offsetsOf(starts), offsetsOf(ends), func(r *kgo.Record) bool {
		if r.Topic == obligation.SubscriptionsTopic && string(r.Key) == obligation.SubscriptionKey(k.group, k.topic) {
			reaction = len(r.Value) > 0
		}
		fact, err := obligation.Decode(r.Value)
		if err != nil {
			return true // of a later version, or not ours
		}
		if f, ok := fact.(*obligation.Seek); ok && f.Reaction == k.group && f.Topic == k.topic {
			epochs[f.Partition] = max(epochs[f.Partition], f.Epoch)
		}
		return true
	})
	return reaction, epochs, err
}

func whoAmI() string {
	name := os.Getenv("USER")
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	if host, err := os.Hostname(); err == nil {
		name += "@" + host
	}
	return name
}
