package kafka

import "github.com/twmb/franz-go/pkg/kmsg"

// DescribeQuorum (API key 55), versions 0–2. This broker is the whole quorum.
//
// Deviations from Apache Kafka: the metadata is in the journal and no topic, so that its offsets are 0.

// metadataTopic is the name under which Apache Kafka keeps its metadata.
const metadataTopic = "__cluster_metadata"

// describeQuorum answers that this broker leads the quorum and is its only voter.
func (c *conn) describeQuorum(r *kmsg.DescribeQuorumRequest) kmsg.Response {
	resp := r.ResponseKind().(*kmsg.DescribeQuorumResponse)
	id := c.server.config.NodeID
	for _, t := range r.Topics {
		row := kmsg.DescribeQuorumResponseTopic{Topic: t.Topic}
		for _, p := range t.Partitions {
			if t.Topic != metadataTopic || p.Partition != 0 {
				row.Partitions = append(row.Partitions, kmsg.DescribeQuorumResponseTopicPartition{Partition: p.Partition, ErrorCode: unknownTopicOrPartition})
				continue
			}
			voter := kmsg.NewDescribeQuorumResponseTopicPartitionReplicaState()
			voter.ReplicaID = id
			row.Partitions = append(row.Partitions, kmsg.DescribeQuorumResponseTopicPartition{
				LeaderID: id, LeaderEpoch: 1, CurrentVoters: []kmsg.DescribeQuorumResponseTopicPartitionReplicaState{voter},
			})
		}
		resp.Topics = append(resp.Topics, row)
	}
	if len(r.Topics) > 0 {
		node := kmsg.NewDescribeQuorumResponseNode()
		node.NodeID = id
		listener := kmsg.NewDescribeQuorumResponseNodeListener()
		listener.Name, listener.Host, listener.Port = "CONTROLLER", c.host, uint16(c.port)
		node.Listeners = []kmsg.DescribeQuorumResponseNodeListener{listener}
		if hasMetadata(resp) {
			resp.Nodes = []kmsg.DescribeQuorumResponseNode{node}
		}
	}
	return resp
}

// hasMetadata reports whether a response has a row about the metadata.
func hasMetadata(resp *kmsg.DescribeQuorumResponse) bool {
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			if p.ErrorCode == none {
				return true
			}
		}
	}
	return false
}
