package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// DeleteGroups (API key 42), versions 0–2.
//
// Deviations from Apache Kafka: a group that the request names twice has one row in the response.

// deleteGroups deletes groups that have no members, with their committed offsets. It blocks until the deletion is
// durable.
func (c *conn) deleteGroups(ctx context.Context, r *kmsg.DeleteGroupsRequest) kmsg.Response {
	resp := r.ResponseKind().(*kmsg.DeleteGroupsResponse)
	seen := make(map[string]bool, len(r.Groups))
	for _, id := range r.Groups {
		if seen[id] {
			continue
		}
		seen[id] = true
		row := kmsg.NewDeleteGroupsResponseGroup()
		row.Group, row.ErrorCode = id, coordinatorCode(c.server.engine.DeleteGroup(ctx, id))
		resp.Groups = append(resp.Groups, row)
	}
	return resp
}
