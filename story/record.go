package story

import (
	"github.com/twmb/franz-go/pkg/kgo"

	"tidings.dev/internal/cloudevent"
)

// readEvent returns the event in a record. Names in the event that are too long for a row of the index, or are no valid
// UTF-8, are replaced by their short form; different names have different short forms.
func readEvent(r *kgo.Record) cloudevent.Event {
	e := cloudevent.FromRecord(r)
	for _, s := range []*string{&e.ID, &e.Type, &e.Source, &e.Subject, &e.Correlation, &e.Causation, &e.Reaction} {
		*s = cloudevent.BoundName(*s)
	}
	return e
}
