package kafka

import (
	"bytes"
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"tidings.dev/internal/group"
)

// JoinGroup, versions 0–9. It blocks until the group has formed a generation.

func (c *conn) joinGroup(ctx context.Context, r *kmsg.JoinGroupRequest, clientID string) kmsg.Response {
	ask := group.JoinRequest{
		Group: r.Group, Member: group.MemberID(r.MemberID), InstanceID: r.InstanceID,
		ClientID: clientID, ClientHost: c.clientHost, ProtocolType: r.ProtocolType,
		SessionTimeout:     milliseconds(r.SessionTimeoutMillis),
		RebalanceTimeout:   milliseconds(r.RebalanceTimeoutMillis),
		RequireKnownMember: r.Version >= 4,
		CanSkipAssignment:  r.Version >= 9,
	}
	if r.Version < 1 {
		ask.RebalanceTimeout = ask.SessionTimeout
	}
	for _, p := range r.Protocols {
		// The frame goes back to its pool; the coordinator keeps the metadata.
		ask.Protocols = append(ask.Protocols, group.Protocol{Name: p.Name, Metadata: bytes.Clone(p.Metadata)})
	}
	got := c.server.engine.Join(ctx, ask)

	resp := r.ResponseKind().(*kmsg.JoinGroupResponse)
	resp.MemberID = string(got.Member)
	if got.Err != nil {
		resp.ErrorCode, resp.Generation = coordinatorCode(got.Err), -1
		if resp.MemberID == "" {
			resp.MemberID = r.MemberID
		}
		if r.Version < 7 {
			resp.Protocol = new(string)
		}
		return resp
	}
	resp.Generation = int32(got.Generation)
	resp.ProtocolType, resp.Protocol = &got.ProtocolType, &got.Protocol
	resp.LeaderID = string(got.Leader)
	resp.SkipAssignment = got.SkipAssignment
	for _, m := range got.Members {
		resp.Members = append(resp.Members, kmsg.JoinGroupResponseMember{
			MemberID: string(m.Member), InstanceID: m.InstanceID, ProtocolMetadata: m.Metadata,
		})
	}
	return resp
}

func milliseconds(n int32) time.Duration { return time.Duration(n) * time.Millisecond }
