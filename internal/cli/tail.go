package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"tidings.dev/internal/obligation"
)

func (s *session) tailCommand() *cobra.Command {
	var from string
	var since time.Duration
	var count int
	stay := true
	c := &cobra.Command{
		Use: "tail [TOPIC…]", Short: "Watch events, live or from a place in the past",
		Long: "Prints the events of topics (default: all that are not the framework's own) as they come, until stopped.\n" +
			"--from earliest, latest, an offset, a time or a duration ago says where to begin; -n ends after so many, and without\n" +
			"--from prints the last so many that are there.",
		Args: arguments(0, -1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			if cmd.Flags().Changed("from") && since > 0 {
				return usagef("leave one out", "--from and --since both say where to begin")
			}
			if count < 0 || since < 0 {
				return usagef("leave it out for all", "-n and --since cannot be below zero")
			}
			if since > 0 {
				from = since.String()
			}
			place, err := parsePlace(from, time.Now())
			if err != nil {
				return err
			}
			t, err := s.target(ctx)
			if err != nil {
				return err
			}
			job := tailing{target: t, place: place, count: count, stay: stay, out: s.output()}
			// A count alone asks for what is there.
			job.last = count > 0 && !cmd.Flags().Changed("from") && since == 0
			return job.run(ctx, args)
		},
	}
	c.Flags().StringVar(&from, "from", "latest", "where to begin: earliest, latest, an offset, a time, or a duration ago")
	c.Flags().DurationVar(&since, "since", 0, "begin this long ago, for example 10m")
	c.Flags().IntVarP(&count, "count", "n", 0, "end after so many events; without --from: print the last so many")
	c.Flags().BoolVar(&stay, "follow", true, "wait for more; --follow=false ends at the end of the log")
	return c
}

type tailing struct {
	target target
	place  logPlace
	count  int // 0: no limit
	last   bool
	stay   bool
	out    *output
}

func (j tailing) run(ctx context.Context, topics []string) error {
	client, err := j.target.client(ctx)
	if err != nil {
		return err
	}
	adm := kadm.NewClient(client)
	defer adm.Close()
	if len(topics) == 0 {
		if topics, err = applicationTopics(ctx, adm); err != nil {
			return err
		}
	}
	for _, topic := range topics {
		if _, err := findTopic(ctx, adm, topic); err != nil {
			return err
		}
	}
	listedStarts, listedEnds, err := bounds(ctx, adm, topics...)
	if err != nil {
		return err
	}
	starts, ends := offsetsOf(listedStarts), offsetsOf(listedEnds)
	if j.last {
		return j.printLast(ctx, starts, ends)
	}
	from, err := j.place.resolve(ctx, adm, starts, ends, topics...)
	if err != nil {
		return err
	}
	until := ends
	if j.stay {
		until = nil
	}
	left := j.count
	var failed error
	err = follow(ctx, j.target, from, until, func(r *kgo.Record) bool {
		if failed = j.print(r); failed != nil {
			return false
		}
		left--
		return left != 0
	})
	if failed != nil {
		return failed
	}
	return err
}

// printLast prints the last events that are there, over all partitions, in the sequence of their time.
func (j tailing) printLast(ctx context.Context, starts, ends offsets) error {
	from := offsets{}
	for topic, partitions := range ends {
		for p, end := range partitions {
			from.set(topic, p, max(end-int64(j.count), starts[topic][p]))
		}
	}
	var records []*kgo.Record
	if err := follow(ctx, j.target, from, ends, func(r *kgo.Record) bool {
		records = append(records, r)
		return true
	}); err != nil {
		return err
	}
	slices.SortStableFunc(records, func(a, b *kgo.Record) int {
		// Records tell milliseconds; events of one and the same tell more.
		return cmp.Or(a.Timestamp.Compare(b.Timestamp), lineOf(a).Time.Compare(lineOf(b).Time))
	})
	for _, r := range records[max(len(records)-j.count, 0):] {
		if err := j.print(r); err != nil {
			return err
		}
	}
	return nil
}

func applicationTopics(ctx context.Context, adm *kadm.Client) ([]string, error) {
	topics, err := adm.ListTopics(ctx)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, name := range topics.Names() {
		if !obligation.Internal(name) {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return nil, notFoundf("`tidings emit` makes the first event", "there are no topics yet")
	}
	return names, nil
}

// An eventLine is a record as tail shows it: a CloudEvent where the record is one.
type eventLine struct {
	Topic       string          `json:"topic"`
	Partition   int32           `json:"partition"`
	Offset      int64           `json:"offset"`
	Time        time.Time       `json:"time"`
	ID          string          `json:"id,omitempty"`
	Type        string          `json:"type,omitempty"`
	Source      string          `json:"source,omitempty"`
	Subject     string          `json:"subject,omitempty"` // else the record's key
	Correlation string          `json:"correlationid,omitempty"`
	Causation   string          `json:"causationid,omitempty"`
	Data        json.RawMessage `json:"data,omitempty"` // JSON as it is; other text as a string
	Base64      []byte          `json:"data_base64,omitempty"`
}

func lineOf(r *kgo.Record) eventLine {
	l := eventLine{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, Time: r.Timestamp.UTC(), Subject: string(r.Key)}
	for _, h := range r.Headers {
		value := string(h.Value)
		switch h.Key {
		case obligation.HeaderID:
			l.ID = value
		case obligation.HeaderType:
			l.Type = value
		case obligation.HeaderSource:
			l.Source = value
		case obligation.HeaderSubject:
			l.Subject = value
		case obligation.HeaderCorrelation:
			l.Correlation = value
		case obligation.HeaderCausation:
			l.Causation = value
		case obligation.HeaderTime:
			if at, err := time.Parse(time.RFC3339Nano, value); err == nil {
				l.Time = at
			}
		}
	}
	switch {
	case len(r.Value) == 0:
	case json.Valid(r.Value):
		l.Data = r.Value
	case utf8.Valid(r.Value):
		l.Data, _ = json.Marshal(string(r.Value)) // a string always encodes
	default:
		l.Base64 = r.Value
	}
	return l
}

func (j tailing) print(r *kgo.Record) error {
	line := lineOf(r)
	switch j.out.format {
	case formatJSON, formatJSONL:
		return j.out.jsonLine(line) // a stream has no end to close an array at
	case formatYAML:
		return j.out.yaml([]eventLine{line})
	}
	cells := []string{line.Time.Format("2006-01-02T15:04:05.000Z"), line.Topic, strconv.Itoa(int(line.Partition)), strconv.FormatInt(line.Offset, 10), line.Type, line.Subject, string(line.Data)}
	if j.out.terminal || j.out.format == formatTable {
		text := cells[0][11:23] + "  " + pad(clean(line.Topic), 10) + "  " + pad(clean(line.Type), 24) + "  " + pad(clean(line.Subject), 16) + "  " + clean(string(line.Data))
		if j.out.width > 0 {
			text = cut(text, j.out.width)
		}
		cells = []string{text}
	}
	var b strings.Builder
	writeTabbed(&b, cells)
	_, err := j.out.w.Write([]byte(b.String()))
	return err
}

func pad(s string, width int) string {
	return s + strings.Repeat(" ", max(width-utf8.RuneCountInString(s), 0))
}

// cut shortens a line to a width in characters.
func cut(s string, width int) string {
	if utf8.RuneCountInString(s) <= width {
		return s
	}
	runes := []rune(s)
	return string(runes[:max(width-1, 0)]) + "…"
}
