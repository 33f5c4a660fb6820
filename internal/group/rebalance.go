package group

import (
	"slices"
	"time"
)

// prepare begins a rebalance: everyone is to join again.
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
		g.initialUntil = g.joinDeadline
		g.joinDeadline = now.Add(min(c.o.InitialRebalanceDelay, g.rebalanceTimeout()))
		g.grew = false
	}
	g.state = preparing
	g.storing = false
	c.tryComplete(now, g)
}

// tryComplete forms the generation if nobody is being waited for.
func (c *Coordinator) tryComplete(now time.Time, g *group) {
	if g.state == preparing && g.initialUntil.IsZero() && g.allJoined() {
		c.complete(now, g)
	}
}

// onJoinDeadline: the time to join is over.
func (c *Coordinator) onJoinDeadline(now time.Time, g *group) {
	if g.grew && now.Before(g.initialUntil) {
		// The initial delay begins anew with each member that comes, up to the rebalance timeout, so that a fleet that
		// starts together forms one generation.
		g.grew = false
		g.joinDeadline = now.Add(min(c.o.InitialRebalanceDelay, g.initialUntil.Sub(now)))
		return
	}
	c.complete(now, g)
}

// complete forms the next generation of those who have joined. Dynamic members who have not are out; static ones stay
// until their session ends.
func (c *Coordinator) complete(now time.Time, g *group) {
	g.initialUntil = time.Time{}
	g.members = slices.DeleteFunc(g.members, func(m *member) bool { return m.join == nil && m.instance == nil })
	if len(g.members) > 0 && !g.electLeader() {
		// Only static members, and none has come: wait on, until one does or their sessions end.
		g.joinDeadline = now.Add(max(g.rebalanceTimeout(), time.Second))
		return
	}
	g.generation++
	g.storing = false
	if len(g.members) == 0 {
		c.becomeEmpty(now, g)
		return
	}
	g.state = completing
	g.protocol = g.choose()
	g.topics = subscribed(g)
	g.syncDeadline = now.Add(g.rebalanceTimeout())
	for _, m := range g.members {
		m.synced = false
		if m.join == nil {
			continue // static and absent: its session runs
		}
		m.fresh = false
		m.deadline = now.Add(m.sessionTimeout)
		w := m.join
		m.join = nil
		c.reply(w.ticket, g.joined(m))
	}
}

// electLeader keeps the leader if it has joined, else takes the first who has. False: nobody has.
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

func (c *Coordinator) becomeEmpty(now time.Time, g *group) {
	g.state = empty
	g.protocol, g.leader, g.topics = "", "", nil
	g.emptySince = now
	g.expiresAt = time.Time{} // offset retention runs from now (trap 15 of KAFKA.md)
	c.record(now, g, nil)
}

// remove takes members out, and lets the group go on without them.
func (c *Coordinator) remove(now time.Time, g *group, gone func(*member) bool) {
	before := len(g.members)
	g.members = slices.DeleteFunc(g.members, func(m *member) bool {
		if !gone(m) {
			return false
		}
		c.dismiss(m, ErrUnknownMember)
		return true
	})
	if len(g.members) < before {
		c.shrunk(now, g)
	}
}

// shrunk moves the group on after members, or those who were to become one, are gone.
func (c *Coordinator) shrunk(now time.Time, g *group) {
	switch g.state {
	case completing, stable:
		c.prepare(now, g)
	case preparing:
		c.tryComplete(now, g)
	}
}
