package group

// Sizes returns the memory that the coordinator has counted for members and for positions, and the same computed anew.
func (c *Coordinator) Sizes() (members, positions, wantMembers, wantPositions int64) {
	members, positions = c.memberBytes, c.durable.size.bytes
	for _, g := range c.groups {
		before := c.memberBytes
		counted := g.countedBytes
		c.recount(g)
		wantMembers += g.countedBytes
		c.memberBytes, g.countedBytes = before, counted
	}
	for id, g := range c.durable.groups {
		wantPositions += c.durable.size.of(id, g)
	}
	return members, positions, wantMembers, wantPositions
}
