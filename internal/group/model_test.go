package group_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	. "tidings.dev/internal/group"
)

// modelPartitions is the number of partitions of the topic in TestModel.
const modelPartitions = 4

// TestModel has clients join, leave, die, commit and be late at random in a group whose broker may lose power and whose
// disk may be full. It checks invariant I6: a partition has one owner in each generation, and committed offsets never
// go back by themselves. A failure prints rapid's seed and the command that replays it.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &model{t: t, w: newFakeEngine(t, Options{}), owners: make(map[Generation]map[int]string), seen: make(map[int32]int64), acked: make(map[int32]int64)}
		m.w.hold = true
		for i := range 4 {
			c := &client{name: fmt.Sprint("client", i), knowsIDs: rapid.Bool().Draw(t, "knows MEMBER_ID_REQUIRED")}
			if rapid.Bool().Draw(t, "static") {
				c.instance = &c.name
			}
			m.clients = append(m.clients, c)
		}
		someone := func(t *rapid.T) *client { return rapid.SampledFrom(m.clients).Draw(t, "client") }
		t.Repeat(map[string]func(*rapid.T){
			"go on":      func(t *rapid.T) { m.goOn(someone(t)) },
			"go on too":  func(t *rapid.T) { m.goOn(someone(t)) },
			"all go on":  func(t *rapid.T) { m.allGoOn() },
			"commit":     func(t *rapid.T) { m.commit(someone(t)) },
			"leave":      func(t *rapid.T) { m.leave(someone(t)) },
			"die":        func(t *rapid.T) { someone(t).die() },
			"time":       func(t *rapid.T) { m.w.advance(time.Duration(rapid.IntRange(1, 15).Draw(t, "s")) * time.Second) },
			"durable":    func(t *rapid.T) { m.w.sync(nil) },
			"one":        func(t *rapid.T) { m.durableOne() },
			"disk full":  func(t *rapid.T) { m.w.sync(errors.New("the disk is full")) },
			"power cut":  func(t *rapid.T) { m.powerCut() },
			"checkpoint": func(t *rapid.T) { m.w.checkpoint() },
			"":           func(t *rapid.T) { m.check() },
		})
		m.calmDown()
	})
}

// model is the state of TestModel: the clients, and what is known from the coordinator's responses.
type model struct {
	t       *rapid.T
	w       *fakeEngine
	clients []*client
	owners  map[Generation]map[int]string // by generation and partition: the owner, from the assignments that were sent
	newest  Generation                    // the newest generation in owners
	counter int
	seen    map[int32]int64  // by partition: the last result of FetchOffsets
	acked   map[int32]int64  // by partition: the highest offset whose commit was acknowledged
	commits []commitUnderWay // commits without a response
}

// commitUnderWay is a commit that has no response yet.
type commitUnderWay struct {
	ticket    int
	partition int32
	offset    int
	stale     bool // when it was sent, assignments of a newer generation had been sent
}

// client is a consumer that only speaks the group protocol.
type client struct {
	name       string
	instance   *string
	knowsIDs   bool
	id         MemberID
	join, sync int // ticket of the request that has no response yet; 0 if there is none
	joined     JoinResponse
	owns       []byte
	owner      bool // the client has got its assignment, owns
}

// die makes the client forget its member id and its assignment.
func (c *client) die() { *c = client{name: c.name, instance: c.instance, knowsIDs: c.knowsIDs} }

// rejoin makes the client join again in its next step. It keeps its member id, unless err means that the id is not
// valid any more.
func (c *client) rejoin(err error) {
	id := c.id
	c.die()
	if !errors.Is(err, ErrUnknownMember) && !errors.Is(err, ErrFencedInstance) {
		c.id = id
	}
}

// identity returns the name of the client in model.owners: its instance id, or the member id of a dynamic member.
func (c *client) identity() string {
	if c.instance != nil {
		return *c.instance
	}
	return string(c.id)
}

// goOn makes a client take its next step: it joins, syncs, sends a heartbeat, or receives a response that has come.
func (m *model) goOn(c *client) {
	switch {
	case c.owner:
		ticket := m.w.ticket()
		m.w.step(Heartbeat{ticket, HeartbeatRequest{"g", c.id, c.instance, c.joined.Generation}})
		if err := must[HeartbeatResponse](m.w, ticket).Err; err != nil {
			c.rejoin(err)
		}
	case c.sync != 0:
		if r, ok := take[SyncResponse](m.w, c.sync); ok {
			m.onSync(c, r)
		}
	case c.join != 0:
		if r, ok := take[JoinResponse](m.w, c.join); ok {
			m.onJoin(c, r)
		}
	default:
		r := joining("g", c.id)
		r.InstanceID, r.RequireKnownMember, r.CanSkipAssignment = c.instance, c.knowsIDs, c.knowsIDs
		c.join = m.w.join(r)
	}
}

// onJoin handles the response to a client's join.
func (m *model) onJoin(c *client, r JoinResponse) {
	if r.Err != nil {
		c.rejoin(r.Err)
		if errors.Is(r.Err, ErrMemberIDRequired) {
			c.id = r.Member
		}
		return
	}
	c.join, c.id, c.joined = 0, r.Member, r
	assignments := make(map[MemberID][]byte)
	if !r.SkipAssignment {
		for p := range modelPartitions {
			if n := len(r.Members); n > 0 {
				id := r.Members[p%n].Member
				assignments[id] = append(assignments[id], byte(p))
			}
		}
	}
	c.sync = m.w.ticket()
	m.w.step(Sync{c.sync, SyncRequest{Group: "g", Member: c.id, InstanceID: c.instance, Generation: r.Generation, Assignments: assignments}})
}

// onSync handles the response to a client's sync, and checks that no partition of its assignment has another owner in
// the generation.
func (m *model) onSync(c *client, r SyncResponse) {
	if r.Err != nil {
		c.rejoin(r.Err)
		return
	}
	c.sync, c.owner, c.owns = 0, true, r.Assignment
	g := c.joined.Generation
	m.newest = max(m.newest, g)
	if m.owners[g] == nil {
		m.owners[g] = make(map[int]string)
	}
	for _, p := range c.owns {
		if other := m.owners[g][int(p)]; other != "" && other != c.identity() {
			m.t.Fatalf("partition %d is owned by %s and %s in generation %d", p, other, c.identity(), g)
		}
		m.owners[g][int(p)] = c.identity()
	}
}

// allGoOn makes every client take its next step.
func (m *model) allGoOn() {
	for _, c := range m.clients {
		m.goOn(c)
	}
}

// commit makes a client commit an offset in the first of its partitions, if it has any.
func (m *model) commit(c *client) {
	if !c.owner || len(c.owns) == 0 {
		return
	}
	m.counter++
	p := int32(c.owns[0])
	u := commitUnderWay{ticket: m.w.ticket(), partition: p, offset: m.counter, stale: m.newest > c.joined.Generation}
	m.w.step(Commit{u.ticket, CommitRequest{Group: "g", Member: c.id, InstanceID: c.instance, Generation: c.joined.Generation,
		Offsets: map[TopicPartition]Committed{tp("orders", p): {Offset: int64(m.counter)}}}})
	m.commits = append(m.commits, u)
}

// leave makes a client leave the group, if it is a member.
func (m *model) leave(c *client) {
	if c.id == "" {
		return
	}
	m.w.leave("g", LeavingMember{c.id, c.instance})
	c.die()
}

// durableOne makes the first waiting record durable.
func (m *model) durableOne() {
	if len(m.w.waiting) > 0 {
		m.w.syncOne(nil)
	}
}

// powerCut discards the records that are not durable. Clients that wait for a response join again.
func (m *model) powerCut() {
	m.w.crash()
	m.commits = nil
	for _, c := range m.clients {
		if c.join != 0 || c.sync != 0 {
			c.rejoin(nil)
		}
	}
}

// check fails the test if a commit of a stale owner was acknowledged, or if a durable offset has gone back.
func (m *model) check() {
	if counted, positions, wantCounted, wantPositions := m.w.c.Sizes(); counted != wantCounted || positions != wantPositions {
		m.t.Fatalf("%d bytes of members and %d of positions are counted; it are %d and %d", counted, positions, wantCounted, wantPositions)
	}
	underWay := m.commits[:0]
	for _, u := range m.commits {
		r, ok := take[CommitResponse](m.w, u.ticket)
		switch {
		case !ok:
			underWay = append(underWay, u)
		case r.Err == nil && u.stale:
			m.t.Fatalf("a commit of partition %d was taken from an owner of an older generation", u.partition)
		case r.Err == nil:
			m.acked[u.partition] = max(m.acked[u.partition], int64(u.offset))
		}
	}
	m.commits = underWay
	for p := range int32(modelPartitions) {
		now := m.w.c.FetchOffsets("g", []TopicPartition{tp("orders", p)})[tp("orders", p)].Offset
		if now < m.seen[p] || now < m.acked[p] {
			m.t.Fatalf("offset of partition %d went back to %d; seen %d, acknowledged %d", p, now, m.seen[p], m.acked[p])
		}
		m.seen[p] = now
	}
}

// calmDown checks that, some time after the last fault, every client has an assignment in the newest generation and
// every partition has an owner.
func (m *model) calmDown() {
	m.w.hold = false
	m.w.sync(nil)
	for range 150 {
		m.allGoOn()
		m.w.advance(time.Second)
	}
	m.check()
	owned := make(map[byte]bool)
	for _, c := range m.clients {
		if !c.owner || c.joined.Generation != m.newest {
			m.t.Fatalf("%s is no owner in generation %d when all is calm: %+v; group: %+v", c.name, m.newest, *c, m.w.c.Describe("g"))
		}
		for _, p := range c.owns {
			owned[p] = true
		}
	}
	if len(owned) != modelPartitions {
		m.t.Fatalf("only %d partitions are owned when all is calm", len(owned))
	}
}
