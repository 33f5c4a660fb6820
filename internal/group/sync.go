package group

import (
	"slices"
	"time"
)

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
	m, err := g.find(ev.Member, ev.InstanceID)
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
	defer c.settle(now, g)
	switch g.state {
	case preparing:
		refuse(ErrRebalanceInProgress)
	case completing:
		if m.sync != nil {
			c.reply(m.sync.ticket, SyncResponse{Err: ErrRebalanceInProgress}) // its own, on a connection given up
		}
		m.sync = &waiter{ticket: ev.Ticket}
		m.synced = true
		if m.id == g.leader && !g.storing {
			c.assign(now, g, ev.Assignments)
		}
	case stable:
		m.synced = true
		m.deadline = now.Add(m.sessionTimeout)
		c.reply(ev.Ticket, g.assigned(m))
	}
}

// assign stores the leader's assignment. It is given out, to the leader too, only when it is durable: a restart must not
// find partitions owned by members that the group on disk does not know.
func (c *Coordinator) assign(now time.Time, g *group, assignments map[MemberID][]byte) {
	for _, m := range g.members {
		m.assignment = slices.Clone(assignments[m.id])
	}
	g.storing = true
	generation := g.generation
	next := c.recordOf(now, g)
	next.state = stable
	g.recorded = stable
	c.persist(g, encodeGroup(next), func(now time.Time, err error) {
		if g.state != completing || g.generation != generation {
			return // a rebalance came in between and has answered those who waited
		}
		g.storing = false
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

func (g *group) assigned(m *member) SyncResponse {
	return SyncResponse{ProtocolType: g.protocolType, Protocol: g.protocol, Assignment: m.assignment}
}

// onSyncDeadline: members that took part in forming the generation and have not asked for their assignment are stuck;
// without them.
func (c *Coordinator) onSyncDeadline(now time.Time, g *group) {
	c.remove(now, g, func(m *member) bool { return !m.synced })
}

func (g *group) allSynced() bool {
	return !slices.ContainsFunc(g.members, func(m *member) bool { return !m.synced })
}

func (c *Coordinator) onHeartbeat(now time.Time, ev Heartbeat) {
	c.reply(ev.Ticket, HeartbeatResponse{Err: c.heartbeat(now, ev.HeartbeatRequest)})
}

func (c *Coordinator) heartbeat(now time.Time, r HeartbeatRequest) error {
	if r.Group == "" {
		return ErrInvalidGroup
	}
	g := c.groups[r.Group]
	if g == nil {
		return ErrUnknownMember
	}
	m, err := g.find(r.Member, r.InstanceID)
	if err != nil {
		return err
	}
	if r.Generation != g.generation {
		return ErrIllegalGeneration
	}
	m.touch(now)
	if g.state == preparing {
		return ErrRebalanceInProgress
	}
	return nil
}
