package group

import "errors"

// What a request can be refused with. Each is one Kafka error code; the table stands in internal/kafka. Match them with
// errors.Is.
var (
	// ErrUnknownMember: the member id is not of this group (any more); join again without one.
	ErrUnknownMember = errors.New("unknown group member")
	// ErrIllegalGeneration: the request comes from another generation than the group is in.
	ErrIllegalGeneration = errors.New("request is of another group generation")
	// ErrRebalanceInProgress: the group is forming a new generation; join again.
	ErrRebalanceInProgress = errors.New("group is rebalancing")
	// ErrMemberIDRequired: join again with the member id that the response carries (KIP-394).
	ErrMemberIDRequired = errors.New("a member id was given; join again with it")
	// ErrInconsistentProtocol: no assignment strategy that every member supports, or another protocol type.
	ErrInconsistentProtocol = errors.New("protocols do not fit the group's")
	// ErrFencedInstance: another member has taken over this group.instance.id (KIP-345).
	ErrFencedInstance = errors.New("group instance id was taken over by another member")
	// ErrInvalidSessionTimeout: the session timeout is outside the broker's bounds.
	ErrInvalidSessionTimeout = errors.New("session timeout is out of bounds")
	// ErrInvalidGroup: the group id is empty or not allowed here.
	ErrInvalidGroup = errors.New("invalid group id")
	// ErrGroupNotEmpty: the group has members.
	ErrGroupNotEmpty = errors.New("group has members")
	// ErrGroupNotFound: there is no such group.
	ErrGroupNotFound = errors.New("no such group")
	// ErrGroupFull: the group has as many members as are allowed.
	ErrGroupFull = errors.New("group is full")
	// ErrOffsetMetadataTooLarge: the metadata of a commit is longer than Options.MaxMetadataBytes.
	ErrOffsetMetadataTooLarge = errors.New("offset metadata is too large")
	// ErrSubscribedToTopic: offsets of a topic that members are subscribed to cannot be deleted.
	ErrSubscribedToTopic = errors.New("group is subscribed to the topic")
	// ErrCorruptRecord: a persisted record or snapshot cannot be decoded.
	ErrCorruptRecord = errors.New("corrupt group record")
)
