package client

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"tidings.dev/internal/cli/shell"
	"tidings.dev/internal/cloudevent"
	"tidings.dev/internal/logclient"
	"tidings.dev/story"
)

// shownEvent is an event as `show` prints it: the record and its obligations.
type shownEvent struct {
	eventLine
	SchemaVersion int     `json:"schemaversion,omitempty"`
	ContentType   string  `json:"contenttype,omitempty"`
	TraceParent   string  `json:"traceparent,omitempty"`
	Copies        []int64 `json:"copies,omitempty"` // offsets of other records of the event
	// Gone is true if the record is no longer in the log, so that its payload is not known.
	Gone        bool               `json:"gone,omitempty"`
	Obligations []story.Obligation `json:"obligations"`

	payload []byte
}

func showCommand(s *shell.Session) *cobra.Command {
	raw := false
	c := &cobra.Command{
		Use: "show EVENT-ID", Short: "Show all that is known of an event, with its payload",
		Long: "Shows an event: its attributes, its place in the log, what each reaction has made of it, and its payload, byte for byte.\n" +
			"Events of several sources or types may have one id: all of them are shown. --raw prints the payload alone. The index is that\n" +
			"of `tidings story`. Exit code 1: --raw and several events; 3: there is no event with that id.",
		Example: "  tidings show 019b2f3c-5d7e-7c31-9f20-4a1b6c7d8e9f\n  tidings show order-536365 --raw | jq .\n  tidings show order-536365 -o json",
		Args:    shell.Arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			events, err := eventsOf(cmd.Context(), s, args[0])
			if err != nil {
				return err
			}
			out := s.Output()
			switch {
			case raw && len(events) > 1:
				return shell.Failedf("ambiguous", "without --raw all of them are shown", "%d events have the id %q", len(events), args[0])
			case raw:
				_, err := out.Write(events[0].payload)
				return err
			case out.Format.Machine():
				return shell.List(out, nil, events, nil)
			}
			if len(events) > 1 {
				s.Note("%d events have the id %s: an id is unique among those of one source and type", len(events), args[0])
			}
			return out.Value(events, func(w io.Writer) error {
				for i, e := range events {
					if i > 0 {
						fmt.Fprintln(w)
					}
					e.write(w)
				}
				return nil
			})
		},
	}
	c.Flags().BoolVar(&raw, "raw", false, "print the payload alone, as it is in the log")
	return shell.TakesLog(c)
}

// eventsOf returns the events with an id, oldest first. If there is none, it returns a not-found fault.
func eventsOf(ctx context.Context, s *shell.Session, id string) ([]shownEvent, error) {
	found, err := findStory(ctx, s, id, -1)
	if err != nil {
		return nil, err
	}
	conn, err := connect(ctx, s)
	if err != nil {
		return nil, err
	}
	defer conn.close()
	events := []shownEvent{}
	for e := range found.All {
		if e.ID != cloudevent.BoundName(id) {
			continue
		}
		shown, err := conn.show(ctx, e)
		if err != nil {
			return nil, err
		}
		events = append(events, shown)
	}
	if len(events) == 0 {
		return nil, shell.NotFoundf(fmt.Sprintf("`tidings story %s` shows what is known of it; `tidings tail` shows ids", id), "there is no event with the id %q", id)
	}
	slices.SortFunc(events, func(a, b shownEvent) int {
		return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.Offset, b.Offset))
	})
	return events, nil
}

// show returns an event of a story together with its record. If retention has removed the record, Gone is true.
func (c connection) show(ctx context.Context, e *story.Event) (shownEvent, error) {
	shown := shownEvent{Copies: e.Copies, Obligations: e.Obligations, Gone: true, eventLine: eventLine{
		Topic: e.Topic, Partition: e.Partition, Offset: e.Offset, Time: e.Time, ID: e.ID, Type: e.Type, Source: e.Source,
		Subject: e.Subject, Correlation: e.Correlation, Causation: e.Causation, Reaction: e.Reaction}}
	starts, err := c.log.Starts(ctx, e.Topic)
	if err != nil {
		return shown, err
	}
	from := logclient.Offsets{e.Topic: {e.Partition: max(e.Offset, starts[e.Topic][e.Partition])}}
	for r, err := range c.log.Read(ctx, from, logclient.Offsets{e.Topic: {e.Partition: e.Offset + 1}}) {
		if err != nil {
			return shown, fmt.Errorf("read %s: %w", e.Topic, err)
		}
		if r.Offset == e.Offset {
			event := cloudevent.FromRecord(r)
			shown.eventLine, shown.Gone = lineOf(r), false
			shown.SchemaVersion, shown.ContentType, shown.TraceParent, shown.payload = event.SchemaVersion, event.ContentType, event.TraceParent, event.Data
		}
	}
	return shown, nil
}

// write prints the event as text: a line for each attribute, a line for each obligation, and the payload.
func (e *shownEvent) write(w io.Writer) {
	attribute := func(name, value string) {
		if value != "" {
			fmt.Fprintf(w, "%-12s %s\n", name, shell.Clean(value))
		}
	}
	attribute("id", e.ID)
	attribute("type", e.Type)
	attribute("source", e.Source)
	attribute("subject", e.Subject)
	attribute("time", e.Time.Format(time.RFC3339Nano))
	attribute("place", fmt.Sprintf("%s/%d@%d", e.Topic, e.Partition, e.Offset))
	for _, o := range e.Copies {
		attribute("copy", fmt.Sprintf("%s/%d@%d", e.Topic, e.Partition, o))
	}
	attribute("correlation", e.Correlation)
	attribute("causation", e.Causation)
	attribute("emitted by", e.Reaction)
	attribute("trace", e.TraceParent)
	attribute("content", e.ContentType)
	if e.SchemaVersion > 0 {
		attribute("schema", fmt.Sprint(e.SchemaVersion))
	}
	for _, o := range e.Obligations {
		attribute("reaction", obligationText(o))
		if o.Mismatch != nil {
			attribute("", o.Mismatch.String())
		}
	}
	if e.Gone {
		fmt.Fprintln(w, "the payload is gone: retention has removed the record")
		return
	}
	fmt.Fprintf(w, "payload, %s:\n", shell.Plural(len(e.payload), "byte"))
	writePayload(w, e.payload)
}

// obligationText describes an obligation in one line.
func obligationText(o story.Obligation) string {
	text := string(o.State)
	if o.Reaction != "" {
		text = o.Reaction + " " + text
	}
	if !o.At.IsZero() {
		text += " at " + o.At.Format(time.RFC3339Nano)
	}
	if !o.Since.IsZero() {
		text += " since " + o.Since.Format(time.RFC3339Nano)
	}
	if o.Attempts > 0 {
		text += ", " + shell.Plural(o.Attempts, "failed attempt") + ": " + o.Error
	}
	if o.Reason != "" {
		text += ": " + o.Reason
	}
	return text
}

// writePayload writes the lines of a payload. Characters that could steer a terminal are escaped.
func writePayload(w io.Writer, payload []byte) {
	for line := range bytes.SplitSeq(payload, []byte("\n")) {
		fmt.Fprintln(w, shell.Clean(string(line)))
	}
}
