package group

import (
	"container/heap"
	"slices"
	"strings"
	"time"
)

// deletionDelay is how long a group without members and offsets is kept.
const deletionDelay = 10 * time.Minute

// timers orders groups by when they must be looked at. A group stands in it once, at or before its next deadline: what
// only moves deadlines back (heartbeats, commits) does not touch it, and a look that came too early sets the next one.
// So a steady group costs one look per session timeout, and an idle broker none.
type timers struct{ heap []*group }

func (t *timers) Len() int           { return len(t.heap) }
func (t *timers) Less(i, j int) bool { return t.heap[i].wakeAt.Before(t.heap[j].wakeAt) }
func (t *timers) Swap(i, j int) {
	t.heap[i], t.heap[j] = t.heap[j], t.heap[i]
	t.heap[i].heapIndex, t.heap[j].heapIndex = i, j
}
func (t *timers) Push(x any) {
	g := x.(*group)
	g.heapIndex = len(t.heap)
	t.heap = append(t.heap, g)
}
func (t *timers) Pop() any {
	last := len(t.heap) - 1
	g := t.heap[last]
	t.heap[last] = nil
	t.heap = t.heap[:last]
	g.heapIndex = -1
	return g
}

// set gives a group its place; the zero time takes it out.
func (t *timers) set(g *group, at time.Time) {
	switch {
	case at.IsZero():
		t.remove(g)
	case g.heapIndex < 0:
		g.wakeAt = at
		heap.Push(t, g)
	case !g.wakeAt.Equal(at):
		g.wakeAt = at
		heap.Fix(t, g.heapIndex)
	}
}

func (t *timers) remove(g *group) {
	if g.heapIndex >= 0 {
		heap.Remove(t, g.heapIndex)
	}
}

// NextDeadline returns when a Tick is due; false when nothing is waited for. It may change with every step.
func (c *Coordinator) NextDeadline() (time.Time, bool) {
	if len(c.timers.heap) == 0 {
		return time.Time{}, false
	}
	return c.timers.heap[0].wakeAt, true
}

func (c *Coordinator) onTick(now time.Time) {
	var due []*group
	for len(c.timers.heap) > 0 && !c.timers.heap[0].wakeAt.After(now) {
		due = append(due, heap.Pop(&c.timers).(*group))
	}
	for _, g := range due {
		c.expire(now, g)
		c.settle(now, g)
	}
}

// expire does what is due in one group.
func (c *Coordinator) expire(now time.Time, g *group) {
	due := func(t time.Time) bool { return !t.After(now) }
	pending := len(g.pending)
	for id, p := range g.pending {
		if due(p.deadline) {
			delete(g.pending, id)
		}
	}
	if len(g.pending) < pending {
		c.tryComplete(now, g)
	}
	c.remove(now, g, func(m *member) bool { return m.sessionRuns() && due(m.deadline) })
	if g.state == preparing && due(g.joinDeadline) {
		c.onJoinDeadline(now, g)
	}
	if (g.state == completing || g.state == stable) && !g.allSynced() && due(g.syncDeadline) {
		c.onSyncDeadline(now, g)
	}
	if !g.expiresAt.IsZero() && due(g.expiresAt) {
		c.expireOffsets(now, g)
	}
}

// sessionRuns: whoever waits for an answer cannot send heartbeats on that connection. But one who waits for its first
// generation has shown no life but that.
func (m *member) sessionRuns() bool { return !m.waiting() || m.fresh }

// nextDeadline is when the group must be looked at next; never zero.
func (c *Coordinator) nextDeadline(now time.Time, g *group) time.Time {
	if g.expiresAt.IsZero() {
		g.expiresAt = c.offsetsExpireAt(now, g)
	}
	next := g.expiresAt
	sooner := func(t time.Time) {
		if t.Before(next) {
			next = t
		}
	}
	for _, p := range g.pending {
		sooner(p.deadline)
	}
	for _, m := range g.members {
		if m.sessionRuns() {
			sooner(m.deadline)
		}
	}
	switch g.state {
	case preparing:
		sooner(g.joinDeadline)
	case completing, stable:
		if !g.allSynced() {
			sooner(g.syncDeadline)
		}
	}
	return next
}

// offsetsExpireAt is the earliest time at which some offset of the group may have expired, or the group itself.
func (c *Coordinator) offsetsExpireAt(now time.Time, g *group) time.Time {
	stored := c.image.groups[g.id]
	if g.state == empty && (stored == nil || len(stored.offsets) == 0) {
		return later(g.emptySince, now).Add(deletionDelay)
	}
	next := now.Add(24 * 365 * time.Hour)
	if c.o.OffsetRetention < 0 {
		return next
	}
	if stored != nil {
		for tp, o := range stored.offsets {
			if since, ok := g.unused(tp, o); ok && since.Add(c.o.OffsetRetention).Before(next) {
				next = since.Add(c.o.OffsetRetention)
			}
		}
	}
	// What is committed from now on cannot expire before this.
	if fresh := now.Add(c.o.OffsetRetention); fresh.Before(next) {
		next = fresh
	}
	return next
}

// unused says since when nobody has used an offset (trap 15 of KAFKA.md): in a group of consumers, since the group
// became empty, or, if it has members that do not subscribe to the topic, since the commit; in a group of plain
// commits, since the commit. An offset in use never expires.
func (g *group) unused(tp TopicPartition, o Committed) (since time.Time, ok bool) {
	switch {
	case g.protocolType == "":
		return o.At, true
	case g.state == empty:
		return later(g.emptySince, o.At), true
	case g.state == stable && g.topics != nil && !g.topics[tp.Topic]:
		return o.At, true
	}
	return time.Time{}, false
}

func (c *Coordinator) expireOffsets(now time.Time, g *group) {
	if g.inFlight > 0 {
		// A commit under way would come before the removal in the journal and be taken by it.
		g.expiresAt = now.Add(time.Second)
		return
	}
	g.expiresAt = time.Time{}
	kept := 0
	var gone []TopicPartition
	if stored := c.image.groups[g.id]; stored != nil {
		kept = len(stored.offsets)
		if c.o.OffsetRetention >= 0 {
			for tp, o := range stored.offsets {
				if since, ok := g.unused(tp, o); ok && !now.Before(since.Add(c.o.OffsetRetention)) {
					gone = append(gone, tp)
				}
			}
		}
	}
	switch {
	case g.state == empty && len(g.pending) == 0 && len(gone) == kept:
		if len(gone) == 0 && now.Before(g.emptySince.Add(deletionDelay)) {
			return
		}
		c.drop(g)
		c.persist(nil, encodeGroupRemoved(g.id), func(now time.Time, err error) {
			if err != nil {
				g.expiresAt = now.Add(time.Second)
				c.revive(now, g)
			}
		})
	case len(gone) > 0:
		c.persist(g, encodeOffsetsRemoved(g.id, gone), nil)
		g.expiresAt = now.Add(time.Second) // by then the image says what is left
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// inOrder returns the groups by id.
func (c *Coordinator) inOrder() []*group {
	all := make([]*group, 0, len(c.groups))
	for _, g := range c.groups {
		all = append(all, g)
	}
	slices.SortFunc(all, func(a, b *group) int { return strings.Compare(a.id, b.id) })
	return all
}
