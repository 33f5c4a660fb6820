package kafka

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"tidings.dev/internal/engine"
	"tidings.dev/internal/meta"
)

// CreatePartitions (API key 37), versions 0–3. The response has a row for each topic (docs/kafka-traps.md, trap 17).
//
// Deviations from Apache Kafka: a manual assignment must name this broker for each new partition; there are no quotas; the
// timeout is not used.

// errAssignment is the error of CreatePartitions and CreateTopics for a manual replica assignment that is incomplete or
// names another broker.
var errAssignment = errors.New("kafka: invalid replica assignment")

// createPartitions adds partitions to topics, and blocks until they are durable. If r.ValidateOnly is true, it only
// checks whether they could be added.
func (c *conn) createPartitions(ctx context.Context, r *kmsg.CreatePartitionsRequest) kmsg.Response {
	resp := r.ResponseKind().(*kmsg.CreatePartitionsResponse)
	times := make(map[string]int, len(r.Topics))
	for i := range r.Topics {
		times[r.Topics[i].Topic]++
	}
	for i := range r.Topics {
		ask := &r.Topics[i]
		n := times[ask.Topic]
		if n == 0 {
			continue // answered already
		}
		times[ask.Topic] = 0
		err := errEitherOr
		if n == 1 {
			err = c.createTopicPartitions(ctx, ask, r.ValidateOnly)
		}
		row := kmsg.NewCreatePartitionsResponseTopic()
		row.Topic, row.ErrorCode, row.ErrorMessage = ask.Topic, topicCode(err), errorMessage(err)
		resp.Topics = append(resp.Topics, row)
	}
	return resp
}

// createTopicPartitions adds partitions to one topic, up to the count in ask, or only checks whether it could if
// validateOnly is true. Errors: errAssignment, engine.ErrUnknownTopic, meta.ErrInvalidPartitions, and those of
// engine.CreatePartitions.
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
