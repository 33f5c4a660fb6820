package group

import (
	"slices"
	"time"
)

// freshTimeout is how long a member may wait for its first generation without a sign of life: it has no reason to
// send heartbeats yet, and may be dead.
const freshTimeout = 5 * time.Minute

func (c *Coordinator) onJoin(now time.Time, ev Join) {
	r := &ev.JoinRequest
	if r.RebalanceTimeout <= 0 {
		r.RebalanceTimeout = r.SessionTimeout // JoinGroup v0 has only the one
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
	g := c.open(now, r.Group)
	defer c.settle(now, g)
	switch {
	case c.full(g, r.Member, r.InstanceID):
		c.forget(now, g, r.Member)
		refuse(ErrGroupFull)
	case !g.accepts(r.ProtocolType, r.Protocols, replaced(g, r)):
		c.forget(now, g, r.Member)
		refuse(ErrInconsistentProtocol)
	case r.Member == "":
		c.joinNew(now, g, ev)
	default:
		if err := c.joinAgain(now, g, ev); err != nil {
			refuse(err)
		}
	}
}

// replaced is the member whose place the request takes, if any: its old protocols do not count.
func replaced(g *group, r *JoinRequest) MemberID {
	if r.InstanceID != nil {
		if m := g.static(*r.InstanceID); m != nil {
			return m.id
		}
	}
	return r.Member
}

// forget takes back an id given by MEMBER_ID_REQUIRED, so that the group does not wait for its bearer.
func (c *Coordinator) forget(now time.Time, g *group, id MemberID) {
	if _, ok := g.pending[id]; ok {
		delete(g.pending, id)
		c.tryComplete(now, g)
	}
}

// full says whether a group at its limit must turn the joiner away. Those who are members already may stay.
func (c *Coordinator) full(g *group, id MemberID, instance *string) bool {
	if c.o.MaxGroupSize <= 0 || g.member(id) != nil || instance != nil && g.static(*instance) != nil {
		return false
	}
	return len(g.members) >= c.o.MaxGroupSize
}

// joinNew: the request has no member id.
func (c *Coordinator) joinNew(now time.Time, g *group, ev Join) {
	r := &ev.JoinRequest
	prefix := r.ClientID
	if r.InstanceID != nil {
		prefix = *r.InstanceID
	}
	id := MemberID(prefix + "-" + c.o.NewID())
	switch {
	case r.InstanceID != nil:
		if old := g.static(*r.InstanceID); old != nil {
			c.replaceStatic(now, g, old, id, ev)
			return
		}
		c.addMember(now, g, id, ev)
	case r.RequireKnownMember:
		// A client whose answer gets lost would join anew, and leave a member behind that holds up the group until its
		// session ends. So it gets its id first (KIP-394).
		if g.pending == nil {
			g.pending = make(map[MemberID]pendingJoin)
		}
		g.pending[id] = pendingJoin{deadline: now.Add(r.SessionTimeout)}
		c.reply(ev.Ticket, JoinResponse{Err: ErrMemberIDRequired, Generation: -1, Member: id})
	default:
		c.addMember(now, g, id, ev)
	}
}

// joinAgain: the request has a member id, given by MEMBER_ID_REQUIRED or by an earlier generation.
func (c *Coordinator) joinAgain(now time.Time, g *group, ev Join) error {
	r := &ev.JoinRequest
	if _, ok := g.pending[r.Member]; ok && r.InstanceID == nil {
		delete(g.pending, r.Member)
		c.addMember(now, g, r.Member, ev)
		return nil
	}
	m, err := g.find(r.Member, r.InstanceID)
	if err != nil {
		return err
	}
	switch g.state {
	case preparing:
		c.update(now, g, m, ev)
		c.tryComplete(now, g)
		return nil
	case completing:
		if m.offers(r.Protocols) {
			// It did not get the answer to its join: here it is again.
			c.welcomeBack(now, g, m, ev)
			return nil
		}
	case stable:
		if m.id != g.leader && m.offers(r.Protocols) {
			c.welcomeBack(now, g, m, ev)
			return nil
		}
		// A leader that joins again wants a new assignment: it may have seen partitions come.
	}
	c.update(now, g, m, ev)
	c.prepare(now, g)
	return nil
}

// welcomeBack answers a join with the generation as it is.
func (c *Coordinator) welcomeBack(now time.Time, g *group, m *member, ev Join) {
	m.deadline = now.Add(m.sessionTimeout)
	c.reply(ev.Ticket, g.joined(m))
}

func (c *Coordinator) addMember(now time.Time, g *group, id MemberID, ev Join) {
	m := &member{id: id, instance: ev.InstanceID, fresh: true}
	if len(g.members) == 0 {
		g.protocolType = ev.ProtocolType
		g.leader = id
	}
	g.members = append(g.members, m)
	c.update(now, g, m, ev)
	g.grew = true
	if g.state == preparing {
		c.tryComplete(now, g)
	} else {
		c.prepare(now, g)
	}
}

// update takes over what a join says of its member, and lets it wait for the next generation.
func (c *Coordinator) update(now time.Time, g *group, m *member, ev Join) {
	c.dismiss(m, ErrRebalanceInProgress) // an earlier request of its own, on a connection that it has given up
	m.clientID, m.host = ev.ClientID, ev.ClientHost
	m.sessionTimeout, m.rebalanceTimeout = ev.SessionTimeout, ev.RebalanceTimeout
	m.protocols = make([]Protocol, len(ev.Protocols))
	for i, p := range ev.Protocols {
		m.protocols[i] = Protocol{Name: p.Name, Metadata: slices.Clone(p.Metadata)}
	}
	m.join = &waiter{ticket: ev.Ticket, canSkip: ev.CanSkipAssignment}
	m.deadline = now.Add(m.sessionTimeout)
	if m.fresh {
		m.deadline = now.Add(max(freshTimeout, m.sessionTimeout))
	}
}

// dismiss answers what a member still waits for.
func (c *Coordinator) dismiss(m *member, err error) {
	if m.join != nil {
		c.reply(m.join.ticket, JoinResponse{Err: err, Generation: -1, Member: m.id})
		m.join = nil
	}
	if m.sync != nil {
		c.reply(m.sync.ticket, SyncResponse{Err: err})
		m.sync = nil
	}
}

// replaceStatic: a static member has come back without its member id, so it was restarted. It gets a new id; whoever still
// uses the old one is fenced. If nothing else changes the group does not rebalance, which is what static membership
// is for (KIP-345).
func (c *Coordinator) replaceStatic(now time.Time, g *group, m *member, id MemberID, ev Join) {
	c.dismiss(m, ErrFencedInstance)
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
		if g.choose() == g.protocol {
			break
		}
		c.prepare(now, g)
		return
	default: // completing: the old leader may have been told of the old id already
		c.prepare(now, g)
		return
	}
	response := g.joined(m)
	if m.id == g.leader {
		if m.join.canSkip {
			response.SkipAssignment = true
		} else {
			// A client that knows no SkipAssignment must not take itself for the leader, or it would assign anew in a
			// generation that has its assignment.
			response.Leader, response.Members = oldLeader, nil
		}
	}
	w, generation := m.join, g.generation
	c.record(now, g, func(now time.Time, err error) {
		if m.join != w || g.state != stable || g.generation != generation || !slices.Contains(g.members, m) {
			return // it is part of a rebalance by now, or gone, and is or was answered there
		}
		m.join = nil
		m.fresh = false
		m.deadline = now.Add(m.sessionTimeout)
		c.rearm(now, g)
		if err != nil {
			response = JoinResponse{Err: err, Generation: -1, Member: id}
		}
		c.reply(w.ticket, response)
	})
}
