package meta

import (
	"errors"
	"fmt"
)

// Reasons why a change is refused, to be matched with errors.Is. An *InvalidError adds details.
var (
	// ErrTopicExists means that another topic has the name.
	ErrTopicExists = errors.New("topic exists already")
	// ErrUnknownTopic means that there is no topic with the name or id.
	ErrUnknownTopic = errors.New("no such topic")
	// ErrInvalidTopic means that a topic may not have the name.
	ErrInvalidTopic = errors.New("invalid topic name")
	// ErrInvalidPartitions means that the topic may not have that number of partitions.
	ErrInvalidPartitions = errors.New("invalid number of partitions")
	// ErrInvalidConfig means that a configuration is unknown or that its value is not allowed.
	ErrInvalidConfig = errors.New("invalid configuration")
	// ErrInvalidReplication means that a number of replicas other than one was requested.
	ErrInvalidReplication = errors.New("invalid replication factor")
	// ErrCorruptRecord means that an encoded change or snapshot cannot be decoded.
	ErrCorruptRecord = errors.New("corrupt catalogue record")
)

// InvalidError describes why a value was refused. Its text may be shown to users. It unwraps to one of the sentinels.
type InvalidError struct {
	Err    error
	Value  string // the value that was refused
	Reason string
}

func (e *InvalidError) Error() string { return fmt.Sprintf("%v %q: %s", e.Err, e.Value, e.Reason) }
func (e *InvalidError) Unwrap() error { return e.Err }

// invalid returns an *InvalidError that matches err.
func invalid(err error, value, reason string, args ...any) error {
	return &InvalidError{Err: err, Value: value, Reason: fmt.Sprintf(reason, args...)}
}
