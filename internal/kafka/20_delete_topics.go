package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// DeleteTopics (API key 20), versions 1–6. Topics are named by name, and from version 6 on also by id.
//
// Deviations from Apache Kafka: the timeout is not used.

// deleteTopics deletes topics, with their records and all state that refers to them (docs/kafka-traps.md, trap 18). It
// blocks until the deletion is durable.
func (c *conn) deleteTopics(ctx context.Context, r *kmsg.DeleteTopicsRequest) kmsg.Response {
	resp := r.ResponseKind().(*kmsg.DeleteTopicsResponse)
	asks := r.Topics
	for i := range r.TopicNames {
		asks = append(asks, kmsg.DeleteTopicsRequestTopic{Topic: &r.TopicNames[i]})
	}
	for _, ask := range asks {
		row := kmsg.NewDeleteTopicsResponseTopic()
		row.Topic, row.TopicID = ask.Topic, ask.TopicID
		topic, err := c.findTopic(ask.Topic, ask.TopicID)
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
