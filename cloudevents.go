package tidings

import (
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"tidings.dev/internal/cloudevent"
)

// outgoing is an event that has not been written to the log yet.
type outgoing struct {
	begun    time.Time // when Emit or EmitAsync was called
	meta     Meta
	reaction string // the name of the emitting reaction; empty for a root emission
	payload  []byte
	options  emission
}

// recordIn returns the event as a Kafka record in room. The producer sets the record's partition and offset.
func (e *outgoing) recordIn(room *cloudevent.RecordRoom) *kgo.Record {
	m := &e.meta
	ev := cloudevent.Event{
		ID: m.ID, Type: m.Type, Source: m.Source, Subject: m.Subject, Time: m.Time, SchemaVersion: m.Version,
		Correlation: m.Correlation, Causation: m.Causation, Reaction: e.reaction, TraceParent: m.TraceParent,
		ContentType: "application/json", Data: e.payload,
	}
	return ev.RecordIn(room, m.Topic)
}

// anyOf returns a received event in the form that handlers get, without its handling field, which the caller sets. The
// payload is not copied.
func anyOf(e *cloudevent.Event) Any {
	return Any{Payload: e.Data, Meta: Meta{
		ID: e.ID, Type: e.Type, Source: e.Source, Subject: e.Subject, Time: e.Time, Version: e.SchemaVersion,
		Correlation: e.Correlation, Causation: e.Causation, TraceParent: e.TraceParent,
		Topic: e.Topic, Partition: e.Partition, Offset: e.Offset,
	}}
}
