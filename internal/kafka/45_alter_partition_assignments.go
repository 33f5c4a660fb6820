package kafka

import "github.com/twmb/franz-go/pkg/kmsg"

// AlterPartitionReassignments (API key 45), versions 0–1. Every partition is on this broker and can be nowhere else.

// alterPartitionAssignments answers, for each partition, that it is where it shall be, that it cannot be there, or that
// there is nothing to cancel.
func (c *conn) alterPartitionAssignments(r *kmsg.AlterPartitionAssignmentsRequest) kmsg.Response {
	resp := r.ResponseKind().(*kmsg.AlterPartitionAssignmentsResponse)
	resp.AllowReplicationFactorChange = r.AllowReplicationFactorChange
	for _, ask := range r.Topics {
		row := kmsg.AlterPartitionAssignmentsResponseTopic{Topic: ask.Topic}
		t, known := c.server.engine.Topic(ask.Topic)
		for _, p := range ask.Partitions {
			code, why := none, ""
			switch {
			case !known || !within(t, p.Partition):
				code, why = unknownTopicOrPartition, "no such topic or partition"
			case p.Replicas == nil:
				code, why = noReassignmentInProgress, "the partition is not being reassigned"
			case !c.onlyHere(p.Replicas):
				code, why = invalidReplicaAssignment, "there is one broker"
			}
			answer := kmsg.AlterPartitionAssignmentsResponseTopicPartition{Partition: p.Partition, ErrorCode: code}
			if code != none {
				answer.ErrorMessage = &why
			}
			row.Partitions = append(row.Partitions, answer)
		}
		resp.Topics = append(resp.Topics, row)
	}
	return resp
}
