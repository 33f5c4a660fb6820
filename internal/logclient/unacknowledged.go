package logclient

import (
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Unacknowledged is the error of a record that the log has not acknowledged within its timeout.
type Unacknowledged struct {
	Topic     string
	Partition int32         // where the record belongs; -1 if it has no key or its topic is not known yet
	Addresses []string      // the brokers that are asked first
	Tried     time.Duration // how long the delivery has taken so far
	// MayBeInLog reports whether the record may be in the log, or be written to it later: it was sent and not
	// answered, or still waits to be sent. If it is false, the record is not in the log and never will be.
	MayBeInLog bool
	// Err is the reason, if it is known, and otherwise nil. It matches ErrUnreachable if the brokers could not be
	// reached, or is the error of a context, or the last error that a broker answered.
	Err error
}

func (e *Unacknowledged) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "the log at %s has not acknowledged it within %v, on topic %s",
		strings.Join(e.Addresses, ","), e.Tried.Round(time.Millisecond), e.Topic)
	if e.Partition >= 0 {
		fmt.Fprintf(&b, " partition %d", e.Partition)
	}
	if e.MayBeInLog {
		b.WriteString("; it may be in the log, or come to be when the log answers again")
	} else {
		b.WriteString("; it is not in the log")
	}
	if e.Err != nil {
		fmt.Fprintf(&b, ": %v", e.Err)
	}
	return b.String()
}

func (e *Unacknowledged) Unwrap() error { return e.Err }

// obstacle returns the reason why a record is not acknowledged: that the brokers cannot be reached, or otherwise err,
// the error of kgo. It returns nil if err only says that the time is over.
func (c *Client) obstacle(err error) error {
	if lost := c.outage.lastError(); lost != nil {
		return fmt.Errorf("%w: %w", ErrUnreachable, lost)
	}
	if isContext(err) {
		return nil
	}
	return err
}

// unacknowledged returns an *Unacknowledged for a record whose delivery began at begun. It reads only fields of r that
// kgo does not write.
func (c *Client) unacknowledged(r *kgo.Record, begun time.Time, mayBeInLog bool, err error) error {
	return &Unacknowledged{
		Topic: r.Topic, Partition: c.partitionOf(r), Addresses: c.config.Addresses,
		Tried: time.Since(begun), MayBeInLog: mayBeInLog, Err: err,
	}
}

// partitionOf returns the partition that partitioner chooses for a record, or -1 if the record has no key or its topic
// is not known.
func (c *Client) partitionOf(r *kgo.Record) int32 {
	topic, _ := c.knownTopic(r.Topic)
	if len(r.Key) == 0 || topic.Partitions == 0 {
		return -1
	}
	return int32(partitioner.ForTopic(r.Topic).Partition(&kgo.Record{Key: r.Key}, int(topic.Partitions)))
}
