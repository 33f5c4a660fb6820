package group

// List returns all groups by id, without their members.
func (c *Coordinator) List() []Description {
	all := make([]Description, 0, len(c.groups))
	for _, g := range c.inOrder() {
		all = append(all, Description{Group: g.id, State: g.state.String(), ProtocolType: g.protocolType})
	}
	return all
}

// Describe returns a group; State is Dead when there is none. As in Apache Kafka the protocol, metadata and assignments
// are told only while the group is stable. The bytes are shared: they must not be changed.
func (c *Coordinator) Describe(id string) Description {
	g := c.groups[id]
	if g == nil {
		return Description{Group: id, State: state(0).String()}
	}
	d := Description{Group: id, State: g.state.String(), ProtocolType: g.protocolType}
	if g.state == stable {
		d.Protocol = g.protocol
	}
	for _, m := range g.members {
		md := MemberDescription{Member: m.id, InstanceID: m.instance, ClientID: m.clientID, ClientHost: m.host}
		if g.state == stable {
			md.Metadata, md.Assignment = m.metadata(g.protocol), m.assignment
		}
		d.Members = append(d.Members, md)
	}
	return d
}
