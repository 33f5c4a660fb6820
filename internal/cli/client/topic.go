package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kerr"

	"tidings.dev/internal/cli/shell"
	"tidings.dev/internal/obligation"
)

func topicCommand(s *shell.Session) *cobra.Command {
	return shell.Family("topic", "List, show, create, edit and remove topics",
		topicListCommand(s), topicShowCommand(s), topicCreateCommand(s), topicEditCommand(s), topicRemoveCommand(s))
}

// topicSummary is a row of the output of `topic ls`, and the output of `topic create`.
type topicSummary struct {
	Topic      string `json:"topic"`
	Partitions int    `json:"partitions"`
	Records    int64  `json:"records"` // number of offsets, see recordsOf
	Internal   bool   `json:"internal,omitempty"`
}

func topicListCommand(s *shell.Session) *cobra.Command {
	all := false
	c := &cobra.Command{
		Use: "ls", Short: "List the topics",
		Long: "Lists the topics with their number of partitions and of records. RECORDS is the number of offsets between the first\n" +
			"that is kept and the last, so that in a compacted topic there are fewer.",
		Example: "  tidings topic ls\n  tidings topic ls --all -o json",
		Args:    shell.Arguments(0, 0),
		RunE: connected(s, func(ctx context.Context, conn connection, _ []string) error {
			topics, err := conn.adm.ListTopicsWithInternal(ctx)
			if err != nil {
				return err
			}
			starts, ends, err := conn.bounds(ctx, topics.Names()...)
			if err != nil {
				return err
			}
			var rows []topicSummary
			for _, t := range topics.Sorted() {
				internal := obligation.Internal(t.Topic) || t.IsInternal
				if internal && !all {
					continue
				}
				rows = append(rows, topicSummary{Topic: t.Topic, Partitions: len(t.Partitions), Records: recordsOf(t.Topic, starts, ends), Internal: internal})
			}
			return shell.List(s.Output(), []string{"TOPIC", "PARTITIONS", "RECORDS"}, rows, func(r topicSummary) []string {
				return []string{r.Topic, strconv.Itoa(r.Partitions), strconv.FormatInt(r.Records, 10)}
			})
		}),
	}
	c.Flags().BoolVarP(&all, "all", "a", false, "also list the framework's own topics and the broker's")
	return shell.TakesLog(c)
}

func topicCreateCommand(s *shell.Session) *cobra.Command {
	var partitions int32
	var settings []string
	c := &cobra.Command{
		Use: "create TOPIC", Short: "Create a topic",
		Long:    "Creates a topic. Exit code 1: there is one of that name already; 2: its name or a setting is not valid.",
		Example: "  tidings topic create orders --partitions 4 --config retention.ms=86400000",
		Args:    shell.Arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			configs := map[string]*string{}
			for _, setting := range settings {
				key, value, ok := strings.Cut(setting, "=")
				if !ok || key == "" {
					return shell.Usagef("for example --config retention.ms=86400000", "--config %q is not NAME=VALUE", setting)
				}
				configs[key] = &value
			}
			if partitions < -1 || partitions == 0 {
				return shell.Usagef("leave --partitions out for the broker's default", "--partitions %d: a topic has at least one", partitions)
			}
			conn, err := connect(ctx, s)
			if err != nil {
				return err
			}
			defer conn.close()
			made, err := conn.adm.CreateTopic(ctx, partitions, -1, configs, args[0])
			if err == nil {
				err = made.Err
			}
			if err != nil {
				return createFault(args[0], err, made.ErrMessage)
			}
			row := topicSummary{Topic: args[0], Partitions: int(made.NumPartitions)}
			return s.Output().Value(row, func(w io.Writer) error {
				_, err := fmt.Fprintf(w, "%s\t%d\n", row.Topic, row.Partitions)
				return err
			})
		},
	}
	c.Flags().Int32VarP(&partitions, "partitions", "p", -1, "number of partitions; -1: as many as the broker makes by default")
	c.Flags().StringArrayVarP(&settings, "config", "c", nil, "a setting, `NAME=VALUE`, with Kafka's names; may be repeated")
	return shell.TakesLog(c)
}

// createFault returns the fault for a failed creation of a topic. message is the broker's error message, which may be
// empty.
func createFault(topic string, err error, message string) error {
	switch {
	case errors.Is(err, kerr.TopicAlreadyExists):
		return shell.Failedf("exists", fmt.Sprintf("`tidings topic show %s` shows it", topic), "there is a topic %q already", topic)
	case errors.Is(err, kerr.InvalidTopicException), errors.Is(err, kerr.InvalidPartitions), errors.Is(err, kerr.InvalidConfig):
		if message == "" {
			message = err.Error()
		}
		return shell.Usagef("a name is 1 to 249 of a-z, A-Z, 0-9, '.', '_' and '-'; settings have Kafka's names", "cannot create topic %q: %s", topic, message)
	}
	return err
}

func topicRemoveCommand(s *shell.Session) *cobra.Command {
	yes := false
	c := &cobra.Command{
		Use: "rm TOPIC…", Short: "Remove topics and all that is in them",
		Long: "Prints how many records would be lost, and removes the topics with --yes. Without --yes the exit code is 2.\n" +
			"Nothing is removed unless all of the topics exist.",
		Example: "  tidings topic rm orders\n  tidings topic rm orders --yes",
		Args:    shell.Arguments(1, -1),
		RunE: connected(s, func(ctx context.Context, conn connection, args []string) error {
			for _, name := range args {
				topic, err := conn.topic(ctx, name)
				if err != nil {
					return err
				}
				starts, ends, err := conn.bounds(ctx, name)
				if err != nil {
					return err
				}
				s.Note("remove topic %s: %s, %s", name, shell.Plural(len(topic.Partitions), "partition"), shell.Plural(int(recordsOf(name, starts, ends)), "record"))
			}
			if !yes {
				return shell.NeedsYes()
			}
			removed, err := conn.adm.DeleteTopics(ctx, args...)
			if err != nil {
				return err
			}
			return removed.Error()
		}),
	}
	c.Flags().BoolVar(&yes, "yes", false, "do it: what is removed cannot be restored")
	return shell.TakesLog(c)
}
