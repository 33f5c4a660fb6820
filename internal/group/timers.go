package group

import (
	"container/heap"
	"slices"
	"strings"
	"time"
)

// deletionDelay is how long a group is kept that has neither members nor offsets.
const deletionDelay = 10 * time.Minute

// timers is a heap of groups ordered by timerAt. Each group is in it once, at its next deadline or earlier: heartbeats
// and commits, which only extend deadlines, do not move the group, and a timer that fires too early is set again. A
// group without changes thus costs one timer for each session timeout. All methods except set and remove implement
// heap.Interface.
type timers struct{ heap []*group }

func (t *timers) Len() int           { return len(t.heap) }
func (t *timers) Less(i, j int) bool { return t.heap[i].timerAt.Before(t.heap[j].timerAt) }
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

// set sets the timer of g to the time at. The zero time removes the timer.
func (t *timers) set(g *group, at time.Time) {
	switch {
	case at.IsZero():
		t.remove(g)
	case g.heapIndex < 0:
		g.timerAt = at
		heap.Push(t, g)
	case !g.timerAt.Equal(at):
		g.timerAt = at
		heap.Fix(t, g.heapIndex)
	}
}

// remove removes the timer of g, if it has one.
func (t *timers) remove(g *group) {
	if g.heapIndex >= 0 {
		heap.Remove(t, g.heapIndex)
	}
}

// NextDeadline returns the time at which the next Tick is due, or false if none is due. The result may change with
// every step.
func (c *Coordinator) NextDeadline() (time.Time, bool) {
	if len(c.timers.heap) == 0 {
		return time.Time{}, false
	}
	return c.timers.heap[0].timerAt, true
}

// onTick acts on the deadlines of the groups whose timers have fired.
func (c *Coordinator) onTick(now time.Time) {
	var due []*group
	for len(c.timers.heap) > 0 && !c.timers.heap[0].timerAt.After(now) {
		due = append(due, heap.Pop(&c.timers).(*group))
	}
	for _, g := range due {
		c.expire(now, g)
		c.finishStep(now, g)
	}
}

// expire acts on the deadlines of a group that have passed: those of pending ids, sessions, joins, syncs and offsets.
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

// sessionRuns reports whether the member is removed when its deadline has passed. It is false while a request of the
// member waits for a reply, because the client cannot send heartbeats on that connection meanwhile. For a new member it
// is always true; its deadline is later instead (see newMemberTimeout).
func (m *member) sessionRuns() bool { return !m.waiting() || m.isNew }

// nextDeadline returns the earliest deadline of the group, which is never the zero time.
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

// offsetsExpireAt returns the earliest time at which an offset of the group, or the group itself, can expire.
func (c *Coordinator) offsetsExpireAt(now time.Time, g *group) time.Time {
	stored := c.durable.groups[g.id]
	if g.state == empty && (stored == nil || len(stored.offsets) == 0) {
		return later(g.emptySince, now).Add(deletionDelay)
	}
	next := now.Add(24 * 365 * time.Hour)
	if c.o.OffsetRetention < 0 {
		return next
	}
	if stored != nil {
		for tp, o := range stored.offsets {
			if since, ok := g.unusedSince(tp, o); ok && since.Add(c.o.OffsetRetention).Before(next) {
				next = since.Add(c.o.OffsetRetention)
			}
		}
	}
	// Offsets that are committed from now on cannot expire before this time.
	if earliest := now.Add(c.o.OffsetRetention); earliest.Before(next) {
		next = earliest
	}
	return next
}

// unusedSince returns the time from which the retention of an offset counts (docs/kafka-traps.md, trap 15), or false if
// the offset is in use and does not expire. In a group that never had members, that is the time of the commit. In a
// group of consumers it is the time at which the group became empty or, if the group has members but none subscribes to
// the topic, the time of the commit.
func (g *group) unusedSince(tp TopicPartition, o Committed) (since time.Time, ok bool) {
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

// expireOffsets removes the offsets that have expired. If the group then has neither members nor offsets, it removes
// the group.
func (c *Coordinator) expireOffsets(now time.Time, g *group) {
	if g.inFlight > 0 {
		// The record of the removal would come after the commits in flight, and would remove their offsets, too. Try
		// again later.
		g.expiresAt = now.Add(time.Second)
		return
	}
	g.expiresAt = time.Time{}
	kept := 0
	var gone []TopicPartition
	if stored := c.durable.groups[g.id]; stored != nil {
		kept = len(stored.undecided) // these keep the group
		kept += len(stored.offsets)
		if c.o.OffsetRetention >= 0 {
			for tp, o := range stored.offsets {
				if since, ok := g.unusedSince(tp, o); ok && !now.Before(since.Add(c.o.OffsetRetention)) {
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
				c.restoreDropped(now, g)
			}
		})
	case len(gone) > 0:
		c.persist(g, encodeOffsetsRemoved(g.id, gone), nil)
		g.expiresAt = now.Add(time.Second) // the removal should be durable by then
	}
}

// later returns the later of a and b.
func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// inOrder returns all groups in order of id.
func (c *Coordinator) inOrder() []*group {
	all := make([]*group, 0, len(c.groups))
	for _, g := range c.groups {
		all = append(all, g)
	}
	slices.SortFunc(all, func(a, b *group) int { return strings.Compare(a.id, b.id) })
	return all
}
