package group

import (
	"cmp"
	"crypto/rand"
	"fmt"
	"slices"
	"time"
)

// Options of a coordinator. The zero value of each field is the default named beside it.
type Options struct {
	InitialRebalanceDelay time.Duration // 0: the first generation forms as soon as its first member has joined
	MinSessionTimeout     time.Duration // 6 s
	MaxSessionTimeout     time.Duration // 30 min
	MaxGroupSize          int           // no limit
	OffsetRetention       time.Duration // 7 days from when the group became empty; negative: for ever
	MaxMetadataBytes      int           // 4096
	NewID                 func() string // the random part of a member id, never the same twice: a random UUID
}

// WithDefaults returns the options in force.
func (o Options) WithDefaults() Options {
	o.MinSessionTimeout = cmp.Or(o.MinSessionTimeout, 6*time.Second)
	o.MaxSessionTimeout = cmp.Or(o.MaxSessionTimeout, 30*time.Minute)
	o.OffsetRetention = cmp.Or(o.OffsetRetention, 7*24*time.Hour)
	o.MaxMetadataBytes = cmp.Or(o.MaxMetadataBytes, 4096)
	if o.NewID == nil {
		o.NewID = newUUID
	}
	return o
}

// newUUID is a random (version 4) UUID, the form in which Kafka's clients are used to see member ids.
func newUUID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// Coordinator holds every group: who is a member, of which generation, with which assignment, and what was committed.
//
// It has two sides. The live side (groups) decides, and runs ahead of the disk. The durable side (image) is what the
// journal holds for certain: offsets are read from it and snapshots are taken of it, so that nobody ever sees a commit
// that a power cut could take back.
//
// It is not safe for concurrent use: the engine holds one lock around Step and the methods that read.
type Coordinator struct {
	o       Options
	groups  map[string]*group
	image   image
	timers  timers
	flights map[uint64]flight
	owed    map[string]error // deleted topics whose removal was refused, and why
	lastID  uint64
	out     []Effect // of the step under way
}

// flight is a record on its way to the disk, and what is to be done when it is there.
type flight struct {
	record []byte
	group  *group // as it was then, perhaps deleted since; nil: none in particular
	landed func(now time.Time, err error)
}

// New returns an empty coordinator. When something is restored with Load and ApplyRecord, Resume must be called before the
// first Step.
func New(o Options) *Coordinator {
	return &Coordinator{
		o:       o.WithDefaults(),
		groups:  make(map[string]*group),
		image:   newImage(),
		flights: make(map[uint64]flight),
		owed:    make(map[string]error),
	}
}

// Step takes one event and returns what is to be done, in order. The time of one step must not be before that of the last.
// The slice is the caller's.
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

func (c *Coordinator) take() []Effect {
	out := c.out
	c.out = nil
	return out
}

func (c *Coordinator) reply(t Ticket, response any) {
	c.out = append(c.out, Reply{Ticket: t, Response: response})
}

// persist gives a record out. landed (may be nil) runs when it is durable, after the image has it, or when it failed; it
// must not persist anything itself, since it runs on the goroutine that commits.
func (c *Coordinator) persist(g *group, record []byte, landed func(now time.Time, err error)) {
	c.lastID++
	c.flights[c.lastID] = flight{record: record, group: g, landed: landed}
	if g != nil {
		g.inFlight++
	}
	c.out = append(c.out, Persist{ID: c.lastID, Record: record})
}

func (c *Coordinator) onPersisted(now time.Time, ev Persisted) {
	f, ok := c.flights[ev.ID]
	if !ok {
		return
	}
	delete(c.flights, ev.ID)
	err := ev.Err
	if err == nil {
		err = c.image.apply(f.record)
	}
	if f.group != nil {
		f.group.inFlight--
	}
	if f.landed != nil {
		f.landed(now, err)
	}
}

// settle is called for each group that a step has touched, last of all: it puts what has changed on record, sets the
// group's timer, and forgets a group that nothing came of.
func (c *Coordinator) settle(now time.Time, g *group) {
	if c.groups[g.id] != g {
		return
	}
	if g.state == empty && g.recorded == 0 && g.generation == 0 && len(g.pending) == 0 && g.inFlight == 0 && !c.image.has(g.id) {
		c.drop(g)
		return
	}
	if g.state == preparing && g.recorded == stable {
		// So that a restart finds the group rebalancing, and without those who have left (trap 16 of KAFKA.md). Nobody
		// waits for this record.
		c.record(now, g, nil)
	}
	c.rearm(now, g)
}

// rearm sets the group's timer anew, unless the group is gone.
func (c *Coordinator) rearm(now time.Time, g *group) {
	if c.groups[g.id] == g {
		c.timers.set(g, c.nextDeadline(now, g))
	}
}

// record gives out the group as it stands.
func (c *Coordinator) record(now time.Time, g *group, landed func(now time.Time, err error)) {
	g.recorded = g.state
	c.persist(g, encodeGroup(c.recordOf(now, g)), landed)
}

func (c *Coordinator) recordOf(now time.Time, g *group) groupRecord {
	r := groupRecord{
		id: g.id, state: g.state, generation: g.generation, protocolType: g.protocolType,
		protocol: g.protocol, leader: g.leader, since: now, members: g.members,
	}
	switch g.state {
	case empty:
		r.since = g.emptySince
	case preparing:
		// Who has not been in a generation yet may not even know its id, and would be waited for in vain.
		r.members = slices.DeleteFunc(slices.Clone(g.members), func(m *member) bool { return m.fresh })
	}
	return r
}

// open returns the group, made if need be.
func (c *Coordinator) open(now time.Time, id string) *group {
	g := c.groups[id]
	if g == nil {
		g = &group{id: id, state: empty, emptySince: now, heapIndex: -1}
		c.groups[id] = g
	}
	return g
}

// revive puts a group without members back that was dropped, if its removal failed.
func (c *Coordinator) revive(now time.Time, g *group) {
	if c.groups[g.id] == nil {
		c.groups[g.id] = g
		c.rearm(now, g)
	}
}

// drop takes a group out of the live side.
func (c *Coordinator) drop(g *group) {
	c.timers.remove(g)
	delete(c.groups, g.id)
}

// Resume begins service after Load and ApplyRecord: members get a whole session to be heard from, and groups that
// were not stable rebalance (trap 16 of KAFKA.md).
func (c *Coordinator) Resume(now time.Time) []Effect {
	for id, stored := range c.image.groups {
		g := &group{id: id, state: empty, emptySince: now, heapIndex: -1}
		c.groups[id] = g
		if stored.meta != nil {
			c.restore(now, g, stored.meta)
		}
	}
	for _, g := range c.inOrder() {
		c.settle(now, g)
	}
	return c.take()
}

func (c *Coordinator) restore(now time.Time, g *group, meta []byte) {
	r, err := decodeGroup(meta)
	if err != nil {
		return // it was decoded when the image took it
	}
	g.state, g.recorded = r.state, r.state
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
		// The next generation may have been formed, and its number is used again: no harm, since nobody was given an
		// assignment in it. Until then the members are still owners in the last one, and may commit.
		g.joinDeadline = now.Add(g.rebalanceTimeout())
	}
}
