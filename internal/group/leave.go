package group

import "time"

// onLeave handles a LeaveGroup: it removes the members that the request names, and replies with an error or nil for
// each.
func (c *Coordinator) onLeave(now time.Time, ev Leave) {
	if ev.Group == "" {
		c.reply(ev.Ticket, LeaveResponse{Err: ErrInvalidGroup})
		return
	}
	answers := make([]error, len(ev.Members))
	g := c.groups[ev.Group]
	leaving := make(map[*member]bool)
	pending := false
	for i, l := range ev.Members {
		switch m, wasPending, err := g.findLeaving(l); {
		case err != nil:
			answers[i] = err
		case wasPending:
			delete(g.pending, l.Member)
			pending = true
		case leaving[m]:
			answers[i] = ErrUnknownMember
		default:
			leaving[m] = true
		}
	}
	if len(leaving) > 0 {
		c.remove(now, g, func(m *member) bool { return leaving[m] })
	} else if pending {
		c.tryComplete(now, g)
	}
	c.reply(ev.Ticket, LeaveResponse{Members: answers})
	if g != nil {
		c.finishStep(now, g)
	}
}

// findLeaving returns the member that l identifies; or pending = true if l has a pending member id. An instance id
// without a member id, which administrators send, is sufficient. g may be nil, for a group that does not exist. Errors:
// those of findMember.
func (g *group) findLeaving(l LeavingMember) (m *member, pending bool, err error) {
	if g == nil {
		return nil, false, ErrUnknownMember
	}
	if _, ok := g.pending[l.Member]; ok && l.InstanceID == nil {
		return nil, true, nil
	}
	if l.InstanceID != nil && l.Member == "" {
		if m = g.staticMember(*l.InstanceID); m == nil {
			return nil, false, ErrUnknownMember
		}
		return m, false, nil
	}
	m, err = g.findMember(l.Member, l.InstanceID)
	return m, false, err
}
