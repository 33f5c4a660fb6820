package group

import (
	"cmp"
	"crypto/rand"
	"fmt"
	"slices"
	"time"
)

// Options are the settings of a coordinator. A field that is zero has the default named beside it.
type Options struct {
	InitialRebalanceDelay time.Duration // how long a group waits for more members before its first generation; default 0
	MinSessionTimeout     time.Duration // default 6 s
	MaxSessionTimeout     time.Duration // default 30 min
	MaxGroupSize          int           // members in one group; default: no limit
	// OffsetRetention is how long offsets are kept after the group became empty (docs/kafka-traps.md, trap 15). Default
	// 7 days; negative means for ever.
	OffsetRetention  time.Duration
	MaxMetadataBytes int           // length of the metadata of one offset; default 4096
	MaxMemberBytes   int64         // memory of the members of all groups, about; default 64 MiB
	MaxGroupBytes    int64         // memory of the members of one group, about; default 2 MiB
	MaxPositionBytes int64         // memory of the committed offsets of all groups, about; default 64 MiB
	NewID            func() string // returns the unique part of a new member id; default: a random UUID
}

// WithDefaults returns o with the default in place of each zero value.
func (o Options) WithDefaults() Options {
	o.MinSessionTimeout = cmp.Or(o.MinSessionTimeout, 6*time.Second)
	o.MaxSessionTimeout = cmp.Or(o.MaxSessionTimeout, 30*time.Minute)
	o.OffsetRetention = cmp.Or(o.OffsetRetention, 7*24*time.Hour)
	o.MaxMetadataBytes = cmp.Or(o.MaxMetadataBytes, 4096)
	o.MaxMemberBytes = cmp.Or(o.MaxMemberBytes, 64<<20)
	o.MaxGroupBytes = cmp.Or(o.MaxGroupBytes, 2<<20)
	o.MaxPositionBytes = cmp.Or(o.MaxPositionBytes, 64<<20)
	if o.NewID == nil {
		o.NewID = newUUID
	}
	return o
}

// newUUID returns a random UUID (version 4), which Apache Kafka uses for member ids, too.
func newUUID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// Coordinator holds all groups: their members, generations, assignments and committed offsets. [New] makes a
// Coordinator. It is not safe for concurrent use: the engine holds one lock around all calls.
//
// The coordinator keeps two states. Requests are checked and decided by groups, which is ahead of the disk. durable is
// what the journal certainly has; offsets and snapshots are read from durable, so that no client sees a commit that a
// power cut could undo.
//
// Invariants between two steps:
//
//   - durable is the result of exactly the records whose Persisted came without error, in order.
//   - pendingRecords has the records whose Persisted has not come; group.inFlight is the number of those of one group.
//   - every group in groups is in timers, at its next deadline or earlier.
type Coordinator struct {
	o                    Options
	groups               map[string]*group
	durable              durableState
	timers               timers
	pendingRecords       map[uint64]pendingRecord // by Persist.ID
	pendingTopicRemovals map[string]error         // deleted topics whose removal could not be persisted, with the error
	lastID               uint64                   // ID of the last Persist
	memberBytes          int64                    // memory of groups: sum of group.countedBytes
	out                  []Effect                 // effects of the present step
}

// pendingRecord is a record that was returned in a Persist whose Persisted has not come.
type pendingRecord struct {
	record    []byte
	group     *group                         // counts the record in inFlight; it may have been dropped since. nil: none
	onDurable func(now time.Time, err error) // see Coordinator.persist
}

// New returns an empty coordinator. The caller restores its state before the first Step: it calls Load if there is a
// snapshot, then ApplyRecord for each later record of the journal, then Resume.
func New(o Options) *Coordinator {
	return &Coordinator{
		o:                    o.WithDefaults(),
		groups:               make(map[string]*group),
		durable:              newDurableState(),
		pendingRecords:       make(map[uint64]pendingRecord),
		pendingTopicRemovals: make(map[string]error),
	}
}

// Step handles one event and returns the effects that the engine must perform, in order. now must not be earlier than
// in a call before. The caller owns the slice.
func (c *Coordinator) Step(now time.Time, ev Event) []Effect {
	switch ev := ev.(type) {
	case Join:
		c.onJoin(now, ev)
	case Sync:
		c.onSync(now, ev)
	case Heartbeat:
		c.onHeartbeat(now, ev)
	case Leave:
		c.onLeave(now, ev)
	case Commit:
		c.onCommit(now, ev)
	case TransactionalCommit:
		c.onTransactionalCommit(now, ev)
	case EndTransaction:
		c.persist(nil, encodeEnd(ev.Producer, ev.Commit, ev.Groups), nil)
	case DeleteGroup:
		c.onDeleteGroup(now, ev)
	case DeleteOffsets:
		c.onDeleteOffsets(now, ev)
	case TopicDeleted:
		c.onTopicDeleted(ev)
	case Tick:
		c.onTick(now)
	case Persisted:
		c.onPersisted(now, ev)
	}
	return c.take()
}

// take returns the effects of the present step, and empties out for the next step.
func (c *Coordinator) take() []Effect {
	out := c.out
	c.out = nil
	return out
}

// reply adds a Reply to the effects of the step.
func (c *Coordinator) reply(t Ticket, response any) {
	c.out = append(c.out, Reply{Ticket: t, Response: response})
}

// persist adds a Persist of record to the effects of the step. g is the group that counts the record in inFlight, or
// nil. onDurable, unless nil, is called in the step of the Persisted: with nil when durable has the record, or with the
// error. onDurable must not call persist, because the goroutine that commits the journal may run that step.
func (c *Coordinator) persist(g *group, record []byte, onDurable func(now time.Time, err error)) {
	c.lastID++
	c.pendingRecords[c.lastID] = pendingRecord{record: record, group: g, onDurable: onDurable}
	if g != nil {
		g.inFlight++
	}
	c.out = append(c.out, Persist{ID: c.lastID, Record: record})
}

// onPersisted applies a record that has become durable, and calls its onDurable.
func (c *Coordinator) onPersisted(now time.Time, ev Persisted) {
	f, ok := c.pendingRecords[ev.ID]
	if !ok {
		return
	}
	delete(c.pendingRecords, ev.ID)
	err := ev.Err
	if err == nil {
		err = c.durable.apply(f.record)
	}
	if f.group != nil {
		f.group.inFlight--
	}
	if f.onDurable != nil {
		f.onDurable(now, err)
	}
}

// finishStep must be called at the end of a step for each group that the step has changed. It persists that a rebalance
// has begun, sets the group's timer, and drops a group that has neither members nor durable state.
func (c *Coordinator) finishStep(now time.Time, g *group) {
	if c.groups[g.id] != g {
		return
	}
	c.recount(g)
	if g.state == empty && g.recordedState == 0 && g.generation == 0 && len(g.pending) == 0 && g.inFlight == 0 && !c.durable.has(g.id) {
		c.drop(g)
		return
	}
	if g.state == preparing && g.recordedState == stable {
		// After a restart the group then rebalances, without the members that have left (docs/kafka-traps.md, trap 16).
		// No reply waits for this record.
		c.record(now, g, nil)
	}
	c.rearm(now, g)
}

// rearm sets the group's timer to its next deadline. It does nothing if the group was dropped.
func (c *Coordinator) rearm(now time.Time, g *group) {
	if c.groups[g.id] == g {
		c.timers.set(g, c.nextDeadline(now, g))
	}
}

// record persists the present state of the group. onDurable may be nil; see persist.
func (c *Coordinator) record(now time.Time, g *group, onDurable func(now time.Time, err error)) {
	g.recordedState = g.state
	c.persist(g, encodeGroup(c.recordOf(now, g)), onDurable)
}

// recordOf returns the present state of the group as a groupRecord, which shares the members with the group.
func (c *Coordinator) recordOf(now time.Time, g *group) groupRecord {
	r := groupRecord{
		id: g.id, state: g.state, generation: g.generation, protocolType: g.protocolType,
		protocol: g.protocol, leader: g.leader, since: now, members: g.members,
	}
	switch g.state {
	case empty:
		r.since = g.emptySince
	case preparing:
		// A member that was in no generation yet may not know its id; after a restart the group would wait for it in
		// vain.
		r.members = slices.DeleteFunc(slices.Clone(g.members), func(m *member) bool { return m.isNew })
	}
	return r
}

// getOrCreate returns the group with this id. If there is none, it adds a group without members.
func (c *Coordinator) getOrCreate(now time.Time, id string) *group {
	g := c.groups[id]
	if g == nil {
		g = &group{id: id, state: empty, emptySince: now, heapIndex: -1}
		c.groups[id] = g
	}
	return g
}

// restoreDropped adds a dropped group again, because its removal could not be persisted. If a new group has its id by
// now, restoreDropped does nothing.
func (c *Coordinator) restoreDropped(now time.Time, g *group) {
	if c.groups[g.id] == nil {
		c.groups[g.id] = g
		c.recount(g)
		c.rearm(now, g)
	}
}

// drop removes a group from groups and timers. The group stays in durable until its removal is durable.
func (c *Coordinator) drop(g *group) {
	c.timers.remove(g)
	delete(c.groups, g.id)
	c.memberBytes -= g.countedBytes
	g.countedBytes = 0
}

// Resume makes the coordinator ready for Step, after Load and ApplyRecord, and returns its first effects. Each member
// gets a whole session timeout from now to send a request, and groups that were rebalancing go on to rebalance
// (docs/kafka-traps.md, trap 16).
func (c *Coordinator) Resume(now time.Time) []Effect {
	for id, stored := range c.durable.groups {
		g := &group{id: id, state: empty, emptySince: now, heapIndex: -1}
		c.groups[id] = g
		if stored.meta != nil {
			c.restore(now, g, stored.meta)
		}
	}
	for _, g := range c.inOrder() {
		c.finishStep(now, g)
	}
	return c.take()
}

// restore sets the state of g from meta, its last durable group record.
func (c *Coordinator) restore(now time.Time, g *group, meta []byte) {
	r, err := decodeGroup(meta)
	if err != nil {
		return // cannot happen: durable.apply has decoded meta before
	}
	g.state, g.recordedState = r.state, r.state
	g.generation, g.protocolType, g.protocol, g.leader = r.generation, r.protocolType, r.protocol, r.leader
	g.members = r.members
	for _, m := range g.members {
		m.deadline = now.Add(m.sessionTimeout)
		m.synced = true
	}
	switch g.state {
	case empty:
		g.emptySince = r.since
	case stable:
		g.topics = subscribed(g)
	case preparing:
		// The next generation may have been formed before the restart without being recorded; its number is then used
		// again. That does no harm, as no member has an assignment in it. Until the next generation is formed, the
		// members own the partitions of the recorded one, and may commit.
		g.joinDeadline = now.Add(g.rebalanceTimeout())
	}
}
