package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"tidings.dev/internal/batch"
	"tidings.dev/internal/datadir"
	"tidings.dev/internal/group"
	"tidings.dev/internal/journal"
	"tidings.dev/internal/meta"
	"tidings.dev/internal/txn"
)

// transactions runs the coordinator of transactions: it passes requests and deadlines to it and carries out the effects
// that it returns (ADR 40). It has no goroutine of its own and one timer.
type transactions struct {
	engine *Engine

	// order is held from a step of the coordinator until its effects are queued in the journal. It is taken before
	// groups.order and part.assign, and the committing goroutine never takes it.
	order sync.Mutex

	// mu guards state, timer and due. It is a leaf, and the committing goroutine takes it too.
	mu    sync.Mutex
	state *txn.Coordinator
	timer *time.Timer // calls step with a txn.Tick
	due   time.Time   // when timer fires; the zero time means that timer does not run

	bytes atomic.Int64 // state.Bytes after the last step
}

// start begins to serve requests with state, the coordinator that recovery has filled. It blocks while the journal's
// queue has no space.
func (x *transactions) start(e *Engine, state *txn.Coordinator) {
	x.engine, x.state = e, state
	x.timer = time.AfterFunc(time.Hour, func() { x.step(txn.Tick{}) })
	x.timer.Stop()
	x.order.Lock()
	defer x.order.Unlock()
	x.mu.Lock()
	effects := state.Resume(e.config.Now())
	x.arm()
	x.mu.Unlock()
	x.perform(effects)
}

// stop stops the timer.
func (x *transactions) stop() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.timer.Stop()
}

// step passes one event to the coordinator and performs the effects that it returns. It blocks while the journal's queue
// has no space. The committing goroutine must not call it.
func (x *transactions) step(ev txn.Event) {
	x.order.Lock()
	defer x.order.Unlock()
	x.mu.Lock()
	if _, tick := ev.(txn.Tick); tick {
		x.due = time.Time{}
	}
	effects := x.state.Step(x.engine.config.Now(), ev)
	x.arm()
	x.mu.Unlock()
	x.perform(effects)
}

// arm sets the timer for the next deadline, unless it fires earlier: an early tick does no harm. mu must be held.
func (x *transactions) arm() {
	x.bytes.Store(x.state.Bytes())
	next, ok := x.state.NextDeadline()
	if !ok || !x.due.IsZero() && !next.Before(x.due) || x.engine.life.isClosing() {
		return
	}
	x.due = next
	x.timer.Reset(max(next.Sub(x.engine.config.Now()), 0))
}

// perform carries out effects. order must be held.
func (x *transactions) perform(effects []txn.Effect) {
	for _, ef := range effects {
		switch ef := ef.(type) {
		case txn.Reply:
			ef.Ticket.(chan any) <- ef.Response // it has room for the one answer
		case txn.Persist:
			x.persist(ef)
		case txn.Finish:
			x.finish(ef)
		}
	}
}

// checkOpen returns why nothing may be journaled. While the engine closes, records are journaled until Close has closed
// the journal.
func (x *transactions) checkOpen() error {
	if err := x.engine.checkOpen(); err != nil && !errors.Is(err, ErrClosed) {
		return err
	}
	return nil
}

// persist queues one record in the journal. order must be held.
func (x *transactions) persist(p txn.Persist) {
	e := x.engine
	err := x.checkOpen()
	if err == nil {
		_, err = e.journal.Append(journal.Entry{Kind: datadir.KindTransaction, Payload: [][]byte{p.Record}, Done: func(lsn journal.LSN, err error) {
			replies := x.persisted(p.Seq, storageError(err))
			e.recordApplied(lsn, len(p.Record), err)
			x.reply(replies)
			e.entryDone(lsn, err)
		}})
	}
	if err != nil {
		e.onStorageError(err)
		x.reply(x.persisted(p.Seq, storageError(err)))
	}
}

// persisted reports to the coordinator whether an effect became durable, and returns the effects, which are only replies.
// The committing goroutine may call it.
func (x *transactions) persisted(seq uint64, err error) []txn.Effect {
	x.mu.Lock()
	defer x.mu.Unlock()
	defer x.arm()
	return x.state.Step(x.engine.config.Now(), txn.Persisted{Seq: seq, Err: err})
}

// reply sends the answers among effects. It does not block.
func (x *transactions) reply(effects []txn.Effect) {
	for _, ef := range effects {
		if r, ok := ef.(txn.Reply); ok {
			r.Ticket.(chan any) <- r.Response
		}
	}
}

// finishing is the end of a transaction on its way through the journal.
type finishing struct {
	x         *transactions
	seq       uint64
	group     uint64 // ID of the group coordinator's record; 0: none
	markers   []datadir.Marker
	parts     []*part // of markers
	sizeBytes int
}

// finish queues the one entry that ends a transaction. It holds the locks of all its partitions from when its markers get
// their offsets until they are queued, and that of the groups likewise. order must be held.
//
// The entry has the priority of appends: on a full disk an entry of a higher one could be written although appends to
// the same partitions before it are refused, whose offsets it follows.
func (x *transactions) finish(f txn.Finish) {
	e, end := x.engine, datadir.End{Record: f.Record}
	op := &finishing{x: x, seq: f.Seq}
	if len(f.Groups) > 0 {
		e.groups.order.Lock()
		defer e.groups.order.Unlock()
		p := e.groups.endTransaction(f)
		op.group, end.Group = p.ID, p.Record
	}
	now := e.config.Now()
	end.AtMS = now.UnixMilli()
	for _, id := range f.Partitions {
		p, err := e.part(Partition{Topic: meta.TopicID(id.Topic), Index: id.Index})
		if err != nil {
			continue // the topic is deleted
		}
		p.assign.Lock()
		defer p.assign.Unlock()
		if p.deleted.Load() {
			continue
		}
		v := batch.View(batch.AppendMarker(nil, f.Producer.ID, f.Epoch, f.Commit, end.AtMS))
		v.SetBaseOffset(p.next)
		v.SetLeaderEpoch(p.epoch.Load())
		op.parts = append(op.parts, p)
		op.markers = append(op.markers, datadir.Marker{Partition: p.id, Batch: v})
	}
	end.Markers = op.markers
	payload := end.Encode()
	op.sizeBytes = len(payload)
	err := x.checkOpen()
	if err == nil {
		_, err = e.journal.Append(journal.Entry{Kind: datadir.KindEnd, Payload: [][]byte{payload}, Done: op.onDurable})
	}
	if err != nil {
		e.onStorageError(err)
		op.failed(storageError(err))
		return
	}
	for _, p := range op.parts {
		p.next++
	}
}

// failed reports that the entry is not durable, and answers the request.
func (op *finishing) failed(err error) {
	if op.group != 0 {
		op.x.engine.groups.persisted(op.group, err)
	}
	op.x.reply(op.x.persisted(op.seq, err))
}

// onDurable is the Done function of the entry. It makes the markers visible, one after the other.
func (op *finishing) onDurable(lsn journal.LSN, err error) {
	x, e := op.x, op.x.engine
	if err != nil {
		op.failed(storageError(err))
		e.entryDone(lsn, err)
		return
	}
	for i, p := range op.parts {
		p.log.Append(op.markers[i].Batch)
		e.segments.recordAppended(int64(len(op.markers[i].Batch)))
		e.touch(p)
	}
	if op.group != 0 {
		e.groups.persisted(op.group, nil)
	}
	replies := x.persisted(op.seq, nil)
	e.recordApplied(lsn, op.sizeBytes, nil)
	x.reply(replies)
	e.entryDone(lsn, nil)
}

// snapshot returns the encoded state of the coordinator for a checkpoint, or nil if there is no transactional id.
func (x *transactions) snapshot() []byte {
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.state.List()) == 0 {
		return nil
	}
	return x.state.Snapshot()
}

// admit returns nil if a batch may be appended as a part of a transaction. p.assign of the partition must be held until the
// batch is queued.
func (x *transactions) admit(now time.Time, in *Transaction, v batch.View, to Partition) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	defer x.arm()
	return x.state.Admit(now, in.ID, txn.Producer{ID: v.ProducerID(), Epoch: v.ProducerEpoch()},
		txn.Partition{Topic: to.Topic, Index: to.Index}, in.Begin)
}

// Transaction says to which transaction a batch or a position belongs.
type Transaction struct {
	ID string // the transactional id
	// Begin means that the batch or position may begin the transaction, and add its partition or group to it
	// (transactions version 2). Else those must have been added.
	Begin bool
}

// askTransactions passes a request to the coordinator of transactions and blocks until it has answered.
func askTransactions[R any](ctx context.Context, e *Engine, request func(txn.Ticket) txn.Event) (R, error) {
	var none R
	if e.life.isClosing() {
		return none, ErrClosed
	}
	answer := make(chan any, 1)
	e.transactions.step(request(answer))
	select {
	case r := <-answer:
		return r.(R), nil
	case <-ctx.Done():
		return none, context.Cause(ctx)
	case <-e.life.closing:
		return none, ErrClosed
	}
}

// withProducerID sends a request without a new producer id, and again with one if it needs one.
func (e *Engine) withProducerID(ctx context.Context, request func(t txn.Ticket, newID int64) txn.Event) (txn.Producer, error) {
	for newID := int64(-1); ; {
		r, err := askTransactions[txn.ProducerResponse](ctx, e, func(t txn.Ticket) txn.Event { return request(t, newID) })
		if err == nil {
			err = r.Err
		}
		switch {
		case err == nil:
			return r.Producer, nil
		case newID >= 0 || !errors.Is(err, txn.ErrNeedsProducerID):
			return txn.NoProducer, err
		}
		if newID, _, err = e.InitProducerID(ctx, -1, -1); err != nil {
			return txn.NoProducer, err
		}
	}
}

// InitTransactions returns the producer of a transactional id, which fences those before it, and aborts what they have
// left open. expected is the producer that the client goes on with, or txn.NoProducer. All of that is durable when it
// returns. Errors are those of package txn, ErrStorage, ErrFull, ErrClosed, and the cause of ctx.
func (e *Engine) InitTransactions(ctx context.Context, id string, timeout time.Duration, expected txn.Producer) (txn.Producer, error) {
	return e.withProducerID(ctx, func(t txn.Ticket, newID int64) txn.Event {
		return txn.Init{Ticket: t, ID: id, Timeout: timeout, Expected: expected, NewID: newID}
	})
}

// EndTransaction commits or aborts the transaction of a producer, and returns the producer to go on with, which has the
// next epoch if raiseEpoch is true. When it returns, the end is durable and visible. Errors are as those of
// InitTransactions.
func (e *Engine) EndTransaction(ctx context.Context, id string, p txn.Producer, commit, raiseEpoch bool) (txn.Producer, error) {
	return e.withProducerID(ctx, func(t txn.Ticket, newID int64) txn.Event {
		return txn.End{Ticket: t, ID: id, Producer: p, Commit: commit, RaiseEpoch: raiseEpoch, NewID: newID}
	})
}

// AddToTransaction adds partitions and groups to the transaction of a producer, by the old protocol. Errors are as those of
// InitTransactions.
func (e *Engine) AddToTransaction(ctx context.Context, id string, p txn.Producer, partitions []Partition, groups ...string) error {
	ids := make([]txn.Partition, len(partitions))
	for i, q := range partitions {
		ids[i] = txn.Partition{Topic: q.Topic, Index: q.Index}
	}
	r, err := askTransactions[txn.AddResponse](ctx, e, func(t txn.Ticket) txn.Event {
		return txn.Add{Ticket: t, ID: id, Producer: p, Partitions: ids, Groups: groups}
	})
	if err != nil {
		return err
	}
	return r.Err
}

// CommitInTransaction does what Commit does for positions that count once the transaction of a producer has committed.
func (e *Engine) CommitInTransaction(ctx context.Context, in Transaction, p txn.Producer, r group.CommitRequest) map[group.TopicPartition]error {
	answer, err := e.commitInTransaction(ctx, in, p, r)
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

func (e *Engine) commitInTransaction(ctx context.Context, in Transaction, p txn.Producer, r group.CommitRequest) (group.CommitResponse, error) {
	if e.life.isClosing() {
		return group.CommitResponse{}, ErrClosed
	}
	answer := make(chan any, 1)
	err := e.groups.stepIf(func(now time.Time) error {
		x := &e.transactions
		x.mu.Lock()
		defer x.mu.Unlock()
		defer x.arm()
		return x.state.AdmitGroup(now, in.ID, p, r.Group, in.Begin)
	}, group.TransactionalCommit{Ticket: answer, CommitRequest: r, Producer: group.Producer(p)})
	if err != nil {
		return group.CommitResponse{}, err
	}
	select {
	case r := <-answer:
		return r.(group.CommitResponse), nil
	case <-ctx.Done():
		return group.CommitResponse{}, context.Cause(ctx)
	case <-e.life.closing:
		return group.CommitResponse{}, ErrClosed
	}
}

// Transactions returns all transactional ids in the order of their names.
func (e *Engine) Transactions() []txn.Description {
	e.transactions.mu.Lock()
	defer e.transactions.mu.Unlock()
	return e.transactions.state.List()
}

// DescribeTransaction returns one transactional id, and whether it is known.
func (e *Engine) DescribeTransaction(id string) (txn.Description, bool) {
	e.transactions.mu.Lock()
	defer e.transactions.mu.Unlock()
	return e.transactions.state.Describe(id)
}

// replayEnd applies the end of a transaction.
func (r *recovery) replayEnd(payload []byte) error {
	end, err := datadir.DecodeEnd(payload)
	if err != nil {
		return err
	}
	for _, m := range end.Markers {
		p := r.topics.parts.get(m.Partition)
		if p == nil {
			continue // the topic was deleted
		}
		if err := p.restore(m.Batch, r.producersEnd[m.Partition], time.UnixMilli(end.AtMS)); err != nil {
			return err
		}
		r.segments.recordAppended(int64(len(m.Batch)))
	}
	r.segments.admitReplayed()
	if len(end.Group) > 0 {
		if err := r.groups.ApplyRecord(end.Group); err != nil {
			return err
		}
	}
	if len(end.Record) > 0 {
		return r.transactions.ApplyRecord(end.Record)
	}
	return nil
}

// findOpen tells the coordinator of transactions what logs and groups have open.
func (r *recovery) findOpen() {
	for p := range r.topics.parts.all() {
		for _, o := range p.log.OpenTransactions() {
			r.transactions.Found(txn.Producer{ID: o.ProducerID, Epoch: o.Epoch}, txn.Partition{Topic: p.id.Topic, Index: p.id.Index})
		}
	}
	r.groups.Undecided(func(p group.Producer, id string) { r.transactions.FoundGroup(txn.Producer(p), id) })
}

// errNotInMemory is the error for a batch of a transaction to a topic in memory mode.
var errNotInMemory = fmt.Errorf("%w: a topic whose durability is memory takes no batches of transactions", ErrInvalidRecord)
