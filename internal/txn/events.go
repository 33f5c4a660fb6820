package txn

import "time"

// Ticket is the engine's reference to a request. The coordinator returns it in the Reply, and uses it for nothing else.
type Ticket any

// Producer is a producer id with the epoch that tells its instances apart.
type Producer struct {
	ID    int64
	Epoch int16
}

// NoProducer is the Producer of a client that has none.
var NoProducer = Producer{ID: -1, Epoch: -1}

// Partition is a partition of a topic: the topic's id and the number of the partition.
type Partition struct {
	Topic [16]byte
	Index int32
}

// Event is an input of [Coordinator.Step]. An event with a Ticket is a request; it gets exactly one Reply, from its own
// step or from a later one. The coordinator keeps slices and strings of a request: the caller must not change them.
type Event interface{ event() }

type (
	// Init asks for the producer of a transactional id, and fences the producers that the id had before. An open
	// transaction is aborted. It is answered with a ProducerResponse when all of that is durable.
	Init struct {
		Ticket   Ticket
		ID       string // the transactional id
		Timeout  time.Duration
		Expected Producer // the producer that the client has and wants to go on with (KIP-360), or NoProducer
		// NewID is a producer id that nobody has, or -1. If one is needed and it is -1, the answer is ErrNeedsProducerID.
		NewID int64
	}
	// Add adds partitions, or a group, to the transaction of a producer, and begins one if none is open. Clients of the
	// old protocol send it before the batches (AddPartitionsToTxn) and positions (AddOffsetsToTxn) themselves. It is
	// answered with an AddResponse when it is durable.
	Add struct {
		Ticket     Ticket
		ID         string
		Producer   Producer
		Partitions []Partition
		Groups     []string
	}
	// End commits or aborts the transaction of a producer. It is answered with a ProducerResponse when that is durable.
	End struct {
		Ticket   Ticket
		ID       string
		Producer Producer
		Commit   bool
		// RaiseEpoch means that the end raises the producer's epoch (transactions version 2, KIP-890): EndTxn from
		// version 5 on.
		RaiseEpoch bool
		NewID      int64 // as in Init: needed if the epochs of the producer id are used up
	}
	// Tick makes the coordinator act on the deadlines that have passed. The engine sends one at NextDeadline; a Tick
	// that is early or late does no harm.
	Tick struct{}
	// Persisted reports the outcome of the Persist or Finish with this Seq: Err is nil if it is durable, else the reason
	// why it is not. There must be one Persisted for each of them, in the same order. Its step returns no effects but
	// replies, so that the goroutine that commits the journal can perform them.
	Persisted struct {
		Seq uint64
		Err error
	}
)

func (Init) event()      {}
func (Add) event()       {}
func (End) event()       {}
func (Tick) event()      {}
func (Persisted) event() {}

// Effect is an output of [Coordinator.Step]: what the engine must do, in order.
type Effect interface{ effect() }

// Reply answers the request with this Ticket. Response is a ProducerResponse for Init and End, and an AddResponse
// for Add.
type Reply struct {
	Ticket   Ticket
	Response any
}

// Persist asks the engine to append Record to the journal, in the order in which steps return Persist and Finish
// effects, and to pass a Persisted with the same Seq to Step when the record is durable or has failed. Record must not be
// changed.
type Persist struct {
	Seq    uint64
	Record []byte
}

// Finish asks the engine to end a transaction: to append one entry to the journal with Record, a transaction marker for
// each of Partitions that still exists, and the end of what the producer has pending in each of Groups; and then to do
// as with a Persist. Once the entry is durable, the markers belong into the logs. Record is nil if no transactional id
// has the transaction. Partitions and Groups are sorted.
type Finish struct {
	Seq        uint64
	Record     []byte
	Producer   Producer // whose batches the transaction has
	Epoch      int16    // epoch for the markers: that of Producer, or one more if it is raised
	Commit     bool
	Partitions []Partition
	Groups     []string
}

func (Reply) effect()   {}
func (Persist) effect() {}
func (Finish) effect()  {}

// ProducerResponse answers Init and End.
type ProducerResponse struct {
	Err      error
	Producer Producer // with which the client goes on; NoProducer if Err is not nil
}

// AddResponse answers an Add.
type AddResponse struct{ Err error }
