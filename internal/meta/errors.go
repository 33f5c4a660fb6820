package meta

import (
	"errors"
	"fmt"
)

// What a change can be refused with. Match them with errors.Is; the errors returned are *InvalidError where a reason
// helps.
var (
	// ErrTopicExists: the name is taken.
	ErrTopicExists = errors.New("topic exists already")
	// ErrUnknownTopic: there is no topic of this name or id.
	ErrUnknownTopic = errors.New("no such topic")
	// ErrInvalidTopic: the name is not allowed.
	ErrInvalidTopic = errors.New("invalid topic name")
	// ErrInvalidPartitions: a partition count that is not allowed here.
	ErrInvalidPartitions = errors.New("invalid number of partitions")
	// ErrInvalidConfig: an unknown configuration name, or a value that is not allowed here.
	ErrInvalidConfig = errors.New("invalid configuration")
	// ErrInvalidReplication: anything but one replica; this broker is one machine.
	ErrInvalidReplication = errors.New("invalid replication factor")
	// ErrCorruptRecord: a persisted change or snapshot cannot be decoded.
	ErrCorruptRecord = errors.New("corrupt catalogue record")
)

// InvalidError is a refusal with its reason, fit to be shown to the user. It unwraps to one of the sentinels.
type InvalidError struct {
	Err    error
	Value  string // what was refused
	Reason string
}

func (e *InvalidError) Error() string { return fmt.Sprintf("%v %q: %s", e.Err, e.Value, e.Reason) }
func (e *InvalidError) Unwrap() error { return e.Err }

func invalid(err error, value, reason string, args ...any) error {
	return &InvalidError{Err: err, Value: value, Reason: fmt.Sprintf(reason, args...)}
}
