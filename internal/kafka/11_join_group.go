package kafka

import (
	"bytes"
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"tidings.dev/internal/group"
)

// JoinGroup (API key 11), versions 0–9.
//
// Deviations from Apache Kafka: a new group forms its first generation at once, as with
// group.initial.rebalance.delay.ms=0; the reason in version 8 and later (KIP-800) is ignored.

// joinGroup adds the client to a group. It blocks until the group has formed a generation, or ctx is done. It releases the
// buffer of f, since it may block for minutes.
func (c *conn) joinGroup(ctx context.Context, r *kmsg.JoinGroupRequest, f *frame) kmsg.Response {
	ask := group.JoinRequest{
		Group: r.Group, Member: group.MemberID(r.MemberID), InstanceID: r.InstanceID,
		ClientID: string(f.clientID), ClientHost: c.clientHost, ProtocolType: r.ProtocolType,
		SessionTimeout:     milliseconds(r.SessionTimeoutMillis),
		RebalanceTimeout:   milliseconds(r.RebalanceTimeoutMillis),
		RequireKnownMember: r.Version >= 4,
		CanSkipAssignment:  r.Version >= 9,
	}
	if r.Version < 1 {
		ask.RebalanceTimeout = ask.SessionTimeout
	}
	for _, p := range r.Protocols {
		// p.Metadata aliases the frame, which is recycled after this request, and the coordinator keeps the metadata
		// for longer.
		ask.Protocols = append(ask.Protocols, group.Protocol{Name: p.Name, Metadata: bytes.Clone(p.Metadata)})
	}
	r.Protocols = nil // they alias the buffer
	c.releaseBuffer(f)
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

// milliseconds returns n milliseconds as a duration.
func milliseconds(n int32) time.Duration { return time.Duration(n) * time.Millisecond }
