package client

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"

	"tidings.dev/internal/cli/shell"
	"tidings.dev/story"
)

// storyWithPayloads is a story together with the records of its events. In payloads, each event comes before the
// events that it caused.
type storyWithPayloads struct {
	story    *story.Story
	payloads []eventLine
}

// MarshalJSON returns the JSON of the story with an additional field, payloads.
func (s storyWithPayloads) MarshalJSON() ([]byte, error) {
	whole, err := json.Marshal(s.story)
	if err != nil {
		return nil, err
	}
	b := bytes.NewBuffer(bytes.TrimSuffix(whole, []byte("}")))
	b.WriteString(`,"payloads":`)
	enc := json.NewEncoder(b)
	enc.SetEscapeHTML(false) // keeps payloads as they are in the log
	if err := enc.Encode(s.payloads); err != nil {
		return nil, err
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// writeStoryWithPayloads prints a story, followed by the payloads of those of its events that are still in the log.
func writeStoryWithPayloads(ctx context.Context, s *shell.Session, found *story.Story) error {
	conn, err := connect(ctx, s)
	if err != nil {
		return err
	}
	defer conn.close()
	with := storyWithPayloads{story: found, payloads: []eventLine{}}
	var events []shownEvent
	for e := range found.All {
		shown, err := conn.show(ctx, e)
		if err != nil {
			return err
		}
		if !shown.Gone {
			with.payloads = append(with.payloads, shown.eventLine)
		}
		events = append(events, shown)
	}
	out := s.Output()
	return out.Value(with, func(w io.Writer) error {
		if err := found.Render(w, story.Format{Width: out.Width, Color: out.Color}); err != nil {
			return err
		}
		for _, e := range events {
			fmt.Fprintf(w, "\n%s  %s  %s/%d@%d\n", shell.Clean(e.ID), shell.Clean(e.Type), shell.Clean(e.Topic), e.Partition, e.Offset)
			if e.Gone {
				fmt.Fprintln(w, "the payload is gone: retention has removed the record")
				continue
			}
			writePayload(w, e.payload)
		}
		return nil
	})
}
