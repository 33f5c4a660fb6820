package kafka

import (
	"context"
	"errors"

	"tidings.dev/internal/batch"
	"tidings.dev/internal/engine"
	"tidings.dev/internal/group"
	"tidings.dev/internal/meta"
	"tidings.dev/internal/txn"
)

// Code is an error code of the Kafka protocol.
type Code = int16

// The error codes that this broker sends, named as in org.apache.kafka.common.protocol.Errors.
const (
	none                               Code = 0
	offsetOutOfRange                   Code = 1
	corruptMessage                     Code = 2
	unknownTopicOrPartition            Code = 3
	notLeaderOrFollower                Code = 6
	requestTimedOut                    Code = 7
	messageTooLarge                    Code = 10
	offsetMetadataTooLarge             Code = 12
	coordinatorNotAvailable            Code = 15
	invalidTopic                       Code = 17
	notEnoughReplicas                  Code = 19
	invalidRequiredAcks                Code = 21
	illegalGeneration                  Code = 22
	inconsistentGroupProtocol          Code = 23
	invalidGroupID                     Code = 24
	unknownMemberID                    Code = 25
	invalidSessionTimeout              Code = 26
	rebalanceInProgress                Code = 27
	invalidTimestamp                   Code = 32
	unsupportedSaslMechanism           Code = 33
	illegalSaslState                   Code = 34
	unsupportedVersion                 Code = 35
	topicAlreadyExists                 Code = 36
	invalidPartitions                  Code = 37
	invalidReplicationFactor           Code = 38
	invalidReplicaAssignment           Code = 39
	invalidConfig                      Code = 40
	invalidRequest                     Code = 42
	unsupportedForMessageFormat        Code = 43
	policyViolation                    Code = 44
	outOfOrderSequence                 Code = 45
	invalidProducerEpoch               Code = 47
	invalidTxnState                    Code = 48
	invalidProducerIDMapping           Code = 49
	invalidTransactionTimeout          Code = 50
	concurrentTransactions             Code = 51
	transactionalIDAuthorizationFailed Code = 53
	securityDisabled                   Code = 54
	operationNotAttempted              Code = 55
	kafkaStorageError                  Code = 56
	logDirNotFound                     Code = 57
	nonEmptyGroup                      Code = 68
	groupIDNotFound                    Code = 69
	fetchSessionIDNotFound             Code = 70
	invalidFetchSessionEpoch           Code = 71
	fencedLeaderEpoch                  Code = 74
	unknownLeaderEpoch                 Code = 75
	unsupportedCompressionType         Code = 76
	memberIDRequired                   Code = 79
	groupMaxSizeReached                Code = 81
	fencedInstanceID                   Code = 82
	electionNotNeeded                  Code = 84
	noReassignmentInProgress           Code = 85
	groupSubscribedToTopic             Code = 86
	invalidRecord                      Code = 87
	unstableOffsetCommit               Code = 88
	producerFenced                     Code = 90
	resourceNotFound                   Code = 91
	duplicateResource                  Code = 92
	invalidUpdateVersion               Code = 95
	unknownTopicID                     Code = 100
	brokerIDNotRegistered              Code = 102
	transactionalIDNotFound            Code = 105
	fetchSessionTopicIDError           Code = 106
	mismatchedEndpointType             Code = 114
	unsupportedEndpointType            Code = 115
	transactionAbortable               Code = 120
	invalidRegularExpression           Code = 128
	unknownServerError                 Code = -1
)

// codes is the table that maps errors of the broker to Kafka's error codes. For an error, the first row counts whose
// err matches by errors.Is. data is the code in Produce, Fetch and the APIs that administer topics; coordinator is the
// code in the APIs of groups and producer ids, and 0 means that it is the same as data.
var codes = []struct {
	err               error
	data, coordinator Code
}{
	{engine.ErrUnknownTopic, unknownTopicOrPartition, 0},
	{engine.ErrUnknownPartition, unknownTopicOrPartition, 0},
	{meta.ErrUnknownTopic, unknownTopicOrPartition, 0},
	{engine.ErrAutoCreate, unknownTopicOrPartition, 0},
	{engine.ErrOffsetOutOfRange, offsetOutOfRange, 0},
	{engine.ErrPolicy, policyViolation, 0},
	{engine.ErrFencedEpoch, fencedLeaderEpoch, 0},
	{engine.ErrUnknownEpoch, unknownLeaderEpoch, 0},

	// Errors of package engine may wrap errors of package batch, which are more precise and so come first.
	{batch.ErrCorrupt, corruptMessage, 0},
	{batch.ErrUnsupportedMagic, unsupportedForMessageFormat, 0},
	{batch.ErrTooLarge, messageTooLarge, 0},
	{batch.ErrInvalidRecord, invalidRecord, 0},
	{batch.ErrInvalidTimestamp, invalidTimestamp, 0},
	{batch.ErrUnsupportedCodec, unsupportedCompressionType, 0},
	{batch.ErrBomb, messageTooLarge, 0},
	{engine.ErrTooLarge, messageTooLarge, 0},
	{engine.ErrInvalidRecord, invalidRecord, 0},

	// For a producer epoch that is too old, Produce sends INVALID_PRODUCER_EPOCH, and the coordinator APIs send
	// PRODUCER_FENCED (docs/kafka-traps.md, trap 6).
	{txn.ErrOutOfOrderSequence, outOfOrderSequence, 0},
	{txn.ErrInvalidProducerEpoch, invalidProducerEpoch, producerFenced},
	{txn.ErrInvalidSequence, invalidRecord, 0},
	{txn.ErrTooManyProducers, policyViolation, 0},
	{txn.ErrInvalidID, invalidRequest, 0},
	{txn.ErrInvalidTimeout, invalidTransactionTimeout, 0},
	{txn.ErrProducerMapping, invalidProducerIDMapping, 0},
	{txn.ErrConcurrent, concurrentTransactions, 0},
	{txn.ErrInvalidState, invalidTxnState, 0},
	{txn.ErrNotInTransaction, transactionAbortable, 0},
	{txn.ErrNoRoom, policyViolation, 0},

	{meta.ErrTopicExists, topicAlreadyExists, 0},
	{meta.ErrInvalidTopic, invalidTopic, 0},
	{meta.ErrInvalidPartitions, invalidPartitions, 0},
	{meta.ErrInvalidConfig, invalidConfig, 0},
	{meta.ErrInvalidReplication, invalidReplicationFactor, 0},

	{group.ErrUnknownMember, unknownMemberID, 0},
	{group.ErrIllegalGeneration, illegalGeneration, 0},
	{group.ErrRebalanceInProgress, rebalanceInProgress, 0},
	{group.ErrMemberIDRequired, memberIDRequired, 0},
	{group.ErrInconsistentProtocol, inconsistentGroupProtocol, 0},
	{group.ErrFencedInstance, fencedInstanceID, 0},
	{group.ErrInvalidSessionTimeout, invalidSessionTimeout, 0},
	{group.ErrInvalidGroup, invalidGroupID, 0},
	{group.ErrGroupNotEmpty, nonEmptyGroup, 0},
	{group.ErrGroupNotFound, groupIDNotFound, 0},
	{group.ErrGroupFull, groupMaxSizeReached, 0},
	{group.ErrNoRoom, policyViolation, 0},
	{group.ErrOffsetMetadataTooLarge, offsetMetadataTooLarge, 0},
	{group.ErrSubscribedToTopic, groupSubscribedToTopic, 0},

	// These errors pass by themselves or with another broker: their codes make clients refresh their metadata and
	// retry.
	{engine.ErrStorage, kafkaStorageError, coordinatorNotAvailable},
	{engine.ErrClosed, notLeaderOrFollower, coordinatorNotAvailable},
	{context.Canceled, notLeaderOrFollower, coordinatorNotAvailable},
	{context.DeadlineExceeded, requestTimedOut, coordinatorNotAvailable},
}

// dataCode returns the code of err in Produce, Fetch and the APIs that administer topics. The code is none for nil, and
// unknownServerError for an error that is not in codes.
func dataCode(err error) Code {
	code, _ := codesOf(err)
	return code
}

// coordinatorCode returns the code of err in the APIs of groups and producer ids. The code is none for nil, and
// unknownServerError for an error that is not in codes.
func coordinatorCode(err error) Code {
	_, code := codesOf(err)
	return code
}

// codesOf returns the codes of err in the table codes.
func codesOf(err error) (data, coordinator Code) {
	if err == nil {
		return none, none
	}
	for _, row := range codes {
		if !errors.Is(err, row.err) {
			continue
		}
		if row.coordinator == none {
			return row.data, row.data
		}
		return row.data, row.coordinator
	}
	return unknownServerError, unknownServerError
}

// errorMessage returns the text of err for the field error_message of a response, or nil if err is nil.
func errorMessage(err error) *string {
	if err == nil {
		return nil
	}
	text := err.Error()
	return &text
}
