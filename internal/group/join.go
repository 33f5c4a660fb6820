package group

import (
	"slices"
	"time"
)

// newMemberTimeout is how long a new member may wait for its first generation before it is removed as dead, unless its
// session timeout is longer. While it waits for the reply to its JoinGroup it sends no heartbeats.
const newMemberTimeout = 5 * time.Minute

// onJoin handles a JoinGroup: it checks the request, and adds or updates the member.
func (c *Coordinator) onJoin(now time.Time, ev Join) {
	r := &ev.JoinRequest
	if r.RebalanceTimeout <= 0 {
		r.RebalanceTimeout = r.SessionTimeout // JoinGroup version 0 has no rebalance timeout
	}
	refuse := func(err error) {
		c.reply(ev.Ticket, JoinResponse{Err: err, Generation: -1, Member: r.Member})
	}
	switch {
	case r.Group == "":
		refuse(ErrInvalidGroup)
		return
	case r.SessionTimeout < c.o.MinSessionTimeout || r.SessionTimeout > c.o.MaxSessionTimeout:
		refuse(ErrInvalidSessionTimeout)
		return
	case r.Member != "" && c.groups[r.Group] == nil:
		refuse(ErrUnknownMember)
		return
	}
	g := c.getOrCreate(now, r.Group)
	defer c.finishStep(now, g)
	switch {
	case c.full(g, r.Member, r.InstanceID), !c.hasRoomToJoin(g, r):
		c.dropPendingMember(now, g, r.Member)
		refuse(ErrGroupFull)
	case !g.acceptsProtocols(r.ProtocolType, r.Protocols, replaced(g, r)):
		c.dropPendingMember(now, g, r.Member)
		refuse(ErrInconsistentProtocol)
	case r.Member == "":
		c.joinNew(now, g, ev)
	default:
		if err := c.joinAgain(now, g, ev); err != nil {
			refuse(err)
		}
	}
}

// replaced returns the id of the member that the request replaces or updates, whose old protocols therefore do not
// count. It is empty if there is no such member.
func replaced(g *group, r *JoinRequest) MemberID {
	if r.InstanceID != nil {
		if m := g.staticMember(*r.InstanceID); m != nil {
			return m.id
		}
	}
	return r.Member
}

// dropPendingMember removes a pending member id, if it is one, so that the group does not wait for a client with that
// id.
func (c *Coordinator) dropPendingMember(now time.Time, g *group, id MemberID) {
	if _, ok := g.pending[id]; ok {
		delete(g.pending, id)
		c.tryComplete(now, g)
	}
}

// full reports whether the group has MaxGroupSize members and the client that joins is not one of them.
func (c *Coordinator) full(g *group, id MemberID, instance *string) bool {
	if c.o.MaxGroupSize <= 0 || g.member(id) != nil || instance != nil && g.staticMember(*instance) != nil {
		return false
	}
	return len(g.members) >= c.o.MaxGroupSize
}

// joinNew handles a JoinGroup without a member id.
func (c *Coordinator) joinNew(now time.Time, g *group, ev Join) {
	r := &ev.JoinRequest
	prefix := r.ClientID
	if r.InstanceID != nil {
		prefix = *r.InstanceID
	}
	id := MemberID(prefix + "-" + c.o.NewID())
	switch {
	case r.InstanceID != nil:
		if old := g.staticMember(*r.InstanceID); old != nil {
			c.replaceStatic(now, g, old, id, ev)
			return
		}
		c.addMember(now, g, id, ev)
	case r.RequireKnownMember:
		// If the client lost the response to its JoinGroup, it would join again as another member, and the group would
		// wait for the first one until its session ends. So the client is sent its id before it becomes a member
		// (KIP-394).
		if g.pending == nil {
			g.pending = make(map[MemberID]pendingJoin)
		}
		g.pending[id] = pendingJoin{deadline: now.Add(r.SessionTimeout)}
		c.reply(ev.Ticket, JoinResponse{Err: ErrMemberIDRequired, Generation: -1, Member: id})
	default:
		c.addMember(now, g, id, ev)
	}
}

// joinAgain handles a JoinGroup with a member id, which must be pending or that of a member. Errors: those of
// findMember.
func (c *Coordinator) joinAgain(now time.Time, g *group, ev Join) error {
	r := &ev.JoinRequest
	if _, ok := g.pending[r.Member]; ok && r.InstanceID == nil {
		delete(g.pending, r.Member)
		c.addMember(now, g, r.Member, ev)
		return nil
	}
	m, err := g.findMember(r.Member, r.InstanceID)
	if err != nil {
		return err
	}
	switch g.state {
	case preparing:
		c.update(now, g, m, ev)
		c.tryComplete(now, g)
		return nil
	case completing:
		if m.hasProtocols(r.Protocols) {
			// The member joins again because it has not received the response to its first JoinGroup.
			c.replyCurrentGeneration(now, g, m, ev)
			return nil
		}
	case stable:
		if m.id != g.leader && m.hasProtocols(r.Protocols) {
			c.replyCurrentGeneration(now, g, m, ev)
			return nil
		}
		// The leader joins again when it wants to assign anew, for instance because there are new partitions.
	}
	c.update(now, g, m, ev)
	c.prepare(now, g)
	return nil
}

// replyCurrentGeneration answers a JoinGroup with the present generation, without a rebalance.
func (c *Coordinator) replyCurrentGeneration(now time.Time, g *group, m *member, ev Join) {
	m.deadline = now.Add(m.sessionTimeout)
	c.reply(ev.Ticket, g.joined(m))
}

// addMember adds a member with this id, and begins a rebalance unless the group is already rebalancing.
func (c *Coordinator) addMember(now time.Time, g *group, id MemberID, ev Join) {
	m := &member{id: id, instanceID: ev.InstanceID, isNew: true}
	if len(g.members) == 0 {
		g.protocolType = ev.ProtocolType
		g.leader = id
	}
	g.members = append(g.members, m)
	c.update(now, g, m, ev)
	g.memberJoined = true
	if g.state == preparing {
		c.tryComplete(now, g)
	} else {
		c.prepare(now, g)
	}
}

// update sets the fields of a member from its JoinGroup, and makes the request wait for the next generation.
func (c *Coordinator) update(now time.Time, g *group, m *member, ev Join) {
	c.replyWaiting(m, ErrRebalanceInProgress) // to an earlier request of the member, which its client no longer waits for
	m.clientID, m.host = ev.ClientID, ev.ClientHost
	m.sessionTimeout, m.rebalanceTimeout = ev.SessionTimeout, ev.RebalanceTimeout
	m.protocols = slices.Clone(ev.Protocols)
	m.join = &waiter{ticket: ev.Ticket, canSkipAssignment: ev.CanSkipAssignment}
	m.deadline = now.Add(m.sessionTimeout)
	if m.isNew {
		m.deadline = now.Add(max(newMemberTimeout, m.sessionTimeout))
	}
}

// replyWaiting answers the waiting requests of a member with err.
func (c *Coordinator) replyWaiting(m *member, err error) {
	if m.join != nil {
		c.reply(m.join.ticket, JoinResponse{Err: err, Generation: -1, Member: m.id})
		m.join = nil
	}
	if m.sync != nil {
		c.reply(m.sync.ticket, SyncResponse{Err: err})
		m.sync = nil
	}
}

// replaceStatic handles the JoinGroup of a static member without a member id, which means that the client was
// restarted. The member gets the new id, and a client that still uses the old id is fenced. If the protocol of the
// group does not change, the group does not rebalance, which is the purpose of static membership (KIP-345).
func (c *Coordinator) replaceStatic(now time.Time, g *group, m *member, id MemberID, ev Join) {
	c.replyWaiting(m, ErrFencedInstance)
	oldLeader := g.leader
	if g.leader == m.id {
		g.leader = id
	}
	m.id = id
	c.update(now, g, m, ev)
	switch g.state {
	case preparing:
		c.tryComplete(now, g)
		return
	case stable:
		if g.chooseProtocol() == g.protocol {
			break
		}
		c.prepare(now, g)
		return
	default: // completing: the leader may have been sent the old id
		c.prepare(now, g)
		return
	}
	response := g.joined(m)
	if m.id == g.leader {
		if m.join.canSkipAssignment {
			response.SkipAssignment = true
		} else {
			// A client that does not know SkipAssignment must not be told that it is the leader, because it would then
			// assign anew, in a generation that has an assignment.
			response.Leader, response.Members = oldLeader, nil
		}
	}
	w, generation := m.join, g.generation
	c.record(now, g, func(now time.Time, err error) {
		if m.join != w || g.state != stable || g.generation != generation || !slices.Contains(g.members, m) {
			return // a rebalance has begun, or the member was removed: the request is answered there
		}
		m.join = nil
		m.isNew = false
		m.deadline = now.Add(m.sessionTimeout)
		c.rearm(now, g)
		if err != nil {
			response = JoinResponse{Err: err, Generation: -1, Member: id}
		}
		c.reply(w.ticket, response)
	})
}
