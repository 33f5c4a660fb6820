package group

import "time"

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
		switch m, wasPending, err := g.leaver(l); {
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
		c.settle(now, g)
	}
}

// leaver finds who is to leave. An instance id without a member id is an administrator's, and needs no member id.
func (g *group) leaver(l Leaver) (m *member, pending bool, err error) {
	if g == nil {
		return nil, false, ErrUnknownMember
	}
	if _, ok := g.pending[l.Member]; ok && l.InstanceID == nil {
		return nil, true, nil
	}
	if l.InstanceID != nil && l.Member == "" {
		if m = g.static(*l.InstanceID); m == nil {
			return nil, false, ErrUnknownMember
		}
		return m, false, nil
	}
	m, err = g.find(l.Member, l.InstanceID)
	return m, false, err
}
