package group

// Ticket is the engine's reference to a request. The coordinator returns it in the Reply, and uses it for nothing else.
type Ticket any

// Event is an input of [Coordinator.Step]. An event with a Ticket is a request; it gets exactly one Reply, from its own
// step or from a later one. The coordinator keeps byte slices of a request (metadata and assignments), its strings, and what
// InstanceID points to: the caller must not change them.
type Event interface{ event() }

type (
	// Join is answered with a JoinResponse when the generation is formed.
	Join struct {
		Ticket Ticket
		JoinRequest
	}
	// Sync is answered with a SyncResponse when the leader's assignment is durable.
	Sync struct {
		Ticket Ticket
		SyncRequest
	}
	// Heartbeat is answered at once with a HeartbeatResponse.
	Heartbeat struct {
		Ticket Ticket
		HeartbeatRequest
	}
	// Leave is answered at once with a LeaveResponse.
	Leave struct {
		Ticket Ticket
		LeaveRequest
	}
	// Commit is answered with a CommitResponse when the offsets are durable.
	Commit struct {
		Ticket Ticket
		CommitRequest
	}
	// TransactionalCommit is answered with a CommitResponse when the offsets are durable. They count once the
	// transaction of Producer has committed.
	TransactionalCommit struct {
		Ticket Ticket
		CommitRequest
		Producer Producer
	}
	// EndTransaction commits or drops what Producer has undecided in Groups. It gets no Reply. Its one effect is a
	// Persist, whose record the engine journals in the same entry as the end of the transaction.
	EndTransaction struct {
		Producer Producer
		Commit   bool
		Groups   []string
	}
	// DeleteGroup is answered with a DeleteGroupResponse when the deletion is durable.
	DeleteGroup struct {
		Ticket Ticket
		Group  string
	}
	// DeleteOffsets is answered with a DeleteOffsetsResponse when the deletion is durable.
	DeleteOffsets struct {
		Ticket     Ticket
		Group      string
		Partitions []TopicPartition
	}
	// TopicDeleted removes the offsets of a topic from every group. It gets no Reply.
	TopicDeleted struct{ Topic string }
	// Tick makes the coordinator act on the deadlines that have passed. The engine sends one at NextDeadline; a Tick
	// that is early or late does no harm.
	Tick struct{}
	// Persisted reports the outcome of the Persist with this ID: Err is nil if the record is durable, else the reason
	// why it is not (the log is fenced, or the disk is full). There must be one Persisted for every Persist, in the
	// same order. Its step returns no effects but replies, so that the goroutine that commits the journal can perform
	// them.
	Persisted struct {
		ID  uint64
		Err error
	}
)

func (Join) event()                {}
func (Sync) event()                {}
func (Heartbeat) event()           {}
func (Leave) event()               {}
func (Commit) event()              {}
func (TransactionalCommit) event() {}
func (EndTransaction) event()      {}
func (DeleteGroup) event()         {}
func (DeleteOffsets) event()       {}
func (TopicDeleted) event()        {}
func (Tick) event()                {}
func (Persisted) event()           {}

// Effect is an output of [Coordinator.Step]: what the engine must do, in order.
type Effect interface{ effect() }

// Reply answers the request with this Ticket. Response is a JoinResponse, SyncResponse, HeartbeatResponse,
// LeaveResponse, CommitResponse, DeleteGroupResponse or DeleteOffsetsResponse.
type Reply struct {
	Ticket   Ticket
	Response any
}

// Persist asks the engine to append Record to the journal, in the order in which steps return Persist effects, and to
// pass a Persisted with the same ID to Step when the record is durable or has failed. Record is shared with the
// coordinator and must not be changed.
type Persist struct {
	ID     uint64
	Record []byte
}

func (Reply) effect()   {}
func (Persist) effect() {}

// HeartbeatResponse answers a Heartbeat.
type HeartbeatResponse struct{ Err error }

// CommitResponse answers a Commit.
type CommitResponse struct {
	Err        error                    // of the whole request; if not nil, nothing is committed
	Partitions map[TopicPartition]error // if Err is nil, has for each partition nil, or why its offset is not committed
}

// DeleteGroupResponse answers a DeleteGroup.
type DeleteGroupResponse struct{ Err error }

// DeleteOffsetsResponse answers a DeleteOffsets.
type DeleteOffsetsResponse struct {
	Err        error                    // of the whole request; if not nil, nothing is deleted
	Partitions map[TopicPartition]error // if Err is nil, has for each partition nil, or why its offset is not deleted
}
