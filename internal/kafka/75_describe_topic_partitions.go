package kafka

import (
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"tidings.dev/internal/engine"
)

// DescribeTopicPartitions (API key 75), version 0 (KIP-966): topics in the order of their names, a page at a time.

// maxDescribedPartitions is the largest number of partitions in one response, as in Apache Kafka by default.
const maxDescribedPartitions = 2000

// describeTopicPartitions answers with the topics that the request names, or all, from its cursor on. If there are more
// partitions than the request allows, the response has a cursor for the next.
func (c *conn) describeTopicPartitions(r *kmsg.DescribeTopicPartitionsRequest) kmsg.Response {
	resp := r.ResponseKind().(*kmsg.DescribeTopicPartitionsResponse)
	names := make(map[string]bool, len(r.Topics))
	for _, t := range r.Topics {
		names[t.Topic] = true
	}
	if len(r.Topics) == 0 {
		for _, t := range c.server.engine.Topics() {
			names[t.Name] = true
		}
	}
	sorted := slices.Sorted(maps.Keys(names))
	left := max(min(r.ResponsePartitionLimit, maxDescribedPartitions), 1)
	for _, name := range sorted {
		first := int32(0)
		if r.Cursor != nil {
			if r.Cursor.Partition < 0 {
				return refusedTopicPartitions(r)
			}
			if name < r.Cursor.Topic {
				continue
			}
			if name == r.Cursor.Topic {
				first = r.Cursor.Partition
			}
		}
		row := kmsg.NewDescribeTopicPartitionsResponseTopic()
		row.Topic, row.AuthorizedOperations = kmsg.StringPtr(name), topicOperations
		topic, err := c.namedTopic(name)
		if err != nil {
			row.ErrorCode = topicCode(err)
			resp.Topics = append(resp.Topics, row)
			continue
		}
		if left == 0 {
			resp.NextCursor = &kmsg.DescribeTopicPartitionsResponseNextCursor{Topic: name, Partition: first}
			return resp
		}
		row.TopicID = topic.ID
		here := []int32{c.server.config.NodeID}
		for p := first; p < topic.Partitions; p++ {
			if left == 0 {
				resp.NextCursor = &kmsg.DescribeTopicPartitionsResponseNextCursor{Topic: name, Partition: p}
				break
			}
			left--
			row.Partitions = append(row.Partitions, kmsg.DescribeTopicPartitionsResponseTopicPartition{
				Partition: p, LeaderID: c.server.config.NodeID, Replicas: here, ISR: here,
				LeaderEpoch:            c.server.engine.LeaderEpoch(engine.Partition{Topic: topic.ID, Index: p}),
				EligibleLeaderReplicas: []int32{}, LastKnownELR: []int32{},
			})
		}
		if resp.Topics = append(resp.Topics, row); resp.NextCursor != nil {
			return resp
		}
	}
	return resp
}

// refusedTopicPartitions returns the response to a request whose cursor is at no partition.
func refusedTopicPartitions(r *kmsg.DescribeTopicPartitionsRequest) kmsg.Response {
	resp := r.ResponseKind().(*kmsg.DescribeTopicPartitionsResponse)
	for _, t := range r.Topics {
		row := kmsg.NewDescribeTopicPartitionsResponseTopic()
		row.ErrorCode, row.Topic, row.AuthorizedOperations = invalidRequest, kmsg.StringPtr(t.Topic), operationsNotAsked
		resp.Topics = append(resp.Topics, row)
	}
	return resp
}
