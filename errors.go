package tidings

import (
	"errors"
	"fmt"
	"time"

	"tidings.dev/internal/logclient"
	"tidings.dev/internal/reactor"
	"tidings.dev/internal/settled"
)

// ErrNoApp is the error of an emission with a context that is not bound to an [App]: see [App.Context].
var ErrNoApp = errors.New("tidings: the context is bound to no app: emit with the handler's own context, or with app.Context(ctx)")

// ErrUnreachable is matched by errors of [App.Run] and of emissions when the log does not answer in time
// ([ConnectTimeout], [EmitTimeout]).
var ErrUnreachable = logclient.ErrUnreachable

// ErrNoIndexer is matched by the error of [Receipt.Settled] when no indexer runs: without one, no story settles.
var ErrNoIndexer = settled.ErrNoIndexer

// ErrEventLost is matched by the error of [Receipt.Settled] when the log has acknowledged the event and has lost it since: a backup or
// a copy from before the event was put in place, or the power has failed and the event was not synced. Emit it again, with the same
// [ID], if it is still to happen.
var ErrEventLost = settled.ErrEventLost

// ErrClosed is matched by the errors of emissions, of [App.Run] and of [Receipt.Settled] once the app is closed or
// aborted.
var ErrClosed = logclient.ErrClosed

// UnacknowledgedError is the error of an emission that the log has not acknowledged before [EmitTimeout] was over or
// the context was done. It unwraps to Err, and matches [ErrUnreachable] if the log could not be reached or has not answered.
type UnacknowledgedError struct {
	Fact      string // name of the fact
	ID        string // id of the event
	Topic     string
	Partition int32         // where the event belongs; -1 if it has no subject, or the topic's partitions are not known yet
	Addresses []string      // the brokers that are asked first
	Tried     time.Duration // how long the emission has waited
	// MayBeInLog reports whether the event may be in the log, or be written to it later: it was sent and not answered,
	// or still waits to be sent. Emit it again with the same [ID] then, so that a second record counts as a copy. If
	// MayBeInLog is false, the event is not in the log and never will be.
	MayBeInLog bool
	// Err is the reason, if it is known, and otherwise nil. It matches [ErrUnreachable] if the log could not be
	// reached, or is the error of the context, or the last error that the log answered.
	Err error
}

func (e *UnacknowledgedError) Error() string {
	remedy := "emit it again"
	if e.MayBeInLog {
		remedy = fmt.Sprintf("emit it again with tidings.ID(%q), so that it counts once", e.ID)
	}
	why := logclient.Unacknowledged{Topic: e.Topic, Partition: e.Partition, Addresses: e.Addresses, Tried: e.Tried, MayBeInLog: e.MayBeInLog, Err: e.Err}
	return fmt.Sprintf("%s not emitted: %s; %s", e.Fact, why.Error(), remedy)
}

func (e *UnacknowledgedError) Unwrap() error { return e.Err }

// Is reports whether target is [ErrUnreachable] and the log has not answered at all.
func (e *UnacknowledgedError) Is(target error) bool { return target == ErrUnreachable && e.Err == nil }

// TooLargeError is the error of an emission of an event that takes more bytes than its topic allows. Emitting it again
// fails again, unless the topic's max.message.bytes is raised.
type TooLargeError struct {
	Fact  string // name of the fact
	ID    string // id of the event
	Topic string
	Size  int // bytes that the event takes in the log, including its headers and the overhead of a batch
	Limit int // the topic's max.message.bytes
}

func (e *TooLargeError) Error() string {
	why := logclient.TooLarge{Topic: e.Topic, Size: e.Size, Limit: e.Limit}
	return fmt.Sprintf("%s not emitted: %s: keep the data elsewhere and emit where it is, or raise the limit with `tidings topic edit %s max.message.bytes=%d`",
		e.Fact, why.Error(), e.Topic, e.Size)
}

// notEmitted returns the error of Emit for the event e, which the log has not taken because of err.
func notEmitted(e *outgoing, err error) error {
	if why, ok := errors.AsType[*logclient.Unacknowledged](err); ok {
		return &UnacknowledgedError{
			Fact: e.meta.Type, ID: e.meta.ID, Topic: why.Topic, Partition: why.Partition, Addresses: why.Addresses,
			Tried: why.Tried, MayBeInLog: why.MayBeInLog, Err: why.Err,
		}
	}
	if why, ok := errors.AsType[*logclient.TooLarge](err); ok {
		return &TooLargeError{Fact: e.meta.Type, ID: e.meta.ID, Topic: why.Topic, Size: why.Size, Limit: why.Limit}
	}
	return fmt.Errorf("%s not emitted: %w", e.meta.Type, err)
}

// ErrNotEmitted is the error of [Receipt.Settled] on a receipt without a place in the log: the zero [Receipt], or one
// that Emit returned inside a handler, whose event is sent only after the handler has returned.
var ErrNotEmitted = errors.New("tidings: the event of this receipt is not in the log yet")

// LostError is returned by [App.Run] when events were deleted from the log before a reaction had handled them:
// retention deleted the offsets in Ranges, which are pairs [from, to), of a partition. From is the first of them and To is
// after the last; what lies between the ranges was handled. The reaction stops and does not pass over the gap by itself. It
// goes on after its position has been moved by hand, as with `tidings group seek`.
type LostError struct {
	Reaction  string
	Topic     string
	Partition int32
	From, To  int64
	Ranges    [][2]int64
}

func (e *LostError) Error() string { return (*reactor.Lost)(e).Error() }

// BeyondError is returned by [App.Run] when a reaction's position is higher than the end of the partition, and the log does not say
// by its topic ids or leader epochs how that came to be: the topic was deleted and made again, or its end was cut, on brokers that have
// neither, or somebody has moved the position there. Run ends, because otherwise the events up to the position would be missed.
// `tidings group seek` moves the position.
type BeyondError struct {
	Reaction      string
	Topic         string
	Partition     int32
	Position, End int64
}

func (e *BeyondError) Error() string { return (*reactor.Beyond)(e).Error() }

// FoldError is the error of every event of a subject whose state is broken: the fold has panicked, or has ended its
// goroutine, with the event Meta. The subject's events fail with it until the state is built anew, by a process that
// starts again or gets the partition again.
type FoldError struct {
	Meta Meta
	Err  error
}

func (e *FoldError) Error() string {
	return fmt.Sprintf("fold of event %s (%s at %s/%d offset %d): %v", e.Meta.ID, e.Meta.Type, e.Meta.Topic, e.Meta.Partition, e.Meta.Offset, e.Err)
}

func (e *FoldError) Unwrap() error { return e.Err }

var errNoConnection = errors.New("the connection is nil: pass embedded.Memory(), embedded.File(dir) or tidings.Kafka(addresses)")

var errNoAddress = errors.New("tidings: Kafka: no address given: \"host:port\", several joined by commas")
