// Package txn makes producers idempotent. It keeps the last sequence numbers of each producer in each partition, so
// that a batch that is sent twice is appended once, and it allocates producer ids. The package does no I/O and reads no
// clock.
package txn

import (
	"errors"
	"fmt"
)

// Errors with which Check refuses a batch, in a *SequenceError, and the error of the decoding functions. Callers match
// them with errors.Is.
var (
	// ErrOutOfOrderSequence means that a batch is missing between the producer's last batch and this one, or that this
	// one is older than the last five batches.
	ErrOutOfOrderSequence = errors.New("producer sequence is out of order")
	// ErrInvalidProducerEpoch means that a newer instance of the producer has written to this partition. (Produce sends
	// the code of the same name. A transaction coordinator would send PRODUCER_FENCED: docs/kafka-traps.md, trap 6.)
	ErrInvalidProducerEpoch = errors.New("producer epoch is older than the last one seen")
	// ErrInvalidSequence means that the batch is malformed: it has a producer id, and a negative epoch or sequence
	// number, or no records.
	ErrInvalidSequence = errors.New("malformed producer fields in a record batch")
	// ErrTooManyProducers means that the producer is not known and that its Limit is exhausted.
	ErrTooManyProducers = errors.New("too many idempotent producers are known; try again when others have been idle for an hour")
	// ErrCorruptRecord means that a snapshot or a block from the journal cannot be decoded.
	ErrCorruptRecord = errors.New("corrupt producer state")
)

// SequenceError is the error of Producers.Check for a batch that is refused. Its field Err, which it unwraps to, is
// ErrOutOfOrderSequence, ErrInvalidProducerEpoch, ErrInvalidSequence or ErrTooManyProducers.
type SequenceError struct {
	Err       error
	Batch     Batch
	LastEpoch int16 // of this producer in this partition; -1 if the producer is not known
	LastSeq   int32 // of the producer's last batch; -1 if the producer is not known
}

func (e *SequenceError) Error() string {
	return fmt.Sprintf("%v: producer %d sent epoch %d sequence %d, last seen epoch %d sequence %d",
		e.Err, e.Batch.ProducerID, e.Batch.Epoch, e.Batch.BaseSequence, e.LastEpoch, e.LastSeq)
}

func (e *SequenceError) Unwrap() error { return e.Err }
