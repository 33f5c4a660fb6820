package logclient

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	limitConfig = "max.message.bytes" // the topic's configuration that limits the bytes of a batch
	// defaultLimit is the limit, in bytes, that is assumed for a topic whose limit is not known. It is the default of
	// Kafka.
	defaultLimit = 1000012
	// limitEvery is the shortest time between two requests for the limit of a topic because a record exceeds it.
	limitEvery = time.Second
)

// TooLarge is the error of a record that is larger than its topic allows. It matches kerr.MessageTooLarge.
type TooLarge struct {
	Topic string
	Size  int // bytes of a batch that has only the record
	Limit int // the topic's max.message.bytes
}

func (e *TooLarge) Error() string {
	return fmt.Sprintf("it takes %d bytes, and topic %s takes at most %d (max.message.bytes)", e.Size, e.Topic, e.Limit)
}

func (e *TooLarge) Unwrap() error { return kerr.MessageTooLarge }

// limit has what is known of how large a batch a topic takes.
type limit struct {
	bytes   int       // max.message.bytes; 0 if it is not known
	asked   time.Time // when the log was last asked for it
	applied int       // the limit that the client's kgo was given; 0 if none was, and in a topicTable
}

// or returns the limit in bytes, or the default if it is not known.
func (l limit) or() int {
	if l.bytes == 0 {
		return defaultLimit
	}
	return l.bytes
}

// changed reports whether kgo was given another limit.
func (l limit) changed() bool { return l.applied != 0 && l.applied != l.or() }

// knownLimit returns what is known of the limit of a topic that Topic has found before; false if it has not.
func (c *Client) knownLimit(topic string) (l limit, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.topics.mu.Lock()
	defer c.topics.mu.Unlock()
	_, ok = c.topics.known[topic]
	return c.limitLocked(topic), ok
}

// limitOf returns what is known of the limit of a topic.
func (c *Client) limitOf(topic string) limit {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.limit(topic)
}

// limit is limitOf with c.mu held.
func (c *Client) limit(topic string) limit {
	c.topics.mu.Lock()
	defer c.topics.mu.Unlock()
	return c.limitLocked(topic)
}

// limitLocked is limitOf with c.mu and c.topics.mu held.
func (c *Client) limitLocked(topic string) limit {
	l := c.topics.limits[topic]
	l.applied = c.applied[topic]
	return l
}

// askLimit asks the log for the limit of a topic and returns it, for at most the connect timeout. If the log does not
// answer, the limit stays as it was.
func (c *Client) askLimit(ctx context.Context, topic string) limit {
	ctx, cancel := context.WithTimeout(ctx, c.config.ConnectTimeout)
	defer cancel()
	bytes := 0
	if described, err := c.adm.DescribeTopicConfigs(ctx, topic); err == nil {
		for _, d := range described {
			for _, config := range d.Configs {
				if config.Key == limitConfig {
					bytes, _ = strconv.Atoi(config.MaybeValue())
				}
			}
		}
	}
	c.topics.mu.Lock()
	l := c.topics.limits[topic]
	l.asked = time.Now()
	if bytes > 0 {
		l.bytes = bytes
	}
	c.topics.limits[topic] = l
	c.topics.mu.Unlock()
	return c.limitOf(topic)
}

// applyLimit is called by kgo when it begins to append to a topic. It returns the limit for a batch as kgo counts it,
// which includes the length that precedes the batch in a request.
func (c *Client) applyLimit(topic string) int32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := c.limit(topic)
	l.applied = l.or()
	c.applied[topic] = l.applied
	return int32(min(l.applied+kbin.UvarintLen(uint32(l.applied)+1), 1<<30))
}

// Fits returns a *[TooLarge] if r is larger than its topic allows. It makes the topic if it does not exist. If r
// exceeds the limit that is known, it asks the log for the limit again. It blocks for at most timeout; 0 means no
// limit. Other errors are those of ProduceWithin.
func (c *Client) Fits(ctx context.Context, timeout time.Duration, r *kgo.Record) error {
	l, ok := c.knownLimit(r.Topic)
	if !ok {
		if err := c.topicWithin(ctx, timeout, r); err != nil {
			return err
		}
		l = c.limitOf(r.Topic)
	}
	size := batchBytes(r)
	if size > l.or() && time.Since(l.asked) >= limitEvery {
		if timeout > 0 {
			limited, cancel := context.WithTimeout(ctx, timeout)
			defer cancel()
			ctx = limited
		}
		l = c.askLimit(ctx, r.Topic)
	}
	if size > l.or() {
		return &TooLarge{Topic: r.Topic, Size: size, Limit: l.or()}
	}
	if l.applied > 0 && size > l.applied {
		c.restart(r.Topic, limit.changed, false)
	}
	return nil
}

// refit is called for a record that a broker has refused as too large, before the record is sent again. The topic's
// limit may have become lower, so that the batch was too large although the record is not. It returns a *TooLarge if
// the record is too large.
func (c *Client) refit(ctx context.Context, d *delivery) error {
	l := c.limitOf(d.record.Topic)
	if l.asked.Before(d.sent) {
		l = c.askLimit(ctx, d.record.Topic)
	}
	if size := batchBytes(d.record); size > l.or() {
		return &TooLarge{Topic: d.record.Topic, Size: size, Limit: l.or()}
	}
	c.restart(d.record.Topic, limit.changed, false)
	return nil
}

// restart makes kgo forget a topic and begin anew with it, if need returns true for the topic's limit. kgo gives back
// the records that are on their way, which are then sent again. A batch that had not been answered may then be in the
// log twice. deleted means that the topic was deleted, so that the log does not know what was appended to it; otherwise
// another kgo client goes on: see producer.
func (c *Client) restart(topic string, need func(limit) bool, deleted bool) {
	c.restarting.Lock()
	defer c.restarting.Unlock()
	c.mu.Lock()
	if !need(c.limit(topic)) {
		c.mu.Unlock()
		return
	}
	c.restarted[topic] = time.Now().AddDate(1, 0, 0) // in the future, because kgo gives records back before it returns
	c.mu.Unlock()

	c.sequences.shut(topic)
	defer c.sequences.open(topic)
	before, unused, err := c.producer(topic), false, error(nil)
	if !deleted {
		before, unused, err = c.renew(topic)
	}
	if err == nil {
		before.PurgeTopicsFromProducing(topic)
	}
	if unused {
		before.Close()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.restarted[topic] = time.Now()
	if deleted { // otherwise the new client may have been given the limit already
		delete(c.applied, topic)
	}
}

// restartedSince reports whether restart was called for a topic after the time since, or is being called.
func (c *Client) restartedSince(topic string, since time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.restarted[topic].After(since)
}

// batchOverhead is the number of bytes of a batch without its records.
const batchOverhead = 61

// batchBytes returns the number of bytes of an uncompressed batch that has only r.
func batchBytes(r *kgo.Record) int {
	size := 1 + 1 + 1 + // attributes, and the deltas of timestamp and offset, which are 0
		kbin.VarintLen(int32(len(r.Key))) + len(r.Key) +
		kbin.VarintLen(int32(len(r.Value))) + len(r.Value) +
		kbin.VarintLen(int32(len(r.Headers)))
	for _, h := range r.Headers {
		size += kbin.VarintLen(int32(len(h.Key))) + len(h.Key) + kbin.VarintLen(int32(len(h.Value))) + len(h.Value)
	}
	return batchOverhead + kbin.VarintLen(int32(size)) + size
}
