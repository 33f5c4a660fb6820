// Package group implements the coordinator of consumer groups, for the classic group protocol of Apache Kafka. It is a
// pure state machine: [Coordinator.Step] takes an [Event] and returns the [Effect] values that the engine must perform.
// The package does no I/O and reads no clock. In its comments, a step is one call of Coordinator.Step.
//
// # The life of a group
//
//	      a member joins                     all have joined                the assignment is durable
//	Empty ──────────────► PreparingRebalance ───────────────► CompletingRebalance ──────────────► Stable
//	  ▲                     │             ▲                            │                            │
//	  └── no member is left ┘             └── a member joins or leaves, or its session ends ────────┘
//
// # Where things are
//
//	requests.go       requests and responses
//	events.go         events and effects
//	coordinator.go    Coordinator.Step, the order of records, restart
//	group.go          the state of one group and its members
//	join.go           JoinGroup
//	rebalance.go      forming a generation
//	sync.go           SyncGroup and Heartbeat
//	leave.go          LeaveGroup
//	commit.go         OffsetCommit, DeleteGroups, OffsetDelete, and the deletion of a topic
//	timers.go         sessions, deadlines, expiry of offsets
//	subscription.go   the topics that consumers subscribe to
//	durable_state.go  the durable state: OffsetFetch, snapshots, replay
//	record.go         the encoding of records in the journal
//	room.go           the bounds on the memory of members and positions
//
// Comments cite docs/kafka-traps.md, which lists mistakes that brokers and clients have made with the Kafka protocol.
package group

import "time"

// MemberID identifies one member of a group. The coordinator assigns it. The empty MemberID in a request means that the
// client has none yet.
type MemberID string

// Generation is the number of a generation of a group: one round of its membership. Generations count from 1. In a
// request, -1 means that the client is not a member.
type Generation int32

// Protocol is one way to assign partitions that a member supports (in Kafka's terms, an assignor), with metadata that
// only members interpret.
type Protocol struct {
	Name     string
	Metadata []byte
}

// JoinRequest asks to become a member of a group, or to stay one in the next generation. An empty Member asks for a new
// member id.
type JoinRequest struct {
	Group            string
	Member           MemberID
	InstanceID       *string // group.instance.id of a static member (KIP-345); nil for a dynamic member
	ClientID         string
	ClientHost       string
	ProtocolType     string
	Protocols        []Protocol // in the client's order of preference
	SessionTimeout   time.Duration
	RebalanceTimeout time.Duration // if not positive, SessionTimeout is used
	// RequireKnownMember is true if the client understands ErrMemberIDRequired (JoinGroup version 4 and later, KIP-394).
	RequireKnownMember bool
	// CanSkipAssignment is true if the client understands JoinResponse.SkipAssignment (JoinGroup version 9 and later,
	// KIP-814).
	CanSkipAssignment bool
}

// JoinResponse answers a JoinRequest, when the generation is formed or with an error. Its byte slices are shared with
// the coordinator and must not be changed.
type JoinResponse struct {
	Err            error // if not nil, only Generation (-1) and Member are set
	Generation     Generation
	ProtocolType   string
	Protocol       string // name of the protocol that the group has chosen
	Leader         MemberID
	Member         MemberID       // the id of the client that joined
	Members        []JoinedMember // all members; set in the leader's response only
	SkipAssignment bool           // the leader must keep the present assignment (KIP-814)
}

// JoinedMember describes one member to the leader, which computes the assignment.
type JoinedMember struct {
	Member     MemberID
	InstanceID *string
	Metadata   []byte // the member's metadata for the chosen protocol
}

// SyncRequest asks for the assignment of a member. The leader's request carries the assignments of all members.
type SyncRequest struct {
	Group        string
	Member       MemberID
	InstanceID   *string
	Generation   Generation
	ProtocolType *string             // must be equal to the group's unless nil (SyncGroup before version 5)
	Protocol     *string             // likewise
	Assignments  map[MemberID][]byte // from the leader; ignored in requests of other members
}

// SyncResponse answers a SyncRequest. Assignment is empty if the leader has assigned nothing to the member. Assignment
// is shared with the coordinator and must not be changed.
type SyncResponse struct {
	Err          error
	ProtocolType string
	Protocol     string
	Assignment   []byte
}

// HeartbeatRequest extends a member's session, and asks whether the group still has the member's generation.
type HeartbeatRequest struct {
	Group      string
	Member     MemberID
	InstanceID *string
	Generation Generation
}

// LeaveRequest removes members from a group.
type LeaveRequest struct {
	Group   string
	Members []LeavingMember
}

// LeavingMember identifies a member to be removed. Member may be empty if InstanceID is set: administrators remove
// static members that way.
type LeavingMember struct {
	Member     MemberID
	InstanceID *string
}

// LeaveResponse answers a LeaveRequest.
type LeaveResponse struct {
	Err     error   // of the whole request; if not nil, no member was removed
	Members []error // one for each LeavingMember, in order; nil if the member was removed
}

// TopicPartition identifies a partition. Groups keep offsets by topic name, as Apache Kafka does, and not by topic id.
type TopicPartition struct {
	Topic     string
	Partition int32
}

// Committed is a position that a group has committed in a partition.
type Committed struct {
	Offset      int64     // of the next record to read
	LeaderEpoch int32     // of the last record read; -1 if unknown
	Metadata    string    // any text of the client
	At          time.Time // time of the commit, in whole milliseconds
}

// CommitRequest commits positions. A request with Generation -1 and an empty Member comes from a client that is not a
// member, and is accepted only while the group has no members.
type CommitRequest struct {
	Group      string
	Member     MemberID
	InstanceID *string
	Generation Generation
	Offsets    map[TopicPartition]Committed // the coordinator sets At
}

// Description describes a group, as DescribeGroups reports it.
type Description struct {
	Group        string
	State        string // Kafka's names: Empty, PreparingRebalance, CompletingRebalance, Stable, Dead
	ProtocolType string
	Protocol     string
	Members      []MemberDescription
}

// MemberDescription describes one member of a group. Metadata and Assignment are nil unless the group is Stable, as in
// Apache Kafka.
type MemberDescription struct {
	Member     MemberID
	InstanceID *string
	ClientID   string
	ClientHost string
	Metadata   []byte
	Assignment []byte
}
