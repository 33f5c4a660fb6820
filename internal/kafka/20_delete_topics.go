package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// DeleteTopics, versions 1–6: by name, from version 6 also by id.

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
		row.ErrorCode, row.ErrorMessage = topicCode(err), message(err)
		resp.Topics = append(resp.Topics, row)
	}
	return resp
}
