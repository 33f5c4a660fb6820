package group

import (
	"maps"
	"slices"
	"time"
)

// onCommit handles an OffsetCommit: it persists the offsets, and replies when they are durable.
func (c *Coordinator) onCommit(now time.Time, ev Commit) {
	refuse := func(err error) { c.reply(ev.Ticket, CommitResponse{Err: err}) }
	g := c.groups[ev.Group]
	if g == nil {
		if ev.Generation >= 0 {
			refuse(ErrIllegalGeneration)
			return
		}
		g = c.getOrCreate(now, ev.Group)
	}
	defer c.finishStep(now, g)
	m, err := g.mayCommit(&ev.CommitRequest)
	if err != nil {
		refuse(err)
		return
	}
	if m != nil {
		m.extendSession(now) // a commit counts as a heartbeat
	}
	answers, taken := c.acceptOffsets(now, &ev.CommitRequest)
	if len(taken) == 0 {
		c.reply(ev.Ticket, CommitResponse{Partitions: answers})
		return
	}
	c.persist(g, encodeOffsets(ev.Group, taken), func(_ time.Time, err error) {
		if err != nil {
			c.reply(ev.Ticket, CommitResponse{Err: err})
			return
		}
		c.reply(ev.Ticket, CommitResponse{Partitions: answers})
	})
}

// acceptOffsets returns those offsets of a commit that are taken, and for all of them nil, or why they are not taken.
func (c *Coordinator) acceptOffsets(now time.Time, r *CommitRequest) (answers map[TopicPartition]error, taken map[TopicPartition]Committed) {
	at := time.UnixMilli(now.UnixMilli())
	answers = make(map[TopicPartition]error, len(r.Offsets))
	taken = make(map[TopicPartition]Committed, len(r.Offsets))
	for tp, offset := range r.Offsets {
		if len(offset.Metadata) > c.o.MaxMetadataBytes {
			answers[tp] = ErrOffsetMetadataTooLarge
			continue
		}
		if !c.hasRoomToCommit(r.Group, tp, offset) {
			answers[tp] = ErrNoRoom
			continue
		}
		offset.At = at
		taken[tp] = offset
		answers[tp] = nil
	}
	return answers, taken
}

// mayCommit returns the member that sent a commit, or nil for a commit by a client that is not a member. The error is
// the reason to refuse the commit.
func (g *group) mayCommit(r *CommitRequest) (*member, error) {
	if r.Generation < 0 && g.state == empty {
		return nil, nil // a consumer that does not join the group, or an administrator
	}
	if r.Generation < 0 && r.Member == "" && r.InstanceID == nil {
		return nil, ErrUnknownMember // only members may commit while there are any
	}
	m, err := g.findMember(r.Member, r.InstanceID)
	switch {
	case err != nil:
		return nil, err
	case r.Generation != g.generation:
		return nil, ErrIllegalGeneration
	case g.state == completing:
		// Other members may get the partitions in this generation. In state preparing, the member still owns its
		// partitions.
		return nil, ErrRebalanceInProgress
	}
	return m, nil
}

// onDeleteGroup deletes a group that has no members, and replies when the deletion is durable.
func (c *Coordinator) onDeleteGroup(now time.Time, ev DeleteGroup) {
	g := c.groups[ev.Group]
	switch {
	case g == nil:
		c.reply(ev.Ticket, DeleteGroupResponse{Err: ErrGroupNotFound})
	case g.state != empty:
		c.reply(ev.Ticket, DeleteGroupResponse{Err: ErrGroupNotEmpty})
	default:
		c.drop(g)
		c.persist(nil, encodeGroupRemoved(ev.Group), func(now time.Time, err error) {
			if err != nil {
				c.restoreDropped(now, g)
			}
			c.reply(ev.Ticket, DeleteGroupResponse{Err: err})
		})
	}
}

// onDeleteOffsets deletes offsets in topics to which no member subscribes, and replies when the deletion is durable.
func (c *Coordinator) onDeleteOffsets(now time.Time, ev DeleteOffsets) {
	g := c.groups[ev.Group]
	switch {
	case g == nil:
		c.reply(ev.Ticket, DeleteOffsetsResponse{Err: ErrGroupNotFound})
		return
	case g.state != empty && g.protocolType != consumerProtocol:
		c.reply(ev.Ticket, DeleteOffsetsResponse{Err: ErrGroupNotEmpty})
		return
	}
	answers := make(map[TopicPartition]error, len(ev.Partitions))
	var gone []TopicPartition
	for _, tp := range ev.Partitions {
		if g.state != empty && (g.topics == nil || g.topics[tp.Topic]) {
			answers[tp] = ErrSubscribedToTopic
			continue
		}
		if _, again := answers[tp]; !again {
			gone = append(gone, tp)
		}
		answers[tp] = nil
	}
	if len(gone) == 0 {
		c.reply(ev.Ticket, DeleteOffsetsResponse{Partitions: answers})
		return
	}
	c.persist(g, encodeOffsetsRemoved(ev.Group, gone), func(_ time.Time, err error) {
		if err != nil {
			c.reply(ev.Ticket, DeleteOffsetsResponse{Err: err})
			return
		}
		c.reply(ev.Ticket, DeleteOffsetsResponse{Partitions: answers})
	})
	c.finishStep(now, g)
}

// onTopicDeleted persists one record that removes the topic's offsets from all groups. In the journal, the record is
// after every commit that was persisted before (docs/kafka-traps.md, trap 18).
func (c *Coordinator) onTopicDeleted(ev TopicDeleted) {
	if len(c.groups) > 0 || len(c.pendingRecords) > 0 {
		c.persist(nil, encodeTopicRemoved(ev.Topic), func(_ time.Time, err error) {
			if delete(c.pendingTopicRemovals, ev.Topic); err != nil {
				c.pendingTopicRemovals[ev.Topic] = err
			}
		})
	}
}

// PendingTopicRemovals returns the names, in order, of deleted topics whose offsets are still durable because the
// record of their removal failed; err is the error for the last of them. topics is nil if there are none. When records
// can be stored again, the engine must pass a TopicDeleted for each to Step. Before that, the engine must not create a
// topic with such a name, and must not take a snapshot, unless the deletion of the topic is replayed after the
// snapshot.
func (c *Coordinator) PendingTopicRemovals() (topics []string, err error) {
	for _, name := range slices.Sorted(maps.Keys(c.pendingTopicRemovals)) {
		topics, err = append(topics, name), c.pendingTopicRemovals[name]
	}
	return topics, err
}
