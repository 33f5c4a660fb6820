package kafka

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"tidings.dev/internal/engine"
	"tidings.dev/internal/meta"
)

// CreatePartitions, versions 0–3. Each topic gets its row in the answer (trap 17).

var errAssignment = errors.New("kafka: invalid replica assignment")

func (c *conn) createPartitions(ctx context.Context, r *kmsg.CreatePartitionsRequest) kmsg.Response {
	resp := r.ResponseKind().(*kmsg.CreatePartitionsResponse)
	seen := make(map[string]bool, len(r.Topics))
	for i := range r.Topics {
		ask := &r.Topics[i]
		if seen[ask.Topic] {
			continue
		}
		seen[ask.Topic] = true
		err := c.createTopicPartitions(ctx, ask, r.ValidateOnly)
		row := kmsg.NewCreatePartitionsResponseTopic()
		row.Topic, row.ErrorCode, row.ErrorMessage = ask.Topic, topicCode(err), message(err)
		resp.Topics = append(resp.Topics, row)
	}
	return resp
}

func (c *conn) createTopicPartitions(ctx context.Context, ask *kmsg.CreatePartitionsRequestTopic, validateOnly bool) error {
	topic, ok := c.server.engine.Topic(ask.Topic)
	if !ok {
		return engine.ErrUnknownTopic
	}
	if ask.Count <= topic.Partitions {
		return fmt.Errorf("%w: %d; the topic has %d, and can only grow", meta.ErrInvalidPartitions, ask.Count, topic.Partitions)
	}
	if ask.Assignment != nil && int32(len(ask.Assignment)) != ask.Count-topic.Partitions {
		return fmt.Errorf("%w: it must name each new partition", errAssignment)
	}
	for _, row := range ask.Assignment {
		if !c.onlyHere(row.Replicas) {
			return fmt.Errorf("%w: each partition must be on broker %d alone", errAssignment, c.server.config.NodeID)
		}
	}
	return c.server.engine.CreatePartitions(ctx, ask.Topic, ask.Count, validateOnly)
}
