package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"tidings.dev/internal/group"
)

// Heartbeat (API key 12), versions 0–4. No deviations from Apache Kafka are known.

// heartbeat extends a member's session. The code REBALANCE_IN_PROGRESS tells the client to join the group again.
func (c *conn) heartbeat(ctx context.Context, r *kmsg.HeartbeatRequest) kmsg.Response {
	resp := r.ResponseKind().(*kmsg.HeartbeatResponse)
	resp.ErrorCode = coordinatorCode(c.server.engine.Heartbeat(ctx, group.HeartbeatRequest{
		Group: r.Group, Member: group.MemberID(r.MemberID), InstanceID: r.InstanceID,
		Generation: group.Generation(r.Generation),
	}))
	return resp
}
