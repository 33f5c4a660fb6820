package kafka

import "github.com/twmb/franz-go/pkg/kmsg"

// ListPartitionReassignments (API key 46), version 0. No partition is ever being reassigned.

func (c *conn) listPartitionReassignments(r *kmsg.ListPartitionReassignmentsRequest) kmsg.Response {
	return r.ResponseKind()
}
