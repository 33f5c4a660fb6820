package tidings

import (
	"errors"
	"fmt"
)

// ErrNoApp is matched when a fact is emitted with a context that is bound to no App.
var ErrNoApp = errors.New("tidings: the context is bound to no app: emit with the handler's own context, or with app.Context(ctx)")

// ErrUnreachable is matched when the log cannot be reached in time.
var ErrUnreachable = errors.New("tidings: the log cannot be reached")

// ErrClosed is matched by whatever is asked of an App that has been closed.
var ErrClosed = errors.New("tidings: the app is closed")

// ErrNotEmitted is matched by Receipt.Settled on a receipt that stands for no durable event: the zero Receipt, and one
// that a handler got, whose event is sent only after the handler has returned.
var ErrNotEmitted = errors.New("tidings: the event of this receipt is not in the log yet")

// LostError says that a reaction's next events are gone from the log: retention deleted the offsets [From, To) before
// they were handled. The reaction stops rather than pass over them; moving its position by hand lets it go on.
type LostError struct {
	Reaction  string
	Topic     string
	Partition int32
	From, To  int64
}

func (e *LostError) Error() string {
	return fmt.Sprintf("lost: retention deleted offsets %d–%d of %s/%d before reaction %q handled them; to go on, move its position with `tidings group seek %s --topic %s`",
		e.From, e.To-1, e.Topic, e.Partition, e.Reaction, e.Reaction, e.Topic)
}

// BeyondError says that a reaction has come past the end of the log: the topic was deleted and made anew, or its log was
// cut. Position is where it stands, or, while it runs, what it would read next.
type BeyondError struct {
	Reaction      string
	Topic         string
	Partition     int32
	Position, End int64
}

func (e *BeyondError) Error() string {
	return fmt.Sprintf("reaction %q stands at offset %d of %s/%d, but the log ends at %d: was the topic made anew? To go on, move its position with `tidings group seek %s --topic %s`",
		e.Reaction, e.Position, e.Topic, e.Partition, e.End, e.Reaction, e.Topic)
}

var errNoAddress = errors.New("tidings: Kafka: no address given: \"host:port\", several joined by commas")
