package group

import (
	"maps"
	"slices"
	"time"
)

func (c *Coordinator) onCommit(now time.Time, ev Commit) {
	refuse := func(err error) { c.reply(ev.Ticket, CommitResponse{Err: err}) }
	g := c.groups[ev.Group]
	if g == nil {
		if ev.Generation >= 0 {
			refuse(ErrIllegalGeneration)
			return
		}
		g = c.open(now, ev.Group)
	}
	defer c.settle(now, g)
	m, err := g.mayCommit(&ev.CommitRequest)
	if err != nil {
		refuse(err)
		return
	}
	if m != nil {
		m.touch(now) // a commit is a sign of life
	}
	at := time.UnixMilli(now.UnixMilli())
	answers := make(map[TopicPartition]error, len(ev.Offsets))
	taken := make(map[TopicPartition]Committed, len(ev.Offsets))
	for tp, offset := range ev.Offsets {
		if len(offset.Metadata) > c.o.MaxMetadataBytes {
			answers[tp] = ErrOffsetMetadataTooLarge
			continue
		}
		offset.At = at
		taken[tp] = offset
		answers[tp] = nil
	}
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

// mayCommit says whether a commit is allowed, and by which member it is; a plain commit has none.
func (g *group) mayCommit(r *CommitRequest) (*member, error) {
	if r.Generation < 0 && g.state == empty {
		return nil, nil // nobody's, or an administrator's
	}
	if r.Generation < 0 && r.Member == "" && r.InstanceID == nil {
		return nil, ErrUnknownMember // the partitions have owners
	}
	m, err := g.find(r.Member, r.InstanceID)
	switch {
	case err != nil:
		return nil, err
	case r.Generation != g.generation:
		return nil, ErrIllegalGeneration
	case g.state == completing:
		// The partitions are being given to others just now; while preparing they are still this member's.
		return nil, ErrRebalanceInProgress
	}
	return m, nil
}

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
				c.revive(now, g)
			}
			c.reply(ev.Ticket, DeleteGroupResponse{Err: err})
		})
	}
}

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
	c.settle(now, g)
}

// onTopicDeleted: one record for all groups, so that it takes its place behind every commit given out before it (trap 18
// of KAFKA.md).
func (c *Coordinator) onTopicDeleted(ev TopicDeleted) {
	if len(c.groups) > 0 || len(c.flights) > 0 {
		c.persist(nil, encodeTopicRemoved(ev.Topic), func(_ time.Time, err error) {
			if delete(c.owed, ev.Topic); err != nil {
				c.owed[ev.Topic] = err
			}
		})
	}
}

// Owed names the deleted topics whose offsets are still there, since the record of their removal failed, and why the last
// did; nil: there are none. The engine steps TopicDeleted again for each when records can be stored again; until then no
// topic of that name may be made, nor a snapshot taken that is not followed by the deletion when it is replayed.
func (c *Coordinator) Owed() (topics []string, err error) {
	for _, name := range slices.Sorted(maps.Keys(c.owed)) {
		topics, err = append(topics, name), c.owed[name]
	}
	return topics, err
}
