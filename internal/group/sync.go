package group

import (
	"slices"
	"time"
)

// onSync handles a SyncGroup: it replies with the member's assignment, or makes the request wait for it. The leader's
// request carries the assignments of all members.
func (c *Coordinator) onSync(now time.Time, ev Sync) {
	refuse := func(err error) { c.reply(ev.Ticket, SyncResponse{Err: err}) }
	if ev.Group == "" {
		refuse(ErrInvalidGroup)
		return
	}
	g := c.groups[ev.Group]
	if g == nil {
		refuse(ErrUnknownMember)
		return
	}
	m, err := g.findMember(ev.Member, ev.InstanceID)
	switch {
	case err != nil:
		refuse(err)
		return
	case ev.Generation != g.generation:
		refuse(ErrIllegalGeneration)
		return
	case ev.ProtocolType != nil && *ev.ProtocolType != g.protocolType,
		ev.Protocol != nil && g.state != preparing && *ev.Protocol != g.protocol:
		refuse(ErrInconsistentProtocol)
		return
	}
	defer c.finishStep(now, g)
	if g.state == completing && m.id == g.leader && !c.hasRoomToAssign(g, ev.Assignments) {
		refuse(ErrGroupFull)
		return
	}
	switch g.state {
	case preparing:
		refuse(ErrRebalanceInProgress)
	case completing:
		if m.sync != nil {
			// This answers an earlier request of the member, which its client no longer waits for.
			c.reply(m.sync.ticket, SyncResponse{Err: ErrRebalanceInProgress})
		}
		m.sync = &waiter{ticket: ev.Ticket}
		m.synced = true
		if m.id == g.leader && !g.assignmentPending {
			c.assign(now, g, ev.Assignments)
		}
	case stable:
		m.synced = true
		m.deadline = now.Add(m.sessionTimeout)
		c.reply(ev.Ticket, g.assigned(m))
	}
}

// assign persists the assignments that the leader has sent. All members, including the leader, get their assignment
// only when it is durable: otherwise, after a restart, a partition could be owned by a member that the restored group
// does not have.
func (c *Coordinator) assign(now time.Time, g *group, assignments map[MemberID][]byte) {
	for _, m := range g.members {
		m.assignment = assignments[m.id]
	}
	g.assignmentPending = true
	generation := g.generation
	next := c.recordOf(now, g)
	next.state = stable
	g.recordedState = stable
	c.persist(g, encodeGroup(next), func(now time.Time, err error) {
		if g.state != completing || g.generation != generation {
			return // a rebalance has begun meanwhile and has answered the waiting requests
		}
		g.assignmentPending = false
		if err == nil {
			g.state = stable
		}
		for _, m := range g.members {
			if m.sync == nil {
				continue
			}
			m.deadline = now.Add(m.sessionTimeout)
			response := g.assigned(m)
			if err != nil {
				response = SyncResponse{Err: err}
			}
			c.reply(m.sync.ticket, response)
			m.sync = nil
		}
		c.rearm(now, g)
	})
}

// assigned returns the response to a SyncGroup of m, with its assignment.
func (g *group) assigned(m *member) SyncResponse {
	return SyncResponse{ProtocolType: g.protocolType, Protocol: g.protocol, Assignment: m.assignment}
}

// onSyncDeadline removes the members that have not sent a SyncGroup in the present generation.
func (c *Coordinator) onSyncDeadline(now time.Time, g *group) {
	c.remove(now, g, func(m *member) bool { return !m.synced })
}

// allSynced reports whether every member has sent a SyncGroup in the present generation.
func (g *group) allSynced() bool {
	return !slices.ContainsFunc(g.members, func(m *member) bool { return !m.synced })
}

func (c *Coordinator) onHeartbeat(now time.Time, ev Heartbeat) {
	c.reply(ev.Ticket, HeartbeatResponse{Err: c.heartbeat(now, ev.HeartbeatRequest)})
}

// heartbeat extends the session of the member that sent the request. ErrRebalanceInProgress tells the client to join
// again.
func (c *Coordinator) heartbeat(now time.Time, r HeartbeatRequest) error {
	if r.Group == "" {
		return ErrInvalidGroup
	}
	g := c.groups[r.Group]
	if g == nil {
		return ErrUnknownMember
	}
	m, err := g.findMember(r.Member, r.InstanceID)
	if err != nil {
		return err
	}
	if r.Generation != g.generation {
		return ErrIllegalGeneration
	}
	m.extendSession(now)
	if g.state == preparing {
		return ErrRebalanceInProgress
	}
	return nil
}
