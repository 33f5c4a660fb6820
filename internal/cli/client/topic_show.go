package client

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"tidings.dev/internal/cli/shell"
)

// topicDetail is the output of `topic show`.
type topicDetail struct {
	Topic      string            `json:"topic"`
	ID         string            `json:"id"`
	Partitions []partitionDetail `json:"partitions"`
	Configs    map[string]string `json:"configs"` // settings that were made on the topic itself
	EmittedBy  []topicEmitter    `json:"emitted_by"`
	HandledBy  []topicHandler    `json:"handled_by"`
	Mismatches []topicMismatch   `json:"mismatches"`
	Split      []splitFact       `json:"on_several_topics"`
}

type partitionDetail struct {
	Partition int32 `json:"partition"`
	Start     int64 `json:"start"`
	End       int64 `json:"end"`
	Leader    int32 `json:"leader"`
}

func topicShowCommand(s *shell.Session) *cobra.Command {
	return shell.TakesLog(&cobra.Command{
		Use: "show TOPIC", Short: "Show a topic's partitions and settings",
		Long: "Shows a topic's partitions, each with the first offset that is kept and the offset after the last record, and the\n" +
			"settings that were made on the topic, which apps emit which types on it, and which reactions handle which. Facts that others\n" +
			"emit or handle on another topic are named, and fields that a reaction has found to differ from those that it reads. Exit\n" +
			"code 3: there is no such topic.",
		Example: "  tidings topic show orders",
		Args:    shell.Arguments(1, 1),
		RunE: connected(s, func(ctx context.Context, conn connection, args []string) error {
			topic, err := conn.topic(ctx, args[0])
			if err != nil {
				return err
			}
			starts, ends, err := conn.bounds(ctx, topic.Topic)
			if err != nil {
				return err
			}
			d := topicDetail{Topic: topic.Topic, ID: topic.ID.String(), Configs: map[string]string{}}
			for _, p := range topic.Partitions.Sorted() {
				d.Partitions = append(d.Partitions, partitionDetail{p.Partition, starts[topic.Topic][p.Partition], ends[topic.Topic][p.Partition], p.Leader})
			}
			if err := conn.addConfigs(ctx, &d); err != nil {
				return err
			}
			l, err := conn.readLedger(ctx, func(string) bool { return true })
			if err != nil {
				return err
			}
			d.EmittedBy, d.HandledBy = l.emittersOf(topic.Topic), l.handlersOf(topic.Topic)
			d.Split, d.Mismatches = l.splitOf(topic.Topic, time.Now()), l.mismatchesOf(topic.Topic)
			return s.Output().Value(d, d.text)
		}),
	})
}

// addConfigs adds the settings that were made on the topic itself to d.Configs.
func (c connection) addConfigs(ctx context.Context, d *topicDetail) error {
	described, err := c.adm.DescribeTopicConfigs(ctx, d.Topic)
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
	d.writeUsers(w)
	for _, f := range d.Split {
		fmt.Fprintln(w, f.text())
	}
	for _, m := range d.Mismatches {
		fmt.Fprintln(w, m.text())
	}
	return nil
}
