package logclient

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

// kgo keeps a record that a broker may have taken, and sends it again until the broker answers. If the connection was lost before the
// answer, and the topic was deleted before the next one, nobody answers. The sequence of the record then waits for ever, and all later
// records wait behind it. So whoever has had no answer for stuckAfter has the log asked whether there is the topic.

const (
	stuckAfter = 2 * time.Second
	askTimeout = 5 * time.Second // for the log's answer
)

// look is called stuckAfter after a record was passed to kgo, and again until kgo has no record of the sequence. c and topic are those of
// the sequence.
func (s *sequence) look(c *Client, topic string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.out == 0 || c.life.Err() != nil {
		s.watched = false
		return
	}
	time.AfterFunc(stuckAfter, func() { s.look(c, topic) })
	if s.moved {
		s.moved, s.progress = false, time.Now()
	}
	if since := s.progress; time.Since(since) >= stuckAfter {
		c.stuck.ask(topic, func() { c.findOut(topic, since) })
	}
}

// findOut finds out why nothing that is on its way to a topic was answered since a time. If the topic was deleted, it makes the topic
// again and has kgo give back what it has.
func (c *Client) findOut(topic string, since time.Time) {
	ctx, cancel := context.WithTimeout(c.life, askTimeout)
	defer cancel()
	known, ok := c.knownTopic(topic)
	found, err := c.Find(ctx, topic)
	if errors.Is(err, kerr.UnknownTopicOrPartition) || err == nil && ok && found.ID != known.ID {
		// What cannot be mended now is tried again: the sequence is looked at until it goes on.
		_ = c.remake(ctx, topic, since, false)
	}
}

// inquiries makes sure that one question about a topic is asked at a time. The zero value is ready for use.
type inquiries struct {
	mu     sync.Mutex
	topics map[string]bool
}

// ask calls do on another goroutine, unless an earlier do for the topic has not returned.
func (i *inquiries) ask(topic string, do func()) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.topics[topic] {
		return
	}
	if i.topics == nil {
		i.topics = make(map[string]bool)
	}
	i.topics[topic] = true
	go func() {
		do()
		i.mu.Lock()
		defer i.mu.Unlock()
		delete(i.topics, topic)
	}()
}
