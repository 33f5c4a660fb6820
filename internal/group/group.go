package group

import (
	"bytes"
	"slices"
	"time"
)

// state of a group. A group that is Dead is not there.
type state uint8

const (
	empty      state = 1 // no members; perhaps offsets
	preparing  state = 2 // waiting for every member to join
	completing state = 3 // the generation is formed; waiting for the leader's assignment to come and be durable
	stable     state = 4 // the assignment is durable and given to those who ask
)

func (s state) String() string {
	return [...]string{"Dead", "Empty", "PreparingRebalance", "CompletingRebalance", "Stable"}[s]
}

// group is the live side of one group; what is durable of it stands in the image.
type group struct {
	id           string
	state        state
	generation   Generation
	protocolType string // of its members, or of the last ones; empty: only plain commits
	protocol     string // chosen for this generation
	leader       MemberID
	members      []*member                // in order of joining
	pending      map[MemberID]pendingJoin // an id was given by MEMBER_ID_REQUIRED, and they have not come back with it
	emptySince   time.Time
	topics       map[string]bool // what this generation subscribes to; nil: not known

	joinDeadline time.Time // while preparing
	syncDeadline time.Time // while completing, and stable until every member has synced
	initialUntil time.Time // while preparing after empty with an initial delay: the longest it may be extended
	grew         bool      // likewise: a member came since the deadline was set

	recorded  state     // that of the last record given out: empty, preparing, stable; 0: none
	inFlight  int       // records given out and not yet durable
	storing   bool      // the assignment of this generation is among them
	expiresAt time.Time // when to look for expired offsets; zero: to be found out
	wakeAt    time.Time // its place in the timer heap
	heapIndex int       // -1: not in it
}

type pendingJoin struct{ deadline time.Time }

type member struct {
	id               MemberID
	instance         *string
	clientID, host   string
	sessionTimeout   time.Duration
	rebalanceTimeout time.Duration
	protocols        []Protocol
	assignment       []byte
	deadline         time.Time // of its session; not looked at while it waits, unless fresh
	fresh            bool      // it has not been in a generation yet
	synced           bool      // it has asked for its assignment in this generation
	join, sync       *waiter   // the request that waits, or nil
}

// waiter is a request to be answered later. Its address tells requests apart: tickets need not be comparable.
type waiter struct {
	ticket  Ticket
	canSkip bool
}

// touch is a sign of life. It moves the deadline back only, so that the timer need not know: it finds out when it fires.
func (m *member) touch(now time.Time) {
	m.deadline = later(m.deadline, now.Add(m.sessionTimeout))
}

func (m *member) waiting() bool { return m.join != nil || m.sync != nil }

func (m *member) supports(protocol string) bool {
	return slices.ContainsFunc(m.protocols, func(p Protocol) bool { return p.Name == protocol })
}

func (m *member) metadata(protocol string) []byte {
	for _, p := range m.protocols {
		if p.Name == protocol {
			return p.Metadata
		}
	}
	return nil
}

func (m *member) offers(ps []Protocol) bool {
	return slices.EqualFunc(m.protocols, ps, func(a, b Protocol) bool {
		return a.Name == b.Name && bytes.Equal(a.Metadata, b.Metadata)
	})
}

func (g *group) member(id MemberID) *member {
	for _, m := range g.members {
		if m.id == id {
			return m
		}
	}
	return nil
}

func (g *group) static(instance string) *member {
	for _, m := range g.members {
		if m.instance != nil && *m.instance == instance {
			return m
		}
	}
	return nil
}

// find returns the member that a request comes from, or why it is none (KIP-345): ErrUnknownMember, ErrFencedInstance.
func (g *group) find(id MemberID, instance *string) (*member, error) {
	if instance != nil {
		switch m := g.static(*instance); {
		case m == nil:
			return nil, ErrUnknownMember
		case m.id != id:
			return nil, ErrFencedInstance
		default:
			return m, nil
		}
	}
	if m := g.member(id); m != nil {
		return m, nil
	}
	return nil, ErrUnknownMember
}

// accepts says whether a member with these protocols can be in the group with the others.
func (g *group) accepts(protocolType string, ps []Protocol, except MemberID) bool {
	if protocolType == "" || len(ps) == 0 {
		return false
	}
	if len(g.members) == 0 {
		return true
	}
	if protocolType != g.protocolType {
		return false
	}
	return slices.ContainsFunc(ps, func(p Protocol) bool {
		for _, m := range g.members {
			if m.id != except && !m.supports(p.Name) {
				return false
			}
		}
		return true
	})
}

// choose picks the protocol by vote: each member votes for the first of its own that all support; of equal ones wins
// the one that the longest-standing member likes best.
func (g *group) choose() string {
	common := func(name string) bool {
		return !slices.ContainsFunc(g.members, func(m *member) bool { return !m.supports(name) })
	}
	votes := make(map[string]int)
	for _, m := range g.members {
		if i := slices.IndexFunc(m.protocols, func(p Protocol) bool { return common(p.Name) }); i >= 0 {
			votes[m.protocols[i].Name]++
		}
	}
	best := ""
	for _, p := range g.members[0].protocols {
		if votes[p.Name] > votes[best] {
			best = p.Name
		}
	}
	return best
}

// rebalanceTimeout is how long the group waits for its slowest member.
func (g *group) rebalanceTimeout() time.Duration {
	var longest time.Duration
	for _, m := range g.members {
		longest = max(longest, m.rebalanceTimeout)
	}
	return longest
}

// allJoined says that nobody is being waited for.
func (g *group) allJoined() bool {
	return len(g.pending) == 0 && !slices.ContainsFunc(g.members, func(m *member) bool { return m.join == nil })
}

func (g *group) roster() []JoinedMember {
	all := make([]JoinedMember, 0, len(g.members))
	for _, m := range g.members {
		all = append(all, JoinedMember{Member: m.id, InstanceID: m.instance, Metadata: m.metadata(g.protocol)})
	}
	return all
}

// joined is the answer to a member of the present generation.
func (g *group) joined(m *member) JoinResponse {
	r := JoinResponse{
		Generation:   g.generation,
		ProtocolType: g.protocolType,
		Protocol:     g.protocol,
		Leader:       g.leader,
		Member:       m.id,
	}
	if m.id == g.leader {
		r.Members = g.roster()
	}
	return r
}
