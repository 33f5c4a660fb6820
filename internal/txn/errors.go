// Package txn makes producers idempotent and transactional. It keeps the last sequence numbers of each producer in each
// partition, so that a batch that is sent twice is appended once (Producers), allocates producer ids (IDs), and
// coordinates transactions (Coordinator, docs/adr/0040-the-end-of-a-transaction-is-one-entry.md). The package does no
// I/O and reads no clock.
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

// Errors with which the Coordinator refuses requests and batches. Each has one error code of Kafka. A producer that has
// an old epoch is refused with ErrInvalidProducerEpoch. If the journal has not taken a record, its request is answered
// with the error of the Persisted instead.
var (
	// ErrInvalidID means that the transactional id is empty.
	ErrInvalidID = errors.New("the transactional id is empty")
	// ErrInvalidTimeout means that the timeout of a transaction is not positive, or longer than Options.MaxTimeout.
	ErrInvalidTimeout = errors.New("transaction timeout is out of bounds")
	// ErrProducerMapping means that the transactional id is not known, or has another producer id.
	ErrProducerMapping = errors.New("the transactional id does not have this producer id")
	// ErrConcurrent means that an earlier request for the transactional id is not durable yet: the client tries again.
	ErrConcurrent = errors.New("another change of this transaction is on its way to the disk")
	// ErrInvalidState means that no transaction is open which the request could end, or that it has ended otherwise.
	ErrInvalidState = errors.New("the transaction is not in a state for this request")
	// ErrNotInTransaction means that a batch or position is of no partition or group that was added to the open
	// transaction. The client can abort the transaction and go on.
	ErrNotInTransaction = errors.New("it was not added to the transaction before")
	// ErrNoRoom means that transactional ids and open transactions have Options.MaxBytes of memory already.
	ErrNoRoom = errors.New("no more transactions are kept: try again when others have ended or transactional ids have expired")
	// ErrNeedsProducerID means that a request needs a new producer id. It reaches no client: the caller sends the
	// request again with one.
	ErrNeedsProducerID = errors.New("a new producer id is needed")
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
