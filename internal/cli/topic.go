package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"tidings.dev/internal/obligation"
)

func (s *session) topicCommand() *cobra.Command {
	return family("topic", "Look at topics, make and remove them",
		s.topicListCommand(), s.topicShowCommand(), s.topicCreateCommand(), s.topicEditCommand(), s.topicRemoveCommand())
}

// admin is a client for what administers; the caller closes it.
func (s *session) admin(ctx context.Context) (*kadm.Client, error) {
	t, err := s.target(ctx)
	if err != nil {
		return nil, err
	}
	return s.adminOf(ctx, t)
}

func (s *session) adminOf(ctx context.Context, t target) (*kadm.Client, error) {
	client, err := t.client(ctx)
	if err != nil {
		return nil, err
	}
	return kadm.NewClient(client), nil
}

type topicSummary struct {
	Topic      string `json:"topic"`
	Partitions int    `json:"partitions"`
	Records    int64  `json:"records"` // between the first offset kept and the last, so without what compaction took
	Internal   bool   `json:"internal,omitempty"`
}

func (s *session) topicListCommand() *cobra.Command {
	all := false
	c := &cobra.Command{
		Use: "ls", Short: "List the topics", Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			adm, err := s.admin(ctx)
			if err != nil {
				return err
			}
			defer adm.Close()
			topics, err := adm.ListTopicsWithInternal(ctx)
			if err != nil {
				return err
			}
			starts, ends, err := bounds(ctx, adm, topics.Names()...)
			if err != nil {
				return err
			}
			var rows []topicSummary
			for _, t := range topics.Sorted() {
				internal := obligation.Internal(t.Topic) || t.IsInternal
				if internal && !all {
					continue
				}
				row := topicSummary{Topic: t.Topic, Partitions: len(t.Partitions), Internal: internal}
				for p := range t.Partitions {
					row.Records += ends[t.Topic][p].Offset - starts[t.Topic][p].Offset
				}
				rows = append(rows, row)
			}
			return list(s.output(), []string{"TOPIC", "PARTITIONS", "RECORDS"}, rows, func(r topicSummary) []string {
				return []string{r.Topic, strconv.Itoa(r.Partitions), strconv.FormatInt(r.Records, 10)}
			})
		},
	}
	c.Flags().BoolVarP(&all, "all", "a", false, "also those that the framework keeps for itself")
	return c
}

// bounds are the first offsets kept and the ends of topics.
func bounds(ctx context.Context, adm *kadm.Client, topics ...string) (starts, ends kadm.ListedOffsets, err error) {
	if len(topics) == 0 {
		return nil, nil, nil
	}
	if starts, err = adm.ListStartOffsets(ctx, topics...); err == nil {
		err = starts.Error()
	}
	if err != nil {
		return nil, nil, err
	}
	if ends, err = adm.ListEndOffsets(ctx, topics...); err == nil {
		err = ends.Error()
	}
	return starts, ends, err
}

type topicDetail struct {
	Topic      string            `json:"topic"`
	ID         string            `json:"id"`
	Partitions []partitionDetail `json:"partitions"`
	Configs    map[string]string `json:"configs"` // only what was set on the topic
}

type partitionDetail struct {
	Partition int32 `json:"partition"`
	Start     int64 `json:"start"`
	End       int64 `json:"end"`
	Leader    int32 `json:"leader"`
}

func (s *session) topicShowCommand() *cobra.Command {
	return &cobra.Command{
		Use: "show TOPIC", Short: "Show a topic's partitions and settings", Args: arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			adm, err := s.admin(ctx)
			if err != nil {
				return err
			}
			defer adm.Close()
			topic, err := findTopic(ctx, adm, args[0])
			if err != nil {
				return err
			}
			starts, ends, err := bounds(ctx, adm, topic.Topic)
			if err != nil {
				return err
			}
			d := topicDetail{Topic: topic.Topic, ID: topic.ID.String(), Configs: map[string]string{}}
			for _, p := range topic.Partitions.Sorted() {
				d.Partitions = append(d.Partitions, partitionDetail{p.Partition, starts[topic.Topic][p.Partition].Offset, ends[topic.Topic][p.Partition].Offset, p.Leader})
			}
			if err := addConfigs(ctx, adm, &d); err != nil {
				return err
			}
			return s.output().thing(d, d.text)
		},
	}
}

func addConfigs(ctx context.Context, adm *kadm.Client, d *topicDetail) error {
	described, err := adm.DescribeTopicConfigs(ctx, d.Topic)
	if err != nil {
		return err
	}
	for _, resource := range described {
		if resource.Err != nil {
			return resource.Err
		}
		for _, c := range resource.Configs {
			if c.Source.String() == "DYNAMIC_TOPIC_CONFIG" {
				d.Configs[c.Key] = c.MaybeValue()
			}
		}
	}
	return nil
}

func (d topicDetail) text(w io.Writer) error {
	fmt.Fprintf(w, "%s  %s\n", d.Topic, d.ID)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "PARTITION\tSTART\tEND\tLEADER")
	for _, p := range d.Partitions {
		fmt.Fprintf(table, "%d\t%d\t%d\t%d\n", p.Partition, p.Start, p.End, p.Leader)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, key := range slices.Sorted(maps.Keys(d.Configs)) {
		fmt.Fprintf(w, "%s=%s\n", key, d.Configs[key])
	}
	return nil
}

// findTopic returns a topic, or a not-found fault.
func findTopic(ctx context.Context, adm *kadm.Client, name string) (kadm.TopicDetail, error) {
	topics, err := adm.ListTopicsWithInternal(ctx, name)
	if err != nil {
		return kadm.TopicDetail{}, err
	}
	topic, ok := topics[name]
	if !ok || errors.Is(topic.Err, kerr.UnknownTopicOrPartition) || errors.Is(topic.Err, kerr.InvalidTopicException) {
		return topic, unknownTopic(name)
	}
	return topic, topic.Err
}

// awaitTopics waits until topics that were just made are known: on a cluster that takes a moment.
func awaitTopics(ctx context.Context, adm *kadm.Client, names ...string) error {
	for deadline := time.Now().Add(reachTimeout); ; {
		_, _, err := bounds(ctx, adm, names...)
		if err == nil || time.Now().After(deadline) {
			return err
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func unknownTopic(name string) *Fault {
	return notFoundf(fmt.Sprintf("`tidings topic ls` lists the topics; `tidings topic create %s` makes it", name), "there is no topic %q", name)
}

func (s *session) topicCreateCommand() *cobra.Command {
	var partitions int32
	var settings []string
	c := &cobra.Command{
		Use: "create TOPIC", Short: "Make a topic", Args: arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			configs := map[string]*string{}
			for _, setting := range settings {
				key, value, ok := strings.Cut(setting, "=")
				if !ok || key == "" {
					return usagef("for example --config retention.ms=86400000", "--config %q is not NAME=VALUE", setting)
				}
				configs[key] = &value
			}
			if partitions < -1 || partitions == 0 {
				return usagef("leave --partitions out for the broker's default", "--partitions %d: a topic has at least one", partitions)
			}
			adm, err := s.admin(ctx)
			if err != nil {
				return err
			}
			defer adm.Close()
			made, err := adm.CreateTopic(ctx, partitions, -1, configs, args[0])
			if err == nil {
				err = made.Err
			}
			switch {
			case errors.Is(err, kerr.TopicAlreadyExists):
				return failedf("exists", fmt.Sprintf("`tidings topic show %s` shows it", args[0]), "there is a topic %q already", args[0])
			case errors.Is(err, kerr.InvalidTopicException), errors.Is(err, kerr.InvalidPartitions), errors.Is(err, kerr.InvalidConfig):
				f := usagef("a name is 1 to 249 of a-z, A-Z, 0-9, '.', '_' and '-'; settings have Kafka's names", "cannot make topic %q: %v", args[0], err)
				if made.ErrMessage != "" {
					f.Message = fmt.Sprintf("cannot make topic %q: %s", args[0], made.ErrMessage)
				}
				return f
			case err != nil:
				return err
			}
			row := topicSummary{Topic: args[0], Partitions: int(made.NumPartitions)}
			return s.output().thing(row, func(w io.Writer) error {
				_, err := fmt.Fprintf(w, "%s\t%d\n", row.Topic, row.Partitions)
				return err
			})
		},
	}
	c.Flags().Int32VarP(&partitions, "partitions", "p", -1, "how many partitions (default: the broker's)")
	c.Flags().StringArrayVarP(&settings, "config", "c", nil, "a setting, NAME=VALUE, with Kafka's names; may be repeated")
	return c
}

func (s *session) topicRemoveCommand() *cobra.Command {
	yes := false
	c := &cobra.Command{
		Use: "rm TOPIC…", Short: "Remove topics and all that is in them", Args: arguments(1, -1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			adm, err := s.admin(ctx)
			if err != nil {
				return err
			}
			defer adm.Close()
			for _, name := range args {
				topic, err := findTopic(ctx, adm, name)
				if err != nil {
					return err
				}
				starts, ends, err := bounds(ctx, adm, name)
				if err != nil {
					return err
				}
				var records int64
				for p := range topic.Partitions {
					records += ends[name][p].Offset - starts[name][p].Offset
				}
				s.note("remove topic %s: %s, %s", name, plural(len(topic.Partitions), "partition"), plural(int(records), "record"))
			}
			if !yes {
				return needsYes()
			}
			removed, err := adm.DeleteTopics(ctx, args...)
			if err != nil {
				return err
			}
			return removed.Error()
		},
	}
	c.Flags().BoolVar(&yes, "yes", false, "do it: what is removed cannot be had again")
	return c
}

// needsYes ends a command that has only printed its plan.
func needsYes() *Fault {
	return &Fault{Code: "needs_yes", Message: "nothing was done: that was the plan", Hint: "add --yes to do it", Exit: ExitUsage}
}
