package story

import (
	"github.com/twmb/franz-go/pkg/kgo"

	"tidings.dev/internal/cloudevent"
)

// readEvent returns the event in a record, and the identity of the event. Names in the event that are too long for a
// row of the index, or are no valid UTF-8, are replaced by their short form; different names have different short
// forms. The identity is computed from the names before that replacement.
func readEvent(r *kgo.Record) (cloudevent.Event, cloudevent.Identity) {
	e := cloudevent.FromRecord(r)
	identity := e.Identity()
	for _, s := range []*string{&e.ID, &e.Type, &e.Source, &e.Subject, &e.Correlation, &e.Causation, &e.Reaction} {
		*s = cloudevent.BoundName(*s)
	}
	return e, identity
}
