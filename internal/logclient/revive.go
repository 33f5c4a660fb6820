package logclient

import (
	"context"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

// isGone reports whether err, of appending a record, means that the record's topic was deleted. The topic may have
// been made again since.
func isGone(err error) bool {
	return errors.Is(err, kerr.UnknownTopicOrPartition) || errors.Is(err, kerr.UnknownTopicID)
}

// revive is called for a record whose topic was deleted, before the record is sent again. For a record without a timeout it waits for
// the log without limit.
func (c *Client) revive(ctx context.Context, d *delivery) error {
	return c.remake(ctx, d.record.Topic, d.sent, d.timeout == 0)
}

// remake makes a topic that was deleted, if it does not exist again by now, and makes kgo, which knows topics by their ids, begin anew
// with it: kgo gives back the records that it has. It does nothing if that was done since a time. patient means that it tries until
// ctx is done.
func (c *Client) remake(ctx context.Context, topic string, since time.Time, patient bool) error {
	if c.restartedSince(topic, since) {
		return nil
	}
	c.Forget(topic)
	for {
		_, err := c.Topic(ctx, topic)
		if err == nil {
			break
		}
		if !patient || !transient(err) && !errors.Is(err, ErrUnreachable) || ctx.Err() != nil {
			return err
		}
		select {
		case <-time.After(metadataMinAge):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	c.config.Logger.Warn("a topic that was written to was deleted; what is on its way goes to the new one of the name", "topic", topic)
	c.restart(topic, func(limit) bool { return true }, true)
	return nil
}
