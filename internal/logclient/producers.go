package logclient

import (
	"maps"

	"github.com/twmb/franz-go/pkg/kgo"
)

// producer is a kgo client that appends to topics that were restarted. A topic begins with the Client's own kgo client, and goes on with
// another one, which has not appended to it, after each restart that is not for a deletion. For when kgo has forgotten a topic, it counts its sequence numbers from 0
// again, with the producer id and the epoch that it has. A log that knows these numbers would take new records for copies of earlier
// ones: it would acknowledge them and not have them.
type producer struct {
	kgo      *kgo.Client
	restarts int // how often each of its topics was restarted, so that no topic comes to it twice
}

// producer returns the kgo client that appends to a topic.
func (c *Client) producer(topic string) *kgo.Client {
	if p := c.producers.Load(); p != nil {
		if p, ok := (*p)[topic]; ok {
			return p.kgo
		}
	}
	return c.kgo
}

// renew gives a topic another kgo client, and returns the one before and whether no topic goes on with that. c.restarting
// must be held.
func (c *Client) renew(topic string) (before *kgo.Client, unused bool, err error) {
	byTopic := map[string]producer{}
	if p := c.producers.Load(); p != nil {
		byTopic = maps.Clone(*p)
	}
	old, restarted := byTopic[topic]
	if !restarted {
		old.kgo = c.kgo
	}
	delete(byTopic, topic)
	next := producer{restarts: old.restarts + 1}
	unused = restarted
	for _, p := range byTopic {
		unused = unused && p.kgo != old.kgo
		if p.restarts == next.restarts {
			next = p
		}
	}
	made := next.kgo == nil
	if made {
		if next.kgo, err = kgo.NewClient(c.producing()...); err != nil {
			return nil, false, err
		}
	}
	byTopic[topic] = next
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.life.Err() != nil { // Close has closed those that there are, or is about to
		if made {
			next.kgo.Close()
		}
		return nil, false, ErrClosed
	}
	delete(c.applied, topic)
	c.producers.Store(&byTopic)
	return old.kgo, unused, nil
}

// closeProducers closes the kgo clients of the topics that were restarted. Life must have ended, so that renew makes no more.
func (c *Client) closeProducers() {
	c.mu.Lock()
	byTopic := c.producers.Load()
	c.mu.Unlock()
	if byTopic == nil {
		return
	}
	for _, p := range *byTopic {
		p.kgo.Close() // for several topics: allowed
	}
}
