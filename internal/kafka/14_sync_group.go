package kafka

import (
	"bytes"
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"tidings.dev/internal/group"
)

// SyncGroup, versions 0–5. It blocks until the leader has brought the assignment and it is durable.

func (c *conn) syncGroup(ctx context.Context, r *kmsg.SyncGroupRequest) kmsg.Response {
	ask := group.SyncRequest{
		Group: r.Group, Member: group.MemberID(r.MemberID), InstanceID: r.InstanceID,
		Generation: group.Generation(r.Generation), ProtocolType: r.ProtocolType, Protocol: r.Protocol,
	}
	if len(r.GroupAssignment) > 0 {
		ask.Assignments = make(map[group.MemberID][]byte, len(r.GroupAssignment))
		for _, a := range r.GroupAssignment {
			// The frame goes back to its pool; the coordinator keeps the assignment.
			ask.Assignments[group.MemberID(a.MemberID)] = bytes.Clone(a.MemberAssignment)
		}
	}
	got := c.server.engine.Sync(ctx, ask)

	resp := r.ResponseKind().(*kmsg.SyncGroupResponse)
	resp.ErrorCode = coordinatorCode(got.Err)
	if got.Err == nil {
		resp.ProtocolType, resp.Protocol = &got.ProtocolType, &got.Protocol
		resp.MemberAssignment = got.Assignment
	}
	return resp
}
