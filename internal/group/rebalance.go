package group

import (
	"slices"
	"time"
)

// prepare begins a rebalance: every member has to join again, and waiting SyncGroup requests are answered with
// ErrRebalanceInProgress.
func (c *Coordinator) prepare(now time.Time, g *group) {
	for _, m := range g.members {
		if m.sync != nil {
			c.reply(m.sync.ticket, SyncResponse{Err: ErrRebalanceInProgress})
			m.sync = nil
			m.deadline = now.Add(m.sessionTimeout)
		}
	}
	g.joinDeadline = now.Add(g.rebalanceTimeout())
	if g.state == empty && c.o.InitialRebalanceDelay > 0 {
		g.initialDelayEnd = g.joinDeadline
		g.joinDeadline = now.Add(min(c.o.InitialRebalanceDelay, g.rebalanceTimeout()))
		g.memberJoined = false
	}
	g.state = preparing
	g.assignmentPending = false
	c.tryComplete(now, g)
}

// tryComplete forms the next generation if all members have joined and there is no initial delay.
func (c *Coordinator) tryComplete(now time.Time, g *group) {
	if g.state == preparing && g.initialDelayEnd.IsZero() && g.allJoined() {
		c.complete(now, g)
	}
}

// onJoinDeadline forms the next generation from the members that have joined, or extends the initial delay.
func (c *Coordinator) onJoinDeadline(now time.Time, g *group) {
	if g.memberJoined && now.Before(g.initialDelayEnd) {
		// A member that joins extends the initial delay, at most up to the rebalance timeout, so that members that
		// start at about the same time are in one generation.
		g.memberJoined = false
		g.joinDeadline = now.Add(min(c.o.InitialRebalanceDelay, g.initialDelayEnd.Sub(now)))
		return
	}
	c.complete(now, g)
}

// complete forms the next generation from the members that have joined. Dynamic members that have not joined are
// removed; static members stay until their sessions end.
func (c *Coordinator) complete(now time.Time, g *group) {
	g.initialDelayEnd = time.Time{}
	g.members = slices.DeleteFunc(g.members, func(m *member) bool { return m.join == nil && m.instanceID == nil })
	if len(g.members) > 0 && !g.electLeader() {
		// All members are static and none has joined: wait until one joins, or their sessions end.
		g.joinDeadline = now.Add(max(g.rebalanceTimeout(), time.Second))
		return
	}
	g.generation++
	g.assignmentPending = false
	if len(g.members) == 0 {
		c.becomeEmpty(now, g)
		return
	}
	g.state = completing
	g.protocol = g.chooseProtocol()
	g.topics = subscribed(g)
	g.syncDeadline = now.Add(g.rebalanceTimeout())
	for _, m := range g.members {
		m.synced = false
		if m.join == nil {
			continue // a static member that has not joined; its session goes on
		}
		m.isNew = false
		m.deadline = now.Add(m.sessionTimeout)
		w := m.join
		m.join = nil
		c.reply(w.ticket, g.joined(m))
	}
}

// electLeader keeps the leader if it has joined, and otherwise makes the oldest member that has joined the leader. It
// returns false if no member has joined.
func (g *group) electLeader() bool {
	if m := g.member(g.leader); m != nil && m.join != nil {
		return true
	}
	i := slices.IndexFunc(g.members, func(m *member) bool { return m.join != nil })
	if i < 0 {
		return false
	}
	g.leader = g.members[i].id
	return true
}

// becomeEmpty moves a group without members to the state empty, and persists that.
func (c *Coordinator) becomeEmpty(now time.Time, g *group) {
	g.state = empty
	g.protocol, g.leader, g.topics = "", "", nil
	g.emptySince = now
	g.expiresAt = time.Time{} // offset retention begins now (docs/kafka-traps.md, trap 15)
	c.record(now, g, nil)
}

// remove removes the members for which gone returns true. If it has removed any, the group rebalances without them.
func (c *Coordinator) remove(now time.Time, g *group, gone func(*member) bool) {
	before := len(g.members)
	g.members = slices.DeleteFunc(g.members, func(m *member) bool {
		if !gone(m) {
			return false
		}
		c.replyWaiting(m, ErrUnknownMember)
		return true
	})
	if len(g.members) < before {
		c.continueAfterRemoval(now, g)
	}
}

// continueAfterRemoval begins a rebalance after members were removed or, if the group is already rebalancing, forms the
// generation if all remaining members have joined.
func (c *Coordinator) continueAfterRemoval(now time.Time, g *group) {
	switch g.state {
	case completing, stable:
		c.prepare(now, g)
	case preparing:
		c.tryComplete(now, g)
	}
}
