package kafka

import (
	"context"
	"errors"

	"github.com/twmb/franz-go/pkg/kmsg"

	"tidings.dev/internal/engine"
	"tidings.dev/internal/meta"
)

// Metadata (API key 3), versions 0–13. There is one broker, which leads every partition. Its address in the response is
// the one that the client dialled, unless another is configured (docs/kafka-traps.md, trap 21).
//
// Deviations from Apache Kafka: a topic that this request creates automatically is in the same response; names and ids may
// be mixed; no topic is internal; there is no authorization, so that every operation is allowed.

// Sets of operations that a client may perform on a resource: bit n stands for the AclOperation with code n (KIP-430).
// operationsNotAsked is sent if the client did not ask for them.
const (
	topicOperations    = 1<<3 | 1<<4 | 1<<5 | 1<<6 | 1<<7 | 1<<8 | 1<<10 | 1<<11
	clusterOperations  = 1<<5 | 1<<7 | 1<<8 | 1<<9 | 1<<10 | 1<<11 | 1<<12
	groupOperations    = 1<<3 | 1<<6 | 1<<8 | 1<<10 | 1<<11
	operationsNotAsked = -1 << 31
)

// maxAutoCreated is the largest number of topics that one Metadata request creates. For further topics the client is
// told that they are unknown; its next request creates them.
const maxAutoCreated = 64

// metadata answers with the broker and the topics that the request names, or all topics. Where the request and the
// configuration allow it (docs/kafka-traps.md, trap 29), metadata creates the topics that do not exist, and blocks
// until they are durable.
func (c *conn) metadata(ctx context.Context, r *kmsg.MetadataRequest) kmsg.Response {
	resp := r.ResponseKind().(*kmsg.MetadataResponse)
	clusterID := c.server.engine.ClusterID()
	resp.ClusterID = &clusterID
	resp.ControllerID = c.server.config.NodeID
	resp.AuthorizedOperations = operations(r.IncludeClusterAuthorizedOperations, clusterOperations)
	broker := kmsg.NewMetadataResponseBroker()
	broker.NodeID, broker.Host, broker.Port = c.server.config.NodeID, c.host, c.port
	resp.Brokers = []kmsg.MetadataResponseBroker{broker}

	describe := func(t meta.Topic) {
		row := c.topicMetadata(t)
		row.AuthorizedOperations = operations(r.IncludeTopicAuthorizedOperations, topicOperations)
		resp.Topics = append(resp.Topics, row)
	}
	if r.Topics == nil || r.Version == 0 && len(r.Topics) == 0 { // all
		for _, t := range c.server.engine.Topics() {
			describe(t)
		}
		return resp
	}
	if r.Version < metadataByID && namesTopicsByID(r) {
		return refusedMetadata(r)
	}
	create := r.Version < 4 || r.AllowAutoTopicCreation
	created := 0
	seen := make(map[string]bool, len(r.Topics))
	for i := range r.Topics {
		ask := &r.Topics[i]
		// A topic that the request names twice has one row, as in Apache Kafka, so that the size of the response is
		// bounded by the number of topics.
		name := ask.Topic
		if ask.TopicID != (meta.TopicID{}) {
			name = nil // the id wins over any name (docs/kafka-traps.md, trap 24)
		}
		key := string(ask.TopicID[:])
		if name != nil {
			key = *name
		}
		if seen[key] {
			continue
		}
		seen[key] = true
		t, err := c.findTopic(name, ask.TopicID)
		if errors.Is(err, engine.ErrUnknownTopic) && create && created < maxAutoCreated {
			if t, err = c.autoCreate(ctx, *name); err == nil {
				created++
			}
		}
		if err == nil {
			describe(t)
			continue
		}
		row := kmsg.NewMetadataResponseTopic()
		row.ErrorCode, row.Topic, row.TopicID = topicCode(err), name, ask.TopicID
		row.AuthorizedOperations = operations(r.IncludeTopicAuthorizedOperations, topicOperations)
		resp.Topics = append(resp.Topics, row)
	}
	return resp
}

// autoCreate creates a topic for a Metadata request. It blocks until the topic is durable, and has no turn meanwhile.
func (c *conn) autoCreate(ctx context.Context, name string) (meta.Topic, error) {
	c.server.giveTurn(c.turn)
	defer func() { c.turn = <-c.server.turns }()
	return c.server.engine.AutoCreate(ctx, name)
}

// metadataByID is the first version in which topics can be asked for by id. Earlier ones have the field, too.
const metadataByID = 12

// namesTopicsByID reports whether a request has a topic with an id, or without a name.
func namesTopicsByID(r *kmsg.MetadataRequest) bool {
	for i := range r.Topics {
		if r.Topics[i].Topic == nil || r.Topics[i].TopicID != (meta.TopicID{}) {
			return true
		}
	}
	return false
}

// refusedMetadata returns the response to a request that is refused as a whole: it names no broker.
func refusedMetadata(r *kmsg.MetadataRequest) kmsg.Response {
	resp := r.ResponseKind().(*kmsg.MetadataResponse)
	for _, ask := range r.Topics {
		row := kmsg.NewMetadataResponseTopic()
		row.ErrorCode, row.Topic, row.TopicID = invalidRequest, ask.Topic, ask.TopicID
		if row.Topic == nil {
			row.Topic = new(string) // the versions that are refused have no null in a response
		}
		resp.Topics = append(resp.Topics, row)
	}
	return resp
}

// findTopic returns the topic with this name or, if name is nil, with this id. Errors: engine.ErrUnknownTopic,
// meta.ErrInvalidTopic for a name that no topic may have, errUnknownID.
func (c *conn) findTopic(name *string, id meta.TopicID) (meta.Topic, error) {
	if name != nil {
		return c.namedTopic(*name)
	}
	if t, ok := c.server.engine.TopicByID(id); ok {
		return t, nil
	}
	return meta.Topic{}, errUnknownID
}

// namedTopic returns the topic with this name. Errors: engine.ErrUnknownTopic, and meta.ErrInvalidTopic for a name that no
// topic may have.
func (c *conn) namedTopic(name string) (meta.Topic, error) {
	if t, ok := c.server.engine.Topic(name); ok {
		return t, nil
	}
	if err := meta.CheckName(name); err != nil {
		return meta.Topic{}, err
	}
	return meta.Topic{}, engine.ErrUnknownTopic
}

// topicCode returns Kafka's code for an error of the APIs that administer topics.
func topicCode(err error) Code {
	switch {
	case errors.Is(err, errUnknownID):
		return unknownTopicID
	case errors.Is(err, errAssignment):
		return invalidReplicaAssignment
	case errors.Is(err, errCountedAssignment), errors.Is(err, errEitherOr):
		return invalidRequest
	}
	return dataCode(err)
}

// topicMetadata returns a topic's row of the response. This broker is the leader and the only replica of each
// partition.
func (c *conn) topicMetadata(t meta.Topic) kmsg.MetadataResponseTopic {
	row := kmsg.NewMetadataResponseTopic()
	row.Topic, row.TopicID = &t.Name, t.ID
	row.Partitions = make([]kmsg.MetadataResponseTopicPartition, t.Partitions)
	replicas := []int32{c.server.config.NodeID}
	epochs := c.server.engine.LeaderEpochs(t.ID)
	for i := range row.Partitions {
		p := &row.Partitions[i]
		p.Default()
		p.Partition, p.Leader, p.Replicas, p.ISR = int32(i), c.server.config.NodeID, replicas, replicas
		p.LeaderEpoch = -1 // the topic was deleted meanwhile
		if i < len(epochs) {
			p.LeaderEpoch = epochs[i]
		}
	}
	return row
}

// operations returns bits if the client has asked for the operations that it may perform, else operationsNotAsked.
func operations(asked bool, bits int32) int32 {
	if asked {
		return bits
	}
	return operationsNotAsked
}
