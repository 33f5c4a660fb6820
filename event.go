package tidings

import (
	"fmt"
	"time"

	"tidings.dev/internal/cloudevent"
)

// Meta is everything that is known of an event except its data. Handlers may keep and copy it.
type Meta struct {
	// ID identifies the event among those of the same Source and Type; copies of one event share all three. A record
	// that is no CloudEvent has the ID "topic/partition/offset".
	ID string
	// Type is the fact's name; empty for a record that is no CloudEvent.
	Type string
	// Subject is what the event is about, such as "order/123". It is also the key of the record.
	Subject string
	// Source is the name of the app that emitted the event.
	Source string
	// Correlation names the story that the event belongs to; all events that follow from one root emission share it. A
	// name from a foreign program that is longer than 512 bytes or not valid UTF-8 is replaced by its short form: its
	// beginning and a hash.
	Correlation string
	// Causation is the ID of the event whose handler emitted this event; empty for a root emission.
	Causation string
	// TraceParent is the event's W3C trace context, as in a traceparent header; empty if it has none.
	TraceParent string
	// Time is when the fact happened, according to the emitter.
	Time time.Time
	// Version is the schema version; 0 if the event does not say.
	Version int

	// Topic, Partition and Offset are the event's place in the log.
	Topic     string
	Partition int32
	Offset    int64

	handling cloudevent.Cause // which reaction handles the event; zero outside handlers
}

// Key returns an idempotency key for effects outside the log, 32 hexadecimal digits. The key is the same whenever this
// reaction handles this event, also in another process, and differs from the keys of all other reactions and events.
// Pass it to a payment provider, for example, or keep it in a unique column.
func (m Meta) Key() string {
	if m.handling.Reaction == "" { // outside handlers: the Meta was made by hand, or was received by other means
		e := cloudevent.Event{Source: m.Source, Type: m.Type, ID: m.ID}
		return e.Cause("").Key()
	}
	return m.handling.Key()
}

// Event is an event of the fact whose data is of type T.
type Event[T any] struct {
	Meta
	Data T
}

// Any is an event of any type, with its data as it was received. Payload must not be changed.
type Any struct {
	Meta
	Payload []byte

	unread     *unread     // set while a fold is called with the event; nil otherwise
	mismatches *mismatches // those of the reaction that handles or folds the event; nil otherwise
}

// PayloadError is the error of an event whose payload does not decode as the fact's type. The handler of [React] is
// not called for such an event. By default the event is tried again, as after a handler's error; [OnUndecodable]
// changes that.
type PayloadError struct {
	Meta Meta
	Err  error
}

func (e *PayloadError) Error() string {
	return fmt.Sprintf("event %s (%s at %s/%d offset %d) does not decode: %v", e.Meta.ID, e.Meta.Type, e.Meta.Topic, e.Meta.Partition, e.Meta.Offset, e.Err)
}

func (e *PayloadError) Unwrap() error { return e.Err }
