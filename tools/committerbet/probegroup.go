//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// member is a member of a group that exists only by raw requests.
type member struct {
	id         string
	generation int32
}

// twoMembers creates a group of two members. The first is assigned nothing, and the second partitions 0 and 1.
func (p *prober) twoMembers(ctx context.Context) (one, two member, err error) {
	one, two, err = p.twoJoined(ctx)
	if err != nil {
		return one, two, err
	}
	// The first member has joined first and is the leader.
	var all kmsg.ConsumerMemberAssignment
	all.Topics = []kmsg.ConsumerMemberAssignmentTopic{{Topic: p.names.source, Partitions: []int32{0, 1}}}
	assignments := []kmsg.SyncGroupRequestGroupAssignment{
		{MemberID: one.id, MemberAssignment: (&kmsg.ConsumerMemberAssignment{}).AppendTo(nil)},
		{MemberID: two.id, MemberAssignment: all.AppendTo(nil)},
	}
	errs := make(chan error, 2)
	go func() { errs <- p.sync(ctx, p.client, two, nil) }()
	go func() { errs <- p.sync(ctx, p.other, one, assignments) }()
	return one, two, errors.Join(<-errs, <-errs)
}

// twoJoined makes two members join one generation. The first one is the leader.
func (p *prober) twoJoined(ctx context.Context) (one, two member, err error) {
	if one, err = p.join(ctx, p.other, ""); err != nil {
		return one, two, err
	}
	type joined struct {
		member
		err error
	}
	answers := make(chan joined, 1)
	go func() {
		m, err := p.join(ctx, p.client, "")
		answers <- joined{m, err}
	}()
	time.Sleep(500 * time.Millisecond) // the second JoinGroup is answered only after the first member joins again
	if one, err = p.join(ctx, p.other, one.id); err != nil {
		return one, two, err
	}
	second := <-answers
	if second.err == nil && second.generation != one.generation {
		second.err = fmt.Errorf("members joined in generations %d and %d", one.generation, second.generation)
	}
	return one, second.member, second.err
}

func (p *prober) join(ctx context.Context, client *kgo.Client, id string) (member, error) {
	req := kmsg.NewPtrJoinGroupRequest()
	req.Group, req.MemberID, req.ProtocolType = p.names.group, id, "consumer"
	req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = 30_000, 30_000
	var m kmsg.ConsumerMemberMetadata
	m.Topics = []string{p.names.source}
	protocol := kmsg.NewJoinGroupRequestProtocol()
	protocol.Name, protocol.Metadata = "range", m.AppendTo(nil)
	req.Protocols = append(req.Protocols, protocol)
	resp, err := req.RequestWith(ctx, client)
	if err != nil {
		return member{}, err
	}
	err = errorOf(resp.ErrorCode)
	if errors.Is(err, kerr.MemberIDRequired) {
		return p.join(ctx, client, resp.MemberID)
	}
	if err != nil {
		err = fmt.Errorf("join as %q: %w", id, err)
	}
	return member{resp.MemberID, resp.Generation}, err
}

func (p *prober) sync(ctx context.Context, client *kgo.Client, m member, assignments []kmsg.SyncGroupRequestGroupAssignment) error {
	req := kmsg.NewPtrSyncGroupRequest()
	req.Group, req.MemberID, req.Generation, req.GroupAssignment = p.names.group, m.id, m.generation, assignments
	kind, protocol := "consumer", "range"
	req.ProtocolType, req.Protocol = &kind, &protocol
	resp, err := req.RequestWith(ctx, client)
	if err != nil {
		return err
	}
	if err := errorOf(resp.ErrorCode); err != nil {
		return fmt.Errorf("sync as %q in %d: %w", m.id, m.generation, err)
	}
	return nil
}

func (p *prober) leave(ctx context.Context, m member) error {
	req := kmsg.NewPtrLeaveGroupRequest()
	req.Group, req.MemberID = p.names.group, m.id
	row := kmsg.NewLeaveGroupRequestMember()
	row.MemberID = m.id
	req.Members = append(req.Members, row)
	resp, err := req.RequestWith(ctx, p.client)
	if err != nil {
		return err
	}
	return errorOf(resp.ErrorCode)
}

// consumerGroup probes the same in a group of KIP-848, in which each member has an epoch of its own.
func (p *prober) consumerGroup(ctx context.Context) error {
	fmt.Println("  consumer group (KIP-848): member one has subscribed to another topic, and owns nothing of the source")
	one, err := p.heartbeat(ctx, "one", p.names.marks)
	if err != nil {
		return err
	}
	if _, err := p.heartbeat(ctx, "two", p.names.source); err != nil {
		return err
	}
	found("OffsetCommit by the member that owns nothing, in its current epoch", p.plain(ctx, one))
	found("TxnOffsetCommit by the member that owns nothing, in its current epoch", p.inTransaction(ctx, "nothing", one))
	old := one
	old.generation--
	found("TxnOffsetCommit of the epoch before", p.inTransaction(ctx, "before", old))
	return nil
}

// heartbeat joins a group of KIP-848 with a subscription to a topic.
func (p *prober) heartbeat(ctx context.Context, id, topic string) (member, error) {
	req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	req.Group, req.MemberID, req.MemberEpoch, req.RebalanceTimeoutMillis = p.names.group, id, 0, 30_000
	req.SubscribedTopicNames = []string{topic}
	req.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	resp, err := req.RequestWith(ctx, p.client)
	if err != nil {
		return member{}, err
	}
	if err := errorOf(resp.ErrorCode); err != nil {
		return member{}, err
	}
	m := member{id, resp.MemberEpoch}
	if resp.MemberID != nil {
		m.id = *resp.MemberID
	}
	return m, nil
}
