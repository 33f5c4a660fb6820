package kafka

import (
	"context"
	"errors"

	"github.com/twmb/franz-go/pkg/kmsg"

	"tidings.dev/internal/engine"
	"tidings.dev/internal/meta"
)

// DeleteTopics (API key 20), versions 1–6. Topics are named by name, and from version 6 on also by id.
//
// Deviations from Apache Kafka: the timeout is not used.

// errEitherOr is the error of a topic that a request names twice, by name and id, or not at all.
var errEitherOr = errors.New("kafka: a request must name a topic once, by its name or by its id")

// deleteTopics deletes topics, with their records and all state that refers to them (docs/kafka-traps.md, trap 18). It
// blocks until the deletion is durable.
func (c *conn) deleteTopics(ctx context.Context, r *kmsg.DeleteTopicsRequest) kmsg.Response {
	resp := r.ResponseKind().(*kmsg.DeleteTopicsResponse)
	asks := r.Topics
	for i := range r.TopicNames {
		asks = append(asks, kmsg.DeleteTopicsRequestTopic{Topic: &r.TopicNames[i]})
	}
	type named struct {
		name string
		id   meta.TopicID
	}
	nameOf := func(t kmsg.DeleteTopicsRequestTopic) (n named) {
		if n.id = t.TopicID; t.Topic != nil {
			n.name = *t.Topic
		}
		return n
	}
	times := make(map[named]int, len(asks))
	for _, ask := range asks {
		times[nameOf(ask)]++
	}
	for _, ask := range asks {
		row := kmsg.NewDeleteTopicsResponseTopic()
		row.Topic, row.TopicID = ask.Topic, ask.TopicID
		n := times[nameOf(ask)]
		times[nameOf(ask)] = 0
		if n == 0 {
			continue // answered already, as named twice
		}
		if n > 1 || (ask.Topic == nil) == (ask.TopicID == meta.TopicID{}) {
			row.ErrorCode, row.ErrorMessage = topicCode(errEitherOr), errorMessage(errEitherOr)
			resp.Topics = append(resp.Topics, row)
			continue
		}
		topic, err := c.findTopic(ask.Topic, ask.TopicID)
		if errors.Is(err, meta.ErrInvalidTopic) {
			err = engine.ErrUnknownTopic // a name that no topic may have is unknown here, as in Apache Kafka
		}
		if err == nil {
			name := topic.Name
			row.Topic, row.TopicID = &name, topic.ID
			err = c.server.engine.DeleteTopic(ctx, topic.ID)
		}
		row.ErrorCode, row.ErrorMessage = topicCode(err), errorMessage(err)
		resp.Topics = append(resp.Topics, row)
	}
	return resp
}
