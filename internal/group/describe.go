package group

// List returns the descriptions of all groups, in order of group id, without Protocol and Members.
func (c *Coordinator) List() []Description {
	all := make([]Description, 0, len(c.groups))
	for _, g := range c.inOrder() {
		all = append(all, Description{Group: g.id, State: g.state.String(), ProtocolType: g.protocolType})
	}
	return all
}

// Describe returns the description of a group. If the group does not exist, its State is Dead. As in Apache Kafka, the
// protocol, the metadata and the assignments are empty unless the group is Stable. The byte slices are shared with the
// coordinator and must not be changed.
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
		md := MemberDescription{Member: m.id, InstanceID: m.instanceID, ClientID: m.clientID, ClientHost: m.host}
		if g.state == stable {
			md.Metadata, md.Assignment = m.metadata(g.protocol), m.assignment
		}
		d.Members = append(d.Members, md)
	}
	return d
}
