package group

import "errors"

// Errors with which requests are refused. Each has one error code of Kafka, in internal/kafka/errors.go. If a Persist
// fails, its request is answered with the error of the Persisted instead.
var (
	// ErrUnknownMember means that the group has no such member, or has removed it: the client must join again without a
	// member id.
	ErrUnknownMember = errors.New("unknown group member")
	// ErrIllegalGeneration means that the request's generation is not the group's.
	ErrIllegalGeneration = errors.New("request is of another group generation")
	// ErrRebalanceInProgress means that the group is forming a new generation: the client must join again.
	ErrRebalanceInProgress = errors.New("group is rebalancing")
	// ErrMemberIDRequired means that the client must join again with the member id in the response (KIP-394).
	ErrMemberIDRequired = errors.New("a member id was given; join again with it")
	// ErrInconsistentProtocol means that the protocol type is not the group's, or that no protocol is supported by all
	// members.
	ErrInconsistentProtocol = errors.New("protocols do not fit the group's")
	// ErrFencedInstance means that another client has joined with the same group.instance.id and replaced this member
	// (KIP-345).
	ErrFencedInstance = errors.New("group instance id was taken over by another member")
	// ErrInvalidSessionTimeout means that the session timeout is less than Options.MinSessionTimeout or more than
	// MaxSessionTimeout.
	ErrInvalidSessionTimeout = errors.New("session timeout is out of bounds")
	// ErrInvalidGroup means that the group id is empty.
	ErrInvalidGroup = errors.New("invalid group id")
	// ErrGroupNotEmpty means that the group has members, and the request is allowed only for a group without members.
	ErrGroupNotEmpty = errors.New("group has members")
	// ErrGroupNotFound means that there is no such group.
	ErrGroupNotFound = errors.New("no such group")
	// ErrGroupFull means that the group has Options.MaxGroupSize members already, or all groups together
	// Options.MaxMemberBytes of them.
	ErrGroupFull = errors.New("group is full")
	// ErrNoRoom means that all groups together have Options.MaxPositionBytes of offsets.
	ErrNoRoom = errors.New("no more positions are kept: delete groups that are not used any more")
	// ErrOffsetMetadataTooLarge means that the metadata of an offset is longer than Options.MaxMetadataBytes.
	ErrOffsetMetadataTooLarge = errors.New("offset metadata is too large")
	// ErrSubscribedToTopic means that offsets cannot be deleted because a member subscribes to their topic.
	ErrSubscribedToTopic = errors.New("group is subscribed to the topic")
	// ErrCorruptRecord means that a record or snapshot cannot be decoded.
	ErrCorruptRecord = errors.New("corrupt group record")
)
