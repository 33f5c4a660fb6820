package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"tidings.dev/internal/group"
)

// LeaveGroup (API key 13), versions 0–5. A request names one member up to version 2, and several from version 3 on.
//
// Deviations from Apache Kafka: the reason in version 5 (KIP-800) is ignored.

// leaveGroup removes members from a group. From version 3 on, the response has a code for each member.
func (c *conn) leaveGroup(ctx context.Context, r *kmsg.LeaveGroupRequest) kmsg.Response {
	ask := group.LeaveRequest{Group: r.Group}
	if r.Version < 3 {
		ask.Members = []group.LeavingMember{{Member: group.MemberID(r.MemberID)}}
	}
	for _, m := range r.Members {
		ask.Members = append(ask.Members, group.LeavingMember{Member: group.MemberID(m.MemberID), InstanceID: m.InstanceID})
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
