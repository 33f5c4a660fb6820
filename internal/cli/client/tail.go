package client

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"

	"tidings.dev/internal/cli/shell"
	"tidings.dev/internal/cloudevent"
	"tidings.dev/internal/logclient"
	"tidings.dev/internal/obligation"
)

func tailCommand(s *shell.Session) *cobra.Command {
	var from string
	var since time.Duration
	var count int
	follow := true
	var filter tailFilter
	c := &cobra.Command{
		Use: "tail [TOPIC…]", Short: "Print events as they come, or from a point in the past on",
		Long: "Prints the events of topics (default: all but the framework's own) as they come, until it is stopped, beginning at --from or\n" +
			"--since. -n ends after so many events; without --from and --since it prints the last so many that are\n" +
			"there. Events of one partition are printed in their order, and with\n" +
			"--follow=false or -n all by their time. --type, --subject, --correlation and --reaction choose among them. Under -o json and jsonl each event is one line of JSON.\n" +
			"Exit code 3: there is no such topic; 130: ended by ctrl-C.",
		Example: "  tidings tail\n  tidings tail orders -n 10\n  tidings tail orders --from earliest --follow=false -o jsonl\n  tidings tail --since 10m\n" +
			"  tidings tail --from earliest --follow=false --subject order/536365",
		Args: shell.Arguments(0, -1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			if cmd.Flags().Changed("from") && since > 0 {
				return shell.Usagef("leave one out", "--from and --since both set where to begin")
			}
			if count < 0 || since < 0 {
				return shell.Usagef("leave it out for all", "-n and --since cannot be below zero")
			}
			if since > 0 {
				from = since.String()
			}
			begin, err := parseOffsetSpec(from, time.Now())
			if err != nil {
				return err
			}
			last := count > 0 && !cmd.Flags().Changed("from") && since == 0
			if last && follow && shell.Given(cmd, "follow") {
				return shell.Usagef("add --from latest to wait for so many, or leave --follow out", "-n without --from prints events that are there, and does not use --follow")
			}
			conn, err := connect(ctx, s)
			if err != nil {
				return err
			}
			defer conn.close()
			t := tail{connection: conn, count: count, filter: filter, out: s.Output(), notes: s.Stderr, passed: map[topicPartition]int64{}}
			return t.run(ctx, args, begin, last, follow)
		},
	}
	c.Flags().StringVar(&from, "from", "latest", "where to begin: earliest, latest, an offset, a time, or a duration ago")
	c.Flags().DurationVar(&since, "since", 0, "begin this long ago, for example 10m")
	c.Flags().IntVarP(&count, "count", "n", 0, "end after so many events; without --from and --since: print the last so many (default: no end)")
	c.Flags().BoolVar(&follow, "follow", true, "wait for further events; --follow=false ends at the end of the log")
	filter.flags(c)
	return shell.TakesLog(c)
}

// tail prints events of topics.
type tail struct {
	connection
	count  int // maximum number of events to print; 0: no limit
	filter tailFilter
	out    *shell.Output
	notes  io.Writer                // gets a line for records that cannot be decoded
	passed map[topicPartition]int64 // offset of the last record that could not be decoded
}

// run prints the events of topics, or of all topics of applications if topics is empty. If last is true, it prints
// the last t.count events. Otherwise it prints the events from begin on, and if follow is true it waits for further
// events until ctx is done.
func (t tail) run(ctx context.Context, topics []string, begin offsetSpec, last, follow bool) (err error) {
	if len(topics) == 0 {
		if topics, err = t.applicationTopics(ctx); err != nil {
			return err
		}
	}
	for _, topic := range topics {
		if _, err := t.topic(ctx, topic); err != nil {
			return err
		}
	}
	starts, ends, err := t.bounds(ctx, topics...)
	if err != nil {
		return err
	}
	if last {
		return t.printLast(ctx, starts, ends)
	}
	from, err := begin.resolve(ctx, t.log, starts, ends, topics...)
	if err != nil {
		return err
	}
	events := t.inTimeOrder(ctx, from, ends)
	if follow {
		events = t.log.Read(ctx, from, nil)
	}
	printed := 0
	for r, err := range events {
		if err != nil {
			return err
		}
		if !t.takes(r) {
			continue
		}
		if err := t.print(r); err != nil {
			return err
		}
		if printed++; printed == t.count {
			return nil
		}
	}
	return nil
}

// printLast prints the last t.count events at offsets from starts to ends, sorted by time.
func (t tail) printLast(ctx context.Context, starts, ends logclient.Offsets) error {
	from := logclient.Offsets{}
	for topic, partitions := range ends {
		from[topic] = map[int32]int64{}
		for p, end := range partitions {
			if from[topic][p] = starts[topic][p]; t.filter.empty() {
				from[topic][p] = max(end-int64(t.count), starts[topic][p])
			}
		}
	}
	var records []*kgo.Record
	for r, err := range t.log.Read(ctx, from, ends) {
		if err != nil {
			return err
		}
		if t.takes(r) {
			records = append(records, r)
		}
		if len(records) > 4*t.count+1000 { // only the newest t.count are needed
			slices.SortStableFunc(records, compareTimes)
			records = slices.Delete(records, 0, len(records)-t.count)
		}
	}
	slices.SortStableFunc(records, compareTimes)
	for _, r := range records[max(len(records)-t.count, 0):] {
		if err := t.print(r); err != nil {
			return err
		}
	}
	return nil
}

// compareTimes compares two records by their timestamps, which are in milliseconds, and then by the times of their
// events, which may be more precise.
func compareTimes(a, b *kgo.Record) int {
	return cmp.Or(a.Timestamp.Compare(b.Timestamp), cloudevent.FromRecord(a).Time.Compare(cloudevent.FromRecord(b).Time))
}

// applicationTopics returns all topics except tidings.* topics. If there is none, it returns a not-found fault.
func (c connection) applicationTopics(ctx context.Context) ([]string, error) {
	topics, err := c.adm.ListTopics(ctx)
	if err != nil {
		return nil, err
	}
	names := slices.DeleteFunc(topics.Names(), obligation.Internal)
	if len(names) == 0 {
		return nil, shell.NotFoundf("`tidings topic create` makes one", "there are no topics yet")
	}
	return names, nil
}

// takes reports whether a record is to be printed. It notes records that nobody can decode, once for those in a row.
func (t tail) takes(r *kgo.Record) bool {
	if !logclient.Undecodable(r) {
		return t.filter.takes(r)
	}
	at := topicPartition{r.Topic, r.Partition}
	if last, ok := t.passed[at]; !ok || last != r.Offset-1 {
		fmt.Fprintf(t.notes, "partition %d of %s: the records from offset %d on cannot be decoded, and are left out\n", r.Partition, shell.Clean(r.Topic), r.Offset)
	}
	t.passed[at] = r.Offset
	return false
}

func (t tail) print(r *kgo.Record) error { return lineOf(r).write(t.out) }
