package tidings

import (
	"fmt"
	"time"

	"tidings.dev/internal/delivery"
)

// Meta is what is known of an event besides its data. It is a value: handlers may keep it.
type Meta struct {
	// ID identifies the event; copies of one event share it. A record that is no CloudEvent has the ID
	// "topic/partition/offset".
	ID string
	// Type is the fact's name; empty for a record that is no CloudEvent.
	Type string
	// Subject is what the event is about, and the record's key.
	Subject string
	// Source is the app that emitted it.
	Source string
	// Correlation is shared by all events that follow from one root.
	Correlation string
	// Causation is the ID of the event whose handling emitted this one; empty for a root.
	Causation string
	// TraceParent is the W3C trace context; may be empty.
	TraceParent string
	// Time is when it happened, as the emitter says.
	Time time.Time
	// Version is the schema version; 0 when the event carries none.
	Version int

	// Topic, Partition and Offset are its place in the log.
	Topic     string
	Partition int32
	Offset    int64

	reaction string // who is handling it; empty outside handlers
}

// Key is the idempotency key for effects outside the log: the same whenever this reaction handles this event, and
// another for every other reaction and event. Hand it to the payment provider, or keep it in a unique column.
func (m Meta) Key() string { return delivery.DeriveID("key", m.reaction, m.ID) }

// Event is an event with its data decoded.
type Event[T any] struct {
	Meta
	Data T
}

// Any is an event of any type, its data as it was received. Payload must not be changed.
type Any struct {
	Meta
	Payload []byte
}

// PayloadError says that the payload of an event does not decode as the fact's type.
type PayloadError struct {
	Meta Meta
	Err  error
}

func (e *PayloadError) Error() string {
	return fmt.Sprintf("event %s (%s at %s/%d offset %d) does not decode: %v", e.Meta.ID, e.Meta.Type, e.Meta.Topic, e.Meta.Partition, e.Meta.Offset, e.Err)
}

func (e *PayloadError) Unwrap() error { return e.Err }
