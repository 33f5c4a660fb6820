package reactor

import (
	"context"
	"errors"
	"maps"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	sessionTimeout   = 10 * time.Second // time after which a dead instance's partitions go to others
	heartbeatEvery   = time.Second      // an instance learns within this time that another has come or gone
	rebalanceTimeout = time.Minute
	maxFetchBytes    = 8 << 20
	maxFetchWait     = 500 * time.Millisecond // a resumed partition is not fetched before the running fetch has ended
)

// join makes this instance a member of the reaction's group. kgo joins in the background, and makes its callbacks from
// then on.
func (r *Reactor) join(ctx context.Context, subs subscriptions) error {
	r.base = context.WithoutCancel(ctx)
	r.joined = make(chan struct{})
	r.resume = resumePoints{reaction: r.spec.Name, client: r.client, log: r.spec.Log, subs: subs}

	var balancer kgo.GroupBalancer = kgo.CooperativeStickyBalancer()
	// base does not end with ctx: handlers that run when ctx ends are drained, and are cancelled only if that takes
	// too long.
	if r.stateful && len(r.spec.Topics) > 1 {
		balancer = kgo.RangeBalancer() // assigns equal partition numbers of all topics to the same instance
	}
	opts := []kgo.Opt{
		kgo.ConsumerGroup(r.spec.Name),
		kgo.ConsumeTopics(r.topicNames()...),
		kgo.Balancers(r.derived.balancers(balancer)...),
		kgo.DisableAutoCommit(),
		kgo.SessionTimeout(sessionTimeout),
		kgo.HeartbeatInterval(heartbeatEvery),
		kgo.RebalanceTimeout(rebalanceTimeout),
		kgo.MetadataMaxAge(r.spec.MetadataMaxAge),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()), // events lost to retention must be an error and are never passed over
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords(), // so that the end of a replay is noticed even if it is a control record
		kgo.FetchMaxBytes(maxFetchBytes),
		kgo.FetchMaxWait(maxFetchWait),
		kgo.WithHooks(&r.fetched),
		kgo.OnOffsetsFetched(r.onOffsetsFetched),
		kgo.AdjustFetchOffsetsFn(r.onOffsets),
		kgo.OnPartitionsAssigned(r.onAssigned),
		kgo.OnPartitionsRevoked(r.onRevoked),
		kgo.OnPartitionsLost(r.onLost),
	}
	if r.spec.Instance != "" {
		opts = append(opts, kgo.InstanceID(r.spec.Instance))
	}
	group, err := kgo.NewClient(r.bound.Load().Kgo(opts...)...)
	if err != nil {
		return err
	}
	r.mu.Lock()
	r.group = group
	r.mu.Unlock()
	r.committer = &atLeastOnce{reaction: r.spec.Name, instance: r.spec.Instance, log: begunTopics{r.bound.Load(), maps.Clone(r.topics)}, coordinator: r.group}
	close(r.joined)
	return nil
}

// membership identifies this instance as a member of a generation of its group.
type membership struct {
	member     string
	generation int32
}

// currentMembership returns the member id and generation that kgo has. Only kgo's callbacks may call it: at other
// times kgo may have joined a generation whose assignment it does not know yet.
func (r *Reactor) currentMembership() membership {
	member, generation := r.group.GroupMetadata()
	return membership{member, generation}
}

// leave drains the reaction and leaves the group. It drains before it leaves, while the instance is still a member: in
// the middle of a rebalance, commits are refused until the rebalance is over.
func (r *Reactor) leave() {
	r.drain()
	defer r.drainIsOver()
	life := r.client.Life()
	ctx, cancel := context.WithTimeout(life, cancelledTimeout)
	defer cancel()
	err := r.leaveGroup(ctx)
	if life.Err() != nil {
		return // the client was aborted, so nothing is reported
	}
	if r.spec.Instance != "" && !r.replaced.Load() {
		// kgo does not remove a static member from the group when it leaves, so that the member may come back
		// unnoticed. But an instance that stops in order should have its partitions taken over at once.
		err = errors.Join(err, r.leaveStatic(ctx))
	}
	if err != nil {
		r.spec.Log.Warn("the group was not left in order: its partitions are taken over when the session ends", "error", err)
	}
}

// leaveGroup leaves the group as a dynamic member, and stops kgo's part in it.
func (r *Reactor) leaveGroup(ctx context.Context) error {
	if !r.logLost() {
		return r.group.LeaveGroupContext(ctx)
	}
	// The group's client cannot reach the log any more. The log may still have the member, from before.
	gone, cancel := context.WithCancel(ctx)
	cancel()
	_ = r.group.LeaveGroupContext(gone)
	r.mu.Lock()
	m := kmsg.NewLeaveGroupRequestMember()
	m.MemberID = r.membership.member
	r.mu.Unlock()
	return r.remove(ctx, m)
}

// leaveStatic removes this instance, a static member, from its group.
func (r *Reactor) leaveStatic(ctx context.Context) error {
	m := kmsg.NewLeaveGroupRequestMember()
	m.InstanceID = &r.spec.Instance
	return r.remove(ctx, m)
}

// remove removes a member from the reaction's group. One that the group does not have is no error.
func (r *Reactor) remove(ctx context.Context, m kmsg.LeaveGroupRequestMember) error {
	req := kmsg.NewPtrLeaveGroupRequest()
	req.Group = r.spec.Name
	req.Members = append(req.Members, m)
	resp, err := req.RequestWith(ctx, r.client.Client())
	if err != nil {
		return err
	}
	return kerr.ErrorForCode(resp.ErrorCode)
}
