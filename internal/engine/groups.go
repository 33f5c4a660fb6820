package engine

import (
	"context"
	"sync"
	"time"

	"tidings.dev/internal/group"
	"tidings.dev/internal/journal"
)

// groups performs what the group coordinator decides. There is one timer for the earliest deadline of all groups, and
// no goroutine: an idle broker with idle groups costs a timer per heartbeat interval.
//
// order is held from a step until its records are queued, so that the journal has them in the order of the steps; it
// may be held while the journal has no room. mu guards the coordinator; the goroutine that commits takes it alone.
type groups struct {
	engine *Engine
	order  sync.Mutex
	mu     sync.Mutex
	state  *group.Coordinator
	timer  *time.Timer
	due    time.Time // when timer fires; zero: it does not
}

// start begins service with a coordinator that recovery has filled.
func (g *groups) start(e *Engine, state *group.Coordinator) {
	g.engine, g.state = e, state
	g.timer = time.AfterFunc(time.Hour, func() { g.step(group.Tick{}) })
	g.timer.Stop()
	g.order.Lock()
	defer g.order.Unlock()
	g.mu.Lock()
	effects := state.Resume(e.c.Now())
	g.arm()
	g.mu.Unlock()
	g.perform(effects, journal.Vital)
}

// stop ends deadlines: members that are silent from now on are not thrown out by a broker that is going away.
func (g *groups) stop() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.timer.Stop()
}

// step takes one event and performs its effects. It must not be called on the goroutine that commits.
func (g *groups) step(ev group.Event) {
	g.order.Lock()
	defer g.order.Unlock()
	g.mu.Lock()
	if _, tick := ev.(group.Tick); tick {
		g.due = time.Time{}
	}
	effects := g.state.Step(g.engine.c.Now(), ev)
	g.arm()
	g.mu.Unlock()
	rank := journal.Vital
	if _, part := ev.(group.TopicDeleted); part {
		rank = journal.Freeing
	}
	g.perform(effects, rank)
}

// arm sets the timer for the next deadline. A deadline that has moved away leaves the timer as it is: a tick too early
// does no harm, and each heartbeat moves one.
func (g *groups) arm() {
	next, ok := g.state.NextDeadline()
	if !ok || !g.due.IsZero() && !next.Before(g.due) {
		return
	}
	select {
	case <-g.engine.closing:
		return
	default:
	}
	g.due = next
	g.timer.Reset(max(next.Sub(g.engine.c.Now()), 0))
}

// perform sends answers and queues records; order is held.
func (g *groups) perform(effects []group.Effect, rank journal.Rank) {
	for _, ef := range effects {
		switch ef := ef.(type) {
		case group.Reply:
			reply(ef)
		case group.Persist:
			g.persist(ef, rank)
		}
	}
}

// reply answers a request. Its channel has room for the one answer it gets, so that this never blocks.
func reply(r group.Reply) { r.Ticket.(chan any) <- r.Response }

func (g *groups) persist(p group.Persist, rank journal.Rank) {
	e := g.engine
	err := e.usable()
	if err == ErrClosed {
		err = nil // what Close still lets through is journaled
	}
	if err == nil {
		_, err = e.journal.Append(journal.Entry{Kind: kindGroup, Payload: [][]byte{p.Record}, Rank: rank, Done: func(lsn journal.LSN, err error) {
			replies := g.persisted(p.ID, storageError(err))
			e.count(lsn, len(p.Record), err)
			g.reply(replies)
			e.committed(lsn, err)
		}})
	}
	if err != nil {
		e.stumble(err)
		g.reply(g.persisted(p.ID, storageError(err)))
	}
}

// persisted tells the coordinator how a record has fared. Its effects are replies alone, so it may run on the
// goroutine that commits, which takes mu but never order.
func (g *groups) persisted(id uint64, err error) (replies []group.Effect) {
	g.mu.Lock()
	defer g.mu.Unlock()
	defer g.arm()
	return g.state.Step(g.engine.c.Now(), group.Persisted{ID: id, Err: err})
}

func (g *groups) reply(effects []group.Effect) {
	for _, ef := range effects {
		if r, ok := ef.(group.Reply); ok {
			reply(r)
		}
	}
}

func (g *groups) topicDeleted(name string) { g.step(group.TopicDeleted{Topic: name}) }

// owes returns nil, or why positions of topics that were deleted are still there: for want of room.
func (g *groups) owes() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	_, err := g.state.Owed()
	return err
}

// payUp tries again to remove what owes tells of.
func (g *groups) payUp() {
	g.mu.Lock()
	topics, _ := g.state.Owed()
	g.mu.Unlock()
	for _, name := range topics {
		g.topicDeleted(name)
	}
}

func (g *groups) snapshot() []byte {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.state.Snapshot()
}

// ask steps a request and waits for its answer, for ctx, or for the engine to close.
func ask[R any](ctx context.Context, e *Engine, request func(group.Ticket) group.Event) (R, error) {
	var none R
	select {
	case <-e.closing:
		return none, ErrClosed
	default:
	}
	answer := make(chan any, 1)
	e.groups.step(request(answer))
	select {
	case r := <-answer:
		return r.(R), nil
	default:
	}
	select {
	case r := <-answer:
		return r.(R), nil
	case <-ctx.Done():
		return none, context.Cause(ctx)
	case <-e.closing:
		return none, ErrClosed
	}
}

// Join becomes or stays a member of a group. It blocks until the generation has formed. When ctx ends first, the member
// stays until its session times out, as with a connection lost on Apache Kafka.
func (e *Engine) Join(ctx context.Context, r group.JoinRequest) group.JoinResponse {
	answer, err := ask[group.JoinResponse](ctx, e, func(t group.Ticket) group.Event { return group.Join{Ticket: t, JoinRequest: r} })
	if err != nil {
		return group.JoinResponse{Err: err, Generation: -1, Member: r.Member}
	}
	return answer
}

// Sync asks for a member's assignment. It blocks until the leader's has come and is durable.
func (e *Engine) Sync(ctx context.Context, r group.SyncRequest) group.SyncResponse {
	answer, err := ask[group.SyncResponse](ctx, e, func(t group.Ticket) group.Event { return group.Sync{Ticket: t, SyncRequest: r} })
	if err != nil {
		return group.SyncResponse{Err: err}
	}
	return answer
}

// Heartbeat keeps a member's session alive.
func (e *Engine) Heartbeat(ctx context.Context, r group.HeartbeatRequest) error {
	answer, err := ask[group.HeartbeatResponse](ctx, e, func(t group.Ticket) group.Event { return group.Heartbeat{Ticket: t, HeartbeatRequest: r} })
	if err != nil {
		return err
	}
	return answer.Err
}

// Leave takes members out of a group at once.
func (e *Engine) Leave(ctx context.Context, r group.LeaveRequest) group.LeaveResponse {
	answer, err := ask[group.LeaveResponse](ctx, e, func(t group.Ticket) group.Event { return group.Leave{Ticket: t, LeaveRequest: r} })
	if err != nil {
		return group.LeaveResponse{Err: err}
	}
	return answer
}

// Commit commits positions; they are durable when it returns. The answer has one entry for each position asked for;
// an error of the whole request stands in each.
func (e *Engine) Commit(ctx context.Context, r group.CommitRequest) map[group.TopicPartition]error {
	answer, err := ask[group.CommitResponse](ctx, e, func(t group.Ticket) group.Event { return group.Commit{Ticket: t, CommitRequest: r} })
	if err == nil {
		err = answer.Err
	}
	if err == nil {
		return answer.Partitions
	}
	all := make(map[group.TopicPartition]error, len(r.Offsets))
	for tp := range r.Offsets {
		all[tp] = err
	}
	return all
}

// FetchOffsets returns the committed positions of a group: of the partitions named, or of all when tps is nil. What was
// never committed is absent. All of it is durable.
func (e *Engine) FetchOffsets(groupID string, tps []group.TopicPartition) (map[group.TopicPartition]group.Committed, error) {
	e.groups.mu.Lock()
	defer e.groups.mu.Unlock()
	return e.groups.state.FetchOffsets(groupID, tps), nil
}

// Groups returns all groups by name, without their members.
func (e *Engine) Groups() []group.Description {
	e.groups.mu.Lock()
	defer e.groups.mu.Unlock()
	return e.groups.state.List()
}

// DescribeGroup returns a group; State is Dead when there is none.
func (e *Engine) DescribeGroup(id string) group.Description {
	e.groups.mu.Lock()
	defer e.groups.mu.Unlock()
	return e.groups.state.Describe(id)
}

// DeleteGroup removes a group without members, with its positions; durable on return.
func (e *Engine) DeleteGroup(ctx context.Context, id string) error {
	answer, err := ask[group.DeleteGroupResponse](ctx, e, func(t group.Ticket) group.Event { return group.DeleteGroup{Ticket: t, Group: id} })
	if err != nil {
		return err
	}
	return answer.Err
}

// DeleteOffsets removes positions of topics that no member is subscribed to; durable on return. The error is one of the
// whole request.
func (e *Engine) DeleteOffsets(ctx context.Context, id string, tps []group.TopicPartition) (map[group.TopicPartition]error, error) {
	answer, err := ask[group.DeleteOffsetsResponse](ctx, e, func(t group.Ticket) group.Event {
		return group.DeleteOffsets{Ticket: t, Group: id, Partitions: tps}
	})
	if err != nil {
		return nil, err
	}
	return answer.Partitions, answer.Err
}
