package group

// Ticket is the caller's own mark on a request. It comes back in the Reply and is never looked at.
type Ticket any

// Event is what happens to the coordinator. Requests carry a Ticket and get exactly one Reply, at once or by a later
// step. The coordinator copies the bytes of a request that it keeps (metadata, assignments), so that they may lie in
// a frame that is used again; strings and instance ids it keeps.
type Event interface{ event() }

type (
	// Join is answered by a JoinResponse once the generation is formed.
	Join struct {
		Ticket Ticket
		JoinRequest
	}
	// Sync is answered by a SyncResponse once the leader's assignment is durable.
	Sync struct {
		Ticket Ticket
		SyncRequest
	}
	// Heartbeat is answered at once by a HeartbeatResponse.
	Heartbeat struct {
		Ticket Ticket
		HeartbeatRequest
	}
	// Leave is answered at once by a LeaveResponse.
	Leave struct {
		Ticket Ticket
		LeaveRequest
	}
	// Commit is answered by a CommitResponse once the offsets are durable.
	Commit struct {
		Ticket Ticket
		CommitRequest
	}
	// DeleteGroup is answered by a DeleteGroupResponse once the deletion is durable.
	DeleteGroup struct {
		Ticket Ticket
		Group  string
	}
	// DeleteOffsets is answered by a DeleteOffsetsResponse once the deletion is durable.
	DeleteOffsets struct {
		Ticket     Ticket
		Group      string
		Partitions []TopicPartition
	}
	// TopicDeleted takes the offsets of a topic out of every group. It has no answer.
	TopicDeleted struct{ Topic string }
	// Tick says that the time of NextDeadline has come. A tick too early or too late does no harm.
	Tick struct{}
	// Persisted says how a Persist ended: durable (nil) or not (the log is fenced, or its disk full). It must be fed for every Persist, in
	// the order in which they were given. The step's effects are replies only, never another Persist, so that it may
	// be taken on the goroutine that commits.
	Persisted struct {
		ID  uint64
		Err error
	}
)

func (Join) event()          {}
func (Sync) event()          {}
func (Heartbeat) event()     {}
func (Leave) event()         {}
func (Commit) event()        {}
func (DeleteGroup) event()   {}
func (DeleteOffsets) event() {}
func (TopicDeleted) event()  {}
func (Tick) event()          {}
func (Persisted) event()     {}

// Effect is what the engine must do after a step, in order.
type Effect interface{ effect() }

// Reply answers the request that carried Ticket. Response is a JoinResponse, SyncResponse, HeartbeatResponse,
// LeaveResponse, CommitResponse, DeleteGroupResponse or DeleteOffsetsResponse.
type Reply struct {
	Ticket   Ticket
	Response any
}

// Persist asks for Record to be journaled. Records must reach the journal in the order in which steps give them. When
// it is durable, or failed, the engine steps Persisted with the same ID. Record must not be changed.
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
	Err        error                    // of the whole request; nothing was committed
	Partitions map[TopicPartition]error // one entry for each offset asked for, when Err is nil
}

// DeleteGroupResponse answers a DeleteGroup.
type DeleteGroupResponse struct{ Err error }

// DeleteOffsetsResponse answers a DeleteOffsets.
type DeleteOffsetsResponse struct {
	Err        error                    // of the whole request; nothing was deleted
	Partitions map[TopicPartition]error // one entry for each partition asked for, when Err is nil
}
