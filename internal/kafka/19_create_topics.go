package kafka

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"tidings.dev/internal/meta"
)

// CreateTopics (API key 19), versions 2–7.
//
// Deviations from Apache Kafka: there is one broker, so that the replication factor must be 1, or -1 for the default,
// and a manual assignment must name this broker for each partition; there are no quotas; only the configurations that
// DescribeConfigs lists are known; the timeout is not used.

// createTopics creates topics and blocks until they are durable. If r.ValidateOnly is true, it only checks whether they
// could be created. A topic that the request names more than once is refused.
func (c *conn) createTopics(ctx context.Context, r *kmsg.CreateTopicsRequest) kmsg.Response {
	resp := r.ResponseKind().(*kmsg.CreateTopicsResponse)
	times := make(map[string]int, len(r.Topics))
	for i := range r.Topics {
		times[r.Topics[i].Topic]++
	}
	for i := range r.Topics {
		ask := &r.Topics[i]
		row := kmsg.NewCreateTopicsResponseTopic()
		row.Topic = ask.Topic
		row.NumPartitions, row.ReplicationFactor = -1, -1
		switch n := times[ask.Topic]; {
		case n == 0:
			continue // answered already
		case n > 1:
			times[ask.Topic] = 0
			why := "the request names this topic more than once"
			row.ErrorCode, row.ErrorMessage = invalidRequest, &why
		default:
			topic, err := c.createTopic(ctx, ask, r.ValidateOnly)
			row.ErrorCode, row.ErrorMessage = topicCode(err), errorMessage(err)
			if err == nil {
				c.describeCreated(&row, topic)
			}
		}
		resp.Topics = append(resp.Topics, row)
	}
	return resp
}

// errCountedAssignment is the error of a topic with an assignment beside a number of partitions or replicas.
var errCountedAssignment = errors.New("kafka: with an assignment, partitions and replication factor must be -1")

// createTopic creates one topic, or checks whether it could if validateOnly is true. Errors: errAssignment, errCountedAssignment,
// meta.ErrInvalidPartitions, meta.ErrInvalidReplication, meta.ErrInvalidConfig, and those of engine.CreateTopic.
func (c *conn) createTopic(ctx context.Context, ask *kmsg.CreateTopicsRequestTopic, validateOnly bool) (meta.Topic, error) {
	spec := meta.TopicSpec{Name: ask.Topic, Partitions: ask.NumPartitions}
	switch {
	case len(ask.ReplicaAssignment) > 0:
		if ask.NumPartitions != -1 || ask.ReplicationFactor != -1 {
			return meta.Topic{}, errCountedAssignment
		}
		if err := c.checkAssignment(ask.ReplicaAssignment); err != nil {
			return meta.Topic{}, err
		}
		spec.Partitions = int32(len(ask.ReplicaAssignment))
	case ask.NumPartitions == 0 || ask.NumPartitions < -1:
		return meta.Topic{}, fmt.Errorf("%w: %d; a positive number, or -1 for the default", meta.ErrInvalidPartitions, ask.NumPartitions)
	case ask.ReplicationFactor != 1 && ask.ReplicationFactor != -1:
		return meta.Topic{}, fmt.Errorf("%w: %d; there is one broker", meta.ErrInvalidReplication, ask.ReplicationFactor)
	}
	if len(ask.Configs) > 0 {
		spec.Configs = make(map[string]string, len(ask.Configs))
	}
	for _, config := range ask.Configs {
		if config.Value == nil {
			return meta.Topic{}, fmt.Errorf("%w: %s has no value", meta.ErrInvalidConfig, config.Name)
		}
		spec.Configs[config.Name] = *config.Value
	}
	return c.server.engine.CreateTopic(ctx, spec, validateOnly)
}

// checkAssignment returns nil if the rows assign each of the partitions 0 to len(rows)-1 once and to this broker alone,
// else an error that matches errAssignment.
func (c *conn) checkAssignment(rows []kmsg.CreateTopicsRequestTopicReplicaAssignment) error {
	seen := make(map[int32]bool, len(rows))
	for _, row := range rows {
		if row.Partition < 0 || int(row.Partition) >= len(rows) || seen[row.Partition] {
			return fmt.Errorf("%w: partitions are not 0 to %d", errAssignment, len(rows)-1)
		}
		seen[row.Partition] = true
		if !c.onlyHere(row.Replicas) {
			return fmt.Errorf("%w: partition %d must be on broker %d alone", errAssignment, row.Partition, c.server.config.NodeID)
		}
	}
	return nil
}

// onlyHere reports whether replicas lists this broker and no other.
func (c *conn) onlyHere(replicas []int32) bool {
	return len(replicas) == 1 && replicas[0] == c.server.config.NodeID
}

// describeCreated sets the fields of a new topic's row that version 5 and later have: partitions, replication and
// configurations; and its id.
func (c *conn) describeCreated(row *kmsg.CreateTopicsResponseTopic, t meta.Topic) {
	row.TopicID, row.NumPartitions, row.ReplicationFactor = t.ID, t.Partitions, 1
	for _, entry := range meta.Describe(t, c.server.config.TopicDefaults) {
		row.Configs = append(row.Configs, kmsg.CreateTopicsResponseTopicConfig{
			Name: entry.Name, Value: configValue(entry), ReadOnly: entry.ReadOnly,
			Source: int8(entry.Source), IsSensitive: entry.Sensitive,
		})
	}
}
