// Package txn keeps what makes producers idempotent: the window of sequence numbers of each partition, and the
// allocation of producer ids. Both are pure: no I/O and no clock of their own. Transactions will live here too.
package txn

import (
	"errors"
	"fmt"
)

// What an append can be refused with. Match them with errors.Is; Check returns a *SequenceError that says more.
var (
	// ErrOutOfOrderSequence: a batch is missing between the last one and this, or it is older than the window.
	ErrOutOfOrderSequence = errors.New("producer sequence is out of order")
	// ErrInvalidProducerEpoch: a newer incarnation of this producer has written here. (The produce path's error; a
	// coordinator would answer PRODUCER_FENCED: trap 6 of KAFKA.md.)
	ErrInvalidProducerEpoch = errors.New("producer epoch is older than the last one seen")
	// ErrInvalidSequence: a producer id without an epoch or a sequence: the batch itself is malformed.
	ErrInvalidSequence = errors.New("malformed producer fields in a record batch")
	// ErrCorruptRecord: a snapshot or persisted block cannot be decoded.
	ErrCorruptRecord = errors.New("corrupt producer state")
)

// SequenceError is a batch refused: which, by whom, and what was expected. It unwraps to one of the sentinels.
type SequenceError struct {
	Err       error
	Batch     Batch
	LastEpoch int16 // of this producer in this partition; -1: unknown producer
	LastSeq   int32 // likewise
}

func (e *SequenceError) Error() string {
	return fmt.Sprintf("%v: producer %d sent epoch %d sequence %d, last seen epoch %d sequence %d",
		e.Err, e.Batch.ProducerID, e.Batch.Epoch, e.Batch.BaseSequence, e.LastEpoch, e.LastSeq)
}

func (e *SequenceError) Unwrap() error { return e.Err }
