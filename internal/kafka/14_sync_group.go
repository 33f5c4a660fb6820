package kafka

import (
	"bytes"
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"tidings.dev/internal/group"
)

// SyncGroup (API key 14), versions 0–5. No deviations from Apache Kafka are known.

// syncGroup answers with the assignment of the member that sent the request. It blocks until the leader of the group
// has sent all assignments and they are durable, or ctx is done. It releases the buffer of f.
func (c *conn) syncGroup(ctx context.Context, r *kmsg.SyncGroupRequest, f *frame) kmsg.Response {
	ask := group.SyncRequest{
		Group: r.Group, Member: group.MemberID(r.MemberID), InstanceID: r.InstanceID,
		Generation: group.Generation(r.Generation), ProtocolType: r.ProtocolType, Protocol: r.Protocol,
	}
	if len(r.GroupAssignment) > 0 {
		ask.Assignments = make(map[group.MemberID][]byte, len(r.GroupAssignment))
		for _, a := range r.GroupAssignment {
			// a.MemberAssignment aliases the frame, which is recycled after this request, and the coordinator keeps the
			// assignment for longer.
			ask.Assignments[group.MemberID(a.MemberID)] = bytes.Clone(a.MemberAssignment)
		}
	}
	resp := r.ResponseKind().(*kmsg.SyncGroupResponse)
	if r.Version >= 5 && (r.ProtocolType == nil || r.Protocol == nil) { // the fields may be null, but must not be (KIP-559)
		resp.ErrorCode = inconsistentGroupProtocol
		return resp
	}
	r.GroupAssignment = nil // they alias the buffer
	c.releaseBuffer(f)
	got := c.server.engine.Sync(ctx, ask)
	resp.ErrorCode = coordinatorCode(got.Err)
	if got.Err == nil {
		resp.ProtocolType, resp.Protocol = &got.ProtocolType, &got.Protocol
		resp.MemberAssignment = got.Assignment
	}
	return resp
}
