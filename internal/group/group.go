package group

import (
	"bytes"
	"slices"
	"time"
)

// state is the state of a group. 0 stands for a group that does not exist, which Kafka calls Dead.
type state uint8

const (
	empty      state = 1 // no members; there may be committed offsets
	preparing  state = 2 // waiting for all members to join the next generation
	completing state = 3 // the generation is formed; waiting for the leader's assignment to be durable
	stable     state = 4 // the assignment is durable; a member gets its part when it sends a SyncGroup
)

// String returns Kafka's name for the state.
func (s state) String() string {
	return [...]string{"Dead", "Empty", "PreparingRebalance", "CompletingRebalance", "Stable"}[s]
}

// group is the state of one group by which the coordinator decides. It may be ahead of the durable state of the group,
// which is in durableState.
//
// Invariants between two steps:
//
//   - in state empty there are no members; in completing and stable there is at least one.
//   - joinDeadline is set in state preparing; syncDeadline is set in completing, and in stable until all members have
//     sent a SyncGroup.
//   - in completing and stable, protocol is supported by all members, and leader is one of them.
//   - member.join is set only in state preparing, or while a static member's new id is being persisted; member.sync is
//     set only in completing.
type group struct {
	id           string
	state        state
	generation   Generation
	protocolType string // of the present members, or of the last ones; empty if the group never had members
	protocol     string // chosen for this generation
	leader       MemberID
	members      []*member                // in order of joining
	pending      map[MemberID]pendingJoin // ids that were sent with ErrMemberIDRequired and have not joined yet
	emptySince   time.Time                // in state empty: when the last member was removed
	topics       map[string]bool          // topics that this generation subscribes to; nil if not known

	joinDeadline time.Time // in preparing: when the generation is formed without the members that have not joined
	syncDeadline time.Time // in completing and stable: when the members that have not sent a SyncGroup are removed
	// in preparing with an initial delay: the latest time to which the delay is extended; else zero
	initialDelayEnd time.Time
	memberJoined    bool // with an initial delay: a member has joined since joinDeadline was set

	recordedState     state     // state in the last Persist of the group: empty, preparing or stable; 0 if there was none
	inFlight          int       // number of Persist effects of the group whose Persisted has not come
	assignmentPending bool      // one of them has the assignment of this generation
	expiresAt         time.Time // when to look for expired offsets; zero means that it must be computed
	timerAt           time.Time // the time for which the group is in Coordinator.timers
	countedBytes      int64     // what Coordinator.memberBytes has of the group
	heapIndex         int       // index of the group in timers; -1 if it is not there
}

// pendingJoin is a member id that was sent to a client, which has to join with it before deadline.
type pendingJoin struct{ deadline time.Time }

// member is one member of a group.
type member struct {
	id               MemberID
	instanceID       *string // nil for a dynamic member
	clientID, host   string
	sessionTimeout   time.Duration
	rebalanceTimeout time.Duration
	protocols        []Protocol // in the member's order of preference
	assignment       []byte
	deadline         time.Time // when the session ends; has no effect unless sessionRuns
	isNew            bool      // the member was in no generation yet
	synced           bool      // the member has sent a SyncGroup in this generation
	join, sync       *waiter   // the member's JoinGroup or SyncGroup that has no Reply yet, or nil
}

// waiter is a request that gets its Reply in a later step. Waiters are compared by address, because a Ticket need not
// be comparable.
type waiter struct {
	ticket            Ticket
	canSkipAssignment bool
}

// extendSession moves the end of the member's session to a session timeout from now, never to an earlier time. The
// group's timer need not be set anew: it then fires too early, and onTick sets it again.
func (m *member) extendSession(now time.Time) {
	m.deadline = later(m.deadline, now.Add(m.sessionTimeout))
}

// waiting reports whether a request of the member has no Reply yet.
func (m *member) waiting() bool { return m.join != nil || m.sync != nil }

// supports reports whether the member supports a protocol.
func (m *member) supports(protocol string) bool {
	return slices.ContainsFunc(m.protocols, func(p Protocol) bool { return p.Name == protocol })
}

// metadata returns the member's metadata for a protocol, or nil if the member does not support it.
func (m *member) metadata(protocol string) []byte {
	for _, p := range m.protocols {
		if p.Name == protocol {
			return p.Metadata
		}
	}
	return nil
}

// hasProtocols reports whether ps are equal to the member's protocols, including their metadata and their order.
func (m *member) hasProtocols(ps []Protocol) bool {
	return slices.EqualFunc(m.protocols, ps, func(a, b Protocol) bool {
		return a.Name == b.Name && bytes.Equal(a.Metadata, b.Metadata)
	})
}

// member returns the member with this id, or nil.
func (g *group) member(id MemberID) *member {
	for _, m := range g.members {
		if m.id == id {
			return m
		}
	}
	return nil
}

// staticMember returns the member with this instance id, or nil.
func (g *group) staticMember(instance string) *member {
	for _, m := range g.members {
		if m.instanceID != nil && *m.instanceID == instance {
			return m
		}
	}
	return nil
}

// findMember returns the member that sent a request. instance is the instance id in the request, or nil. Errors
// (KIP-345): ErrUnknownMember, and ErrFencedInstance if a member with another id has the instance id.
func (g *group) findMember(id MemberID, instance *string) (*member, error) {
	if instance != nil {
		switch m := g.staticMember(*instance); {
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

// acceptsProtocols reports whether a member with this protocol type and these protocols can be in the group: the
// protocol type must be the group's, and at least one of ps must be supported by all other members. The member with the
// id except is not counted among the others.
func (g *group) acceptsProtocols(protocolType string, ps []Protocol, except MemberID) bool {
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

// chooseProtocol returns the protocol of the next generation. Each member votes for the first of its protocols that all
// members support. The protocol with the most votes wins; among several, the one that the oldest member prefers. The
// group must have a member.
func (g *group) chooseProtocol() string {
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

// rebalanceTimeout returns the longest rebalance timeout of all members. The group waits that long for members to join.
func (g *group) rebalanceTimeout() time.Duration {
	var longest time.Duration
	for _, m := range g.members {
		longest = max(longest, m.rebalanceTimeout)
	}
	return longest
}

// allJoined reports whether every member has joined the next generation and no pending id is left.
func (g *group) allJoined() bool {
	return len(g.pending) == 0 && !slices.ContainsFunc(g.members, func(m *member) bool { return m.join == nil })
}

// joinedMembers returns the members as the leader is told of them.
func (g *group) joinedMembers() []JoinedMember {
	all := make([]JoinedMember, 0, len(g.members))
	for _, m := range g.members {
		all = append(all, JoinedMember{Member: m.id, InstanceID: m.instanceID, Metadata: m.metadata(g.protocol)})
	}
	return all
}

// joined returns the response to a JoinGroup of m with the present generation.
func (g *group) joined(m *member) JoinResponse {
	r := JoinResponse{
		Generation:   g.generation,
		ProtocolType: g.protocolType,
		Protocol:     g.protocol,
		Leader:       g.leader,
		Member:       m.id,
	}
	if m.id == g.leader {
		r.Members = g.joinedMembers()
	}
	return r
}
