package group

// The coordinator bounds the memory of groups, since clients decide how many groups there are and how large: a member's
// metadata may have the size of a request, and members stay until their sessions end even if their clients have gone.
// Who would exceed a bound is refused: a new member, or a member whose metadata grows, with ErrGroupFull; an assignment
// likewise; a position in a partition in which its group has none, or with longer metadata, with ErrNoRoom. What exists
// can always be renewed, so that groups which work go on.
//
// One group has a bound of its own, since all its members are in one record of the journal and in the response to the
// leader: while a large record is written, nobody else's is. The default allows for records of about 1 MiB, as Apache Kafka's
// message.max.bytes does.
//
// The sizes are estimates of the memory that is in use, with the copies that are made of it: metadata and assignments
// are in the group, and again in its record.

// Estimates of memory in bytes, without the texts and bytes in it.
const (
	groupBytes    = 512
	memberBytes   = 512
	pendingBytes  = 256
	positionBytes = 160
)

// smallMemberBytes is the size up to which a member may use the second half of Options.MaxMemberBytes, so that large
// members leave room for ordinary ones.
const smallMemberBytes = 32 << 10

// Bytes returns the memory of all groups, about: of their members and of their positions.
func (c *Coordinator) Bytes() int64 { return c.memberBytes + c.durable.size.bytes }

// size returns the memory of the member.
func (m *member) size() int64 {
	n := int64(memberBytes + len(m.id) + len(m.clientID) + len(m.host) + 2*len(m.assignment))
	if m.instanceID != nil {
		n += int64(len(*m.instanceID))
	}
	return n + sizeOfProtocols(m.protocols)
}

func sizeOfProtocols(ps []Protocol) int64 {
	n := 0
	for _, p := range ps {
		n += 64 + 2*(len(p.Name)+len(p.Metadata))
	}
	return int64(n)
}

// recount brings c.memberBytes up to date after a step that has changed g.
func (c *Coordinator) recount(g *group) {
	n := int64(groupBytes + len(g.id))
	for id := range g.pending {
		n += pendingBytes + int64(len(id))
	}
	for _, m := range g.members {
		n += m.size()
	}
	c.memberBytes += n - g.countedBytes
	g.countedBytes = n
}

// hasRoomFor reports whether a group may grow by bytes of members, of which the largest has memberSize.
func (c *Coordinator) hasRoomFor(g *group, bytes, memberSize int64) bool {
	limit := c.o.MaxMemberBytes
	if memberSize > smallMemberBytes {
		limit /= 2
	}
	return bytes <= 0 || c.memberBytes+bytes <= limit && g.countedBytes+bytes <= c.o.MaxGroupBytes
}

// hasRoomToJoin reports whether the client of a JoinGroup may become, or stay, a member with the metadata in r.
func (c *Coordinator) hasRoomToJoin(g *group, r *JoinRequest) bool {
	size := int64(memberBytes+len(r.ClientID)+len(r.ClientHost)) + sizeOfProtocols(r.Protocols)
	grows := size
	if m := g.member(replaced(g, r)); m != nil {
		grows -= m.size() - 2*int64(len(m.assignment))
	}
	return c.hasRoomFor(g, grows, size)
}

// hasRoomToAssign reports whether the members of g may have these assignments.
func (c *Coordinator) hasRoomToAssign(g *group, assignments map[MemberID][]byte) bool {
	var grows, largest int64
	for _, m := range g.members {
		n := 2 * int64(len(assignments[m.id]))
		grows += n - 2*int64(len(m.assignment))
		largest = max(largest, n)
	}
	return c.hasRoomFor(g, grows, largest)
}

// hasRoomToCommit reports whether a group may have a position.
func (c *Coordinator) hasRoomToCommit(group string, tp TopicPartition, offset Committed) bool {
	grows := sizeOfPosition(tp, offset)
	if g := c.durable.groups[group]; g == nil {
		grows += groupBytes + int64(len(group))
	} else if have, ok := g.offsets[tp]; ok {
		grows -= sizeOfPosition(tp, have)
	}
	return grows <= 0 || c.durable.size.bytes+grows <= c.o.MaxPositionBytes
}

func sizeOfPosition(tp TopicPartition, o Committed) int64 {
	return int64(positionBytes + len(tp.Topic) + len(o.Metadata))
}

// durableSize is the memory of the positions in a durableState, and of the groups that have some.
type durableSize struct{ bytes int64 }

// of returns the memory of the positions of a group.
func (durableSize) of(id string, g *durableGroup) int64 {
	n := int64(groupBytes + len(id))
	for tp, o := range g.offsets {
		n += sizeOfPosition(tp, o)
	}
	for _, offsets := range g.undecided {
		for tp, o := range offsets {
			n += sizeOfPosition(tp, o)
		}
	}
	return n
}
