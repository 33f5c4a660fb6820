package logclient

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// maxBufferedRecords is the number of records that may be on their way to the log; Produce blocks while there are that
// many.
const maxBufferedRecords = 16384

// Produce appends a record. It calls done once, when the record is durable or has failed, from a goroutine that done
// must not block. The error is nil, or matches ErrClosed, or is the one with which the log refused the record. Produce
// blocks while too many records are on their way; if ctx ends meanwhile, it returns ctx's error and does not call
// done. Otherwise it returns nil. The record must not be changed until done has been called.
func (c *Client) Produce(ctx context.Context, r *kgo.Record, done func(error)) error {
	return c.deliver(ctx, r, time.Now(), 0, done)
}

// ProduceWithin is like Produce, but the log must acknowledge the record within timeout; 0 means no timeout. It also
// makes the record's topic if it does not exist, as [Client.Topic] does, and returns a *[TooLarge] if the record is
// larger than its topic allows. Unlike Produce, it blocks during an outage of the log.
//
// If the timeout is over, the error is an *[Unacknowledged]. If ProduceWithin still blocks then, it returns the error
// and does not call done; otherwise it calls done with the error. The record must not be changed after the call, even
// after done has been called, because it may still be on its way.
func (c *Client) ProduceWithin(ctx context.Context, timeout time.Duration, r *kgo.Record, done func(error)) error {
	begun := time.Now()
	if err := c.Fits(ctx, timeout, r); err != nil {
		return err
	}
	return c.produceFitting(ctx, timeout, begun, r, done)
}

// ProduceFitting is like ProduceWithin for a record that [Client.Fits] has accepted. If its topic takes less since, done gets the
// *[TooLarge].
func (c *Client) ProduceFitting(ctx context.Context, timeout time.Duration, r *kgo.Record, done func(error)) error {
	return c.produceFitting(ctx, timeout, time.Now(), r, done)
}

// produceFitting is ProduceFitting, begun at the time begun.
func (c *Client) produceFitting(ctx context.Context, timeout time.Duration, begun time.Time, r *kgo.Record, done func(error)) error {
	switch {
	case c.awaitLog(ctx, timeout):
		return c.deliver(ctx, r, begun, timeout, done)
	case ctx.Err() != nil:
		return ctx.Err()
	case c.life.Err() != nil:
		return ErrClosed
	}
	return c.unacknowledged(r, begun, false, c.obstacle(nil))
}

// topicWithin makes the topic of a record if it does not exist. It blocks for at most timeout; 0 means no limit. If
// the timeout is over or the log cannot be reached, the error is an *[Unacknowledged], and otherwise that of Topic.
func (c *Client) topicWithin(ctx context.Context, timeout time.Duration, r *kgo.Record) error {
	if _, ok := c.knownTopic(r.Topic); ok {
		return nil
	}
	begun := time.Now()
	limited, cancel := ctx, func() {}
	if timeout > 0 {
		limited, cancel = context.WithTimeout(ctx, timeout)
	}
	defer cancel()
	_, err := c.Topic(limited, r.Topic)
	switch {
	case err == nil || ctx.Err() != nil:
		return err
	case errors.Is(err, ErrUnreachable) || isContext(err):
		return c.unacknowledged(r, begun, false, err)
	}
	return err
}

// ProduceSync appends records and blocks until all of them are durable, one has failed, or ctx is done. It returns the
// first error; other records may be durable then, or become durable later. If a record is larger than its topic
// allows, none is sent, and the error is a *[TooLarge].
func (c *Client) ProduceSync(ctx context.Context, records ...*kgo.Record) error {
	for _, r := range records {
		if err := c.Fits(ctx, 0, r); err != nil {
			return err
		}
	}
	answers := make(chan error, len(records))
	for _, r := range records {
		if err := c.Produce(ctx, r, func(err error) { answers <- err }); err != nil {
			return err
		}
	}
	for range records {
		select {
		case err := <-answers:
			if err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// ProduceSyncWithin appends a record and blocks until it is durable or has failed, for at most timeout, and until ctx
// is done. If the timeout is over or ctx is done, the error is an *[Unacknowledged].
func (c *Client) ProduceSyncWithin(ctx context.Context, timeout time.Duration, r *kgo.Record) error {
	begun := time.Now()
	a := answers.Get().(*answer)
	if err := c.ProduceWithin(ctx, timeout, r, a.give); err != nil { // a is not called
		answers.Put(a)
		if ctx.Err() == nil {
			return err
		}
		return c.unacknowledged(r, begun, false, ctx.Err())
	}
	select {
	case err := <-a.given:
		answers.Put(a)
		return err
	case <-ctx.Done(): // a may still be called
		return c.unacknowledged(r, begun, true, ctx.Err())
	}
}

// answer receives the result of one record at a time.
type answer struct {
	given chan error // capacity 1
	give  func(error)
}

// answers has answers that are not in use, and have no result.
var answers = sync.Pool{New: func() any {
	given := make(chan error, 1)
	return &answer{given, func(err error) { given <- err }}
}}

// Offer appends a record without waiting for it: it does not block, and does not report failures. If too many records
// are on their way, it drops the record.
func (c *Client) Offer(r *kgo.Record) {
	select {
	case c.slots <- struct{}{}:
		c.producer(r.Topic).Produce(context.Background(), r, func(*kgo.Record, error) { <-c.slots })
	default:
	}
}
