package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"tidings.dev/internal/group"
)

// LeaveGroup, versions 0–5: one member up to version 2, several from 3. The reason (5+) is not kept.

func (c *conn) leaveGroup(ctx context.Context, r *kmsg.LeaveGroupRequest) kmsg.Response {
	ask := group.LeaveRequest{Group: r.Group}
	if r.Version < 3 {
		ask.Members = []group.Leaver{{Member: group.MemberID(r.MemberID)}}
	}
	for _, m := range r.Members {
		ask.Members = append(ask.Members, group.Leaver{Member: group.MemberID(m.MemberID), InstanceID: m.InstanceID})
	}
	got := c.server.engine.Leave(ctx, ask)

	resp := r.ResponseKind().(*kmsg.LeaveGroupResponse)
	resp.ErrorCode = coordinatorCode(got.Err)
	if got.Err != nil {
		return resp
	}
	if r.Version < 3 {
		if len(got.Members) > 0 {
			resp.ErrorCode = coordinatorCode(got.Members[0])
		}
		return resp
	}
	for i, m := range r.Members {
		row := kmsg.LeaveGroupResponseMember{MemberID: m.MemberID, InstanceID: m.InstanceID}
		if i < len(got.Members) {
			row.ErrorCode = coordinatorCode(got.Members[i])
		}
		resp.Members = append(resp.Members, row)
	}
	return resp
}
