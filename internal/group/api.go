// Package group is the coordinator of consumer groups (the classic protocol): a pure state machine that takes events
// and returns effects. It does no I/O and has no clock of its own.
package group

import "time"

// MemberID names one member of a group; the coordinator gives it.
type MemberID string

// Generation counts a group's rebalances; -1 stands for "no member" (a plain commit).
type Generation int32

// Protocol is one assignment strategy that a member offers, with its own metadata bytes.
type Protocol struct {
	Name     string
	Metadata []byte
}

// JoinRequest asks to become, or stay, a member. An empty Member asks for an id.
type JoinRequest struct {
	Group            string
	Member           MemberID
	InstanceID       *string // static membership (KIP-345)
	ClientID         string
	ClientHost       string
	ProtocolType     string
	Protocols        []Protocol
	SessionTimeout   time.Duration
	RebalanceTimeout time.Duration
	// RequireKnownMember: the client understands MEMBER_ID_REQUIRED (JoinGroup v4+, KIP-394).
	RequireKnownMember bool
	// CanSkipAssignment: the client understands JoinResponse.SkipAssignment (JoinGroup v9+, KIP-814).
	CanSkipAssignment bool
}

// JoinResponse answers a join once the generation is formed. Members is filled for the leader only.
type JoinResponse struct {
	Err            error
	Generation     Generation
	ProtocolType   string
	Protocol       string
	Leader         MemberID
	Member         MemberID
	Members        []JoinedMember
	SkipAssignment bool // KIP-814
}

// JoinedMember is what the leader is told of each member.
type JoinedMember struct {
	Member     MemberID
	InstanceID *string
	Metadata   []byte
}

// SyncRequest asks for this member's assignment; the leader brings everyone's.
type SyncRequest struct {
	Group        string
	Member       MemberID
	InstanceID   *string
	Generation   Generation
	ProtocolType *string // checked when set (v5+)
	Protocol     *string
	Assignments  map[MemberID][]byte
}

// SyncResponse carries the member's assignment: what the leader gave it, empty when it gave it nothing.
type SyncResponse struct {
	Err          error
	ProtocolType string
	Protocol     string
	Assignment   []byte
}

// HeartbeatRequest keeps a member's session alive, and asks whether its generation still stands.
type HeartbeatRequest struct {
	Group      string
	Member     MemberID
	InstanceID *string
	Generation Generation
}

// LeaveRequest takes members out; each gets its own answer.
type LeaveRequest struct {
	Group   string
	Members []Leaver
}

// Leaver names a member that leaves. With an InstanceID, Member may be empty: an administrator takes a static member out.
type Leaver struct {
	Member     MemberID
	InstanceID *string
}

type LeaveResponse struct {
	Err     error   // of the whole request
	Members []error // one for each Leaver, nil when it has left
}

// TopicPartition names a partition in offset requests. Offsets belong to a topic's name, as in Apache Kafka.
type TopicPartition struct {
	Topic     string
	Partition int32
}

// Committed is a position a group has committed. Offset is the next to read.
type Committed struct {
	Offset      int64
	LeaderEpoch int32 // -1: unknown
	Metadata    string
	At          time.Time
}

// CommitRequest commits positions. Generation -1 with an empty Member is a plain commit, allowed while the group is empty.
type CommitRequest struct {
	Group      string
	Member     MemberID
	InstanceID *string
	Generation Generation
	Offsets    map[TopicPartition]Committed // At is set by the coordinator
}

// Description is a group as DescribeGroups tells it.
type Description struct {
	Group        string
	State        string // Kafka's names: Empty, PreparingRebalance, CompletingRebalance, Stable, Dead
	ProtocolType string
	Protocol     string
	Members      []MemberDescription
}

// MemberDescription is one member of a Description. Metadata and Assignment are told only while the group is stable.
type MemberDescription struct {
	Member     MemberID
	InstanceID *string
	ClientID   string
	ClientHost string
	Metadata   []byte
	Assignment []byte
}
