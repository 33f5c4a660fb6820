package client

import (
	"bytes"
	"encoding/json"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kgo"

	"tidings.dev/internal/cli/shell"
	"tidings.dev/internal/cloudevent"
	"tidings.dev/internal/display"
)

// eventLine is a record as the command tail prints it. Fields that only a CloudEvent has are empty for other records.
type eventLine struct {
	Topic       string    `json:"topic"`
	Partition   int32     `json:"partition"`
	Offset      int64     `json:"offset"`
	Time        time.Time `json:"time"`
	ID          string    `json:"id,omitempty"`
	Type        string    `json:"type,omitempty"`
	Source      string    `json:"source,omitempty"`
	Subject     string    `json:"subject,omitempty"` // the record's key if the event names no subject
	Correlation string    `json:"correlationid,omitempty"`
	Causation   string    `json:"causationid,omitempty"`
	// Reaction is the reaction that emitted the event. It is empty if the event is a root emission.
	Reaction string          `json:"emitted_by,omitempty"`
	Data     json.RawMessage `json:"data,omitempty"`        // JSON data unchanged; other UTF-8 text as a JSON string
	Base64   []byte          `json:"data_base64,omitempty"` // data that is neither JSON nor UTF-8
}

// lineOf returns the eventLine of a record. If the record has no event id, ID is the id that the story gives to a
// foreign record.
func lineOf(r *kgo.Record) eventLine {
	e := cloudevent.FromRecord(r)
	l := eventLine{
		Topic: e.Topic, Partition: e.Partition, Offset: e.Offset, Time: e.Time, ID: e.ID, Type: e.Type, Source: e.Source,
		Subject: e.Subject, Correlation: e.Correlation, Causation: e.Causation, Reaction: e.Reaction,
	}
	switch {
	case len(e.Data) == 0:
	case json.Valid(e.Data):
		l.Data = e.Data
	case utf8.Valid(e.Data):
		l.Data, _ = json.Marshal(string(e.Data)) // a string always encodes
	default:
		l.Base64 = e.Data
	}
	return l
}

// write prints the line in the format of out. For FormatJSON it prints one value per line instead of a list, because
// tail may never reach an end at which a list could be closed.
func (l eventLine) write(out *shell.Output) error {
	switch out.Format {
	case shell.FormatJSON, shell.FormatJSONL:
		return out.JSONLine(l)
	case shell.FormatYAML:
		return out.YAML([]eventLine{l})
	}
	var b bytes.Buffer
	if out.Table() {
		b.WriteString(l.text(out.Width) + "\n")
	} else {
		shell.WriteRow(&b, []string{l.Time.Format("2006-01-02T15:04:05.000Z"), l.Topic, strconv.Itoa(int(l.Partition)), strconv.FormatInt(l.Offset, 10), l.Type, l.Subject, l.ID, string(l.Data)})
	}
	_, err := out.Write(b.Bytes())
	return err
}

// text returns the line for a terminal. It is cut to width columns unless width is 0.
func (l eventLine) text(width int) string {
	text := l.Time.Format("15:04:05.000") + "  " + display.Pad(shell.Clean(l.Topic), 10) + "  " + display.Pad(shell.Clean(l.Type), 24) + "  " +
		display.Pad(shell.Clean(l.Subject), 16) + "  " + shell.Clean(l.ID) + "  " + shell.Clean(string(l.Data))
	if width > 0 {
		text = display.Cut(text, width)
	}
	return text
}
