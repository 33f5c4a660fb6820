package engine

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"tidings.dev/internal/datadir"
	"tidings.dev/internal/group"
	"tidings.dev/internal/journal"
	"tidings.dev/internal/txn"
)

// groups runs the group coordinator: it passes requests and deadlines to it and carries out the effects that it
// returns. It has no goroutine of its own and one timer, which fires at the earliest deadline of all groups.
type groups struct {
	engine *Engine

	// order is held from a step of the coordinator until the records of the step are queued in the journal, so that the
	// journal has the records in the order of the steps. It may be held while the journal's queue has no space, so the
	// committing goroutine never takes it. It is taken before mu.
	order sync.Mutex

	// mu guards state, timer and due. The committing goroutine takes it too, so it is never held while its holder
	// waits.
	mu    sync.Mutex
	state *group.Coordinator
	timer *time.Timer // calls step with a group.Tick
	due   time.Time   // when timer fires; the zero time means that timer does not run

	bytes atomic.Int64 // state.Bytes after the last step
}

// start begins to serve requests with state, the coordinator that recovery has filled. It blocks while the journal's
// queue has no space.
func (g *groups) start(e *Engine, state *group.Coordinator) {
	g.engine, g.state = e, state
	g.timer = time.AfterFunc(time.Hour, func() { g.step(group.Tick{}) })
	g.timer.Stop()
	g.order.Lock()
	defer g.order.Unlock()
	g.mu.Lock()
	effects := state.Resume(e.config.Now())
	g.bytes.Store(state.Bytes())
	g.arm()
	g.mu.Unlock()
	g.perform(effects, journal.PriorityVital)
}

// stop stops the timer. A broker that is closing does not remove members whose sessions time out.
func (g *groups) stop() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.timer.Stop()
}

// step passes one event to the coordinator and performs the effects that the coordinator returns. It blocks while the
// journal's queue has no space. The committing goroutine must not call it.
func (g *groups) step(ev group.Event) {
	g.order.Lock()
	defer g.order.Unlock()
	g.stepInOrder(ev)
}

// stepIf does what step does if admit returns nil, and otherwise returns its error. Nothing comes between admit and the
// step.
func (g *groups) stepIf(admit func(now time.Time) error, ev group.Event) error {
	g.order.Lock()
	defer g.order.Unlock()
	if err := admit(g.engine.config.Now()); err != nil {
		return err
	}
	g.stepInOrder(ev)
	return nil
}

// endTransaction returns the record with which groups commit or drop what a transaction has in them. order must be held,
// until the record is queued in the journal.
func (g *groups) endTransaction(f txn.Finish) group.Persist {
	g.mu.Lock()
	defer g.mu.Unlock()
	effects := g.state.Step(g.engine.config.Now(), group.EndTransaction{Producer: group.Producer(f.Producer), Commit: f.Commit, Groups: f.Groups})
	return effects[0].(group.Persist)
}

// stepInOrder does what step does. order must be held.
func (g *groups) stepInOrder(ev group.Event) {
	g.mu.Lock()
	if _, tick := ev.(group.Tick); tick {
		g.due = time.Time{}
	}
	effects := g.state.Step(g.engine.config.Now(), ev)
	g.bytes.Store(g.state.Bytes())
	g.arm()
	g.mu.Unlock()
	priority := journal.PriorityVital
	if _, ok := ev.(group.TopicDeleted); ok {
		priority = journal.PriorityFreeing
	}
	g.perform(effects, priority)
}

// arm sets the timer for the next deadline. If the deadline is later than the time for which the timer is set, arm
// leaves the timer alone: an early tick does no harm, and each heartbeat would otherwise reset the timer. mu must be
// held.
func (g *groups) arm() {
	next, ok := g.state.NextDeadline()
	if !ok || !g.due.IsZero() && !next.Before(g.due) {
		return
	}
	if g.engine.life.isClosing() {
		return
	}
	g.due = next
	g.timer.Reset(max(next.Sub(g.engine.config.Now()), 0))
}

// perform sends the replies among effects and queues the records among them in the journal. order must be held.
func (g *groups) perform(effects []group.Effect, priority journal.Priority) {
	for _, ef := range effects {
		switch ef := ef.(type) {
		case group.Reply:
			reply(ef)
		case group.Persist:
			g.persist(ef, priority)
		}
	}
}

// reply sends the answer of a request to the goroutine that waits in ask. It does not block, because the channel has
// space for the single answer that it gets.
func reply(r group.Reply) { r.Ticket.(chan any) <- r.Response }

// persist queues one record in the journal. It blocks while the journal's queue has no space. order must be held.
func (g *groups) persist(p group.Persist, priority journal.Priority) {
	e := g.engine
	err := e.checkOpen()
	if err == ErrClosed {
		err = nil // records are journaled until Close has closed the journal
	}
	if err == nil {
		_, err = e.journal.Append(journal.Entry{Kind: datadir.KindGroup, Payload: [][]byte{p.Record}, Priority: priority, Done: func(lsn journal.LSN, err error) {
			replies := g.persisted(p.ID, storageError(err))
			e.recordApplied(lsn, len(p.Record), err)
			g.reply(replies)
			e.entryDone(lsn, err)
		}})
	}
	if err != nil {
		e.onStorageError(err)
		g.reply(g.persisted(p.ID, storageError(err)))
	}
}

// persisted reports to the coordinator whether a record became durable and returns the effects, which are only replies.
// It takes no lock but mu, so the committing goroutine may call it.
func (g *groups) persisted(id uint64, err error) (replies []group.Effect) {
	g.mu.Lock()
	defer g.mu.Unlock()
	defer g.arm()
	replies = g.state.Step(g.engine.config.Now(), group.Persisted{ID: id, Err: err})
	g.bytes.Store(g.state.Bytes())
	return replies
}

// reply sends the answers among effects and ignores all other effects. It does not block.
func (g *groups) reply(effects []group.Effect) {
	for _, ef := range effects {
		if r, ok := ef.(group.Reply); ok {
			reply(r)
		}
	}
}

// topicDeleted removes the positions of all groups in the topic with a name. It blocks while the journal's queue has no
// space.
func (g *groups) topicDeleted(name string) { g.step(group.TopicDeleted{Topic: name}) }

// pendingRemovals returns an error if positions of deleted topics still exist because the disk was too full to journal
// their removal, and nil otherwise.
func (g *groups) pendingRemovals() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	_, err := g.state.PendingTopicRemovals()
	return err
}

// retryPendingRemovals tries again to remove the positions for which pendingRemovals returns an error.
func (g *groups) retryPendingRemovals() {
	g.mu.Lock()
	topics, _ := g.state.PendingTopicRemovals()
	g.mu.Unlock()
	for _, name := range topics {
		g.topicDeleted(name)
	}
}

// snapshot returns the encoded state of the coordinator for a checkpoint.
func (g *groups) snapshot() []byte {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.state.Snapshot()
}

// ask passes a request to the coordinator and blocks until the coordinator has answered it. The error is the cause of
// ctx if ctx ends first, and ErrClosed if the engine closes.
func ask[R any](ctx context.Context, e *Engine, request func(group.Ticket) group.Event) (R, error) {
	var none R
	if e.life.isClosing() {
		return none, ErrClosed
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
	case <-e.life.closing:
		return none, ErrClosed
	}
}

// Join makes a client a member of a group, or confirms that it stays one. It blocks until the generation has formed. If
// ctx ends first, the client stays a member until its session times out, as after a lost connection to Apache Kafka.
func (e *Engine) Join(ctx context.Context, r group.JoinRequest) group.JoinResponse {
	answer, err := ask[group.JoinResponse](ctx, e, func(t group.Ticket) group.Event { return group.Join{Ticket: t, JoinRequest: r} })
	if err != nil {
		return group.JoinResponse{Err: err, Generation: -1, Member: r.Member}
	}
	return answer
}

// Sync returns a member's assignment. It blocks until the group's leader has sent the assignments and they are durable.
func (e *Engine) Sync(ctx context.Context, r group.SyncRequest) group.SyncResponse {
	answer, err := ask[group.SyncResponse](ctx, e, func(t group.Ticket) group.Event { return group.Sync{Ticket: t, SyncRequest: r} })
	if err != nil {
		return group.SyncResponse{Err: err}
	}
	return answer
}

// Heartbeat keeps a member's session alive. It returns an error that the client must react to, such as that of a
// rebalance.
func (e *Engine) Heartbeat(ctx context.Context, r group.HeartbeatRequest) error {
	answer, err := ask[group.HeartbeatResponse](ctx, e, func(t group.Ticket) group.Event { return group.Heartbeat{Ticket: t, HeartbeatRequest: r} })
	if err != nil {
		return err
	}
	return answer.Err
}

// Leave removes members from a group at once. The response has a result for each of them.
func (e *Engine) Leave(ctx context.Context, r group.LeaveRequest) group.LeaveResponse {
	answer, err := ask[group.LeaveResponse](ctx, e, func(t group.Ticket) group.Event { return group.Leave{Ticket: t, LeaveRequest: r} })
	if err != nil {
		return group.LeaveResponse{Err: err}
	}
	return answer
}

// Commit commits positions of a group. The positions are durable when it returns. The result has one entry for each
// position in r: nil, or the error. An error of the whole request is in every entry.
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

// FetchOffsets returns the committed positions of a group in the partitions tps, or in all partitions if tps is nil. A
// partition without a committed position is absent from the result. Everything in the result is durable. The error is
// always nil.
func (e *Engine) FetchOffsets(groupID string, tps []group.TopicPartition) (map[group.TopicPartition]group.Committed, error) {
	e.groups.mu.Lock()
	defer e.groups.mu.Unlock()
	return e.groups.state.FetchOffsets(groupID, tps), nil
}

// UnstableOffsets returns the partitions in which the position of a group may change when an open transaction ends.
func (e *Engine) UnstableOffsets(groupID string) map[group.TopicPartition]bool {
	e.groups.mu.Lock()
	defer e.groups.mu.Unlock()
	return e.groups.state.Unstable(groupID)
}

// Groups returns all groups in the order of their names. The descriptions have no members.
func (e *Engine) Groups() []group.Description {
	e.groups.mu.Lock()
	defer e.groups.mu.Unlock()
	return e.groups.state.List()
}

// DescribeGroup returns the group with an id, including its members. If there is no such group, the State is Dead.
func (e *Engine) DescribeGroup(id string) group.Description {
	e.groups.mu.Lock()
	defer e.groups.mu.Unlock()
	return e.groups.state.Describe(id)
}

// DeleteGroup removes a group, which must have no members, and its positions. The removal is durable when it returns
// nil.
func (e *Engine) DeleteGroup(ctx context.Context, id string) error {
	answer, err := ask[group.DeleteGroupResponse](ctx, e, func(t group.Ticket) group.Event { return group.DeleteGroup{Ticket: t, Group: id} })
	if err != nil {
		return err
	}
	return answer.Err
}

// DeleteOffsets removes the positions of a group in the partitions tps. The removal is durable when it returns. The map
// has an entry for each partition: nil, or group.ErrSubscribedToTopic if a member is subscribed to the partition's
// topic.
//
// The error is group.ErrGroupNotFound, group.ErrGroupNotEmpty, ErrClosed, the cause of ctx, or an error of storing the
// removal. In the first two cases nothing was removed; in the others it is not known whether anything was.
func (e *Engine) DeleteOffsets(ctx context.Context, id string, tps []group.TopicPartition) (map[group.TopicPartition]error, error) {
	answer, err := ask[group.DeleteOffsetsResponse](ctx, e, func(t group.Ticket) group.Event {
		return group.DeleteOffsets{Ticket: t, Group: id, Partitions: tps}
	})
	if err != nil {
		return nil, err
	}
	return answer.Partitions, answer.Err
}

// ClientBytes returns the memory of what clients have the engine remember, about: members and positions of groups, and
// idempotent producers.
func (e *Engine) ClientBytes() int64 {
	return e.groups.bytes.Load() + e.producers.Bytes() + e.transactions.bytes.Load()
}
