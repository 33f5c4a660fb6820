package engine

import (
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"tidings.dev/internal/batch"
	"tidings.dev/internal/datadir"
	"tidings.dev/internal/journal"
	"tidings.dev/internal/meta"
	"tidings.dev/internal/txn"
)

// Append assigns offsets to record batches and stores them. records are one or more whole batches of one partition, as
// a client sent them. Append validates and copies them before it returns, and changes nothing in the copy but base
// offset, leader epoch, and the type and the largest of the timestamps: under LogAppendTime it is that of the append,
// and under CreateTime it is corrected if the batch states another than its records have. A batch of an idempotent
// producer must be the only batch of its append.
//
// done is called exactly once: with an error, or when consumers can read the batches and they are as durable as the
// topic's durability (meta.Durability) asks for. done must not block: it may be called before Append returns, and it
// may run on the committing goroutine. Append itself blocks while too many bytes are queued for the journal, are not
// yet written to segment files, or are not yet covered by a checkpoint.
//
// Errors match ErrUnknownTopic, ErrUnknownPartition, ErrStorage, ErrFull, ErrClosed, the errors of package batch and
// those of txn.Producers.Check.
func (e *Engine) Append(id Partition, records []byte, done func(Appended)) {
	e.append(id, records, nil, false, nil, done)
}

// AppendDeferred does what Append does, but does not start a commit: the caller must call CommitInline or CommitSoon
// after its last append. Until then the batches are committed only if another append or commit starts one.
//
// If memory is not nil, records must be exactly one batch, and the log keeps these bytes and does not copy them: the
// caller must neither read nor write them any more. The log calls memory.Release when it no longer needs the bytes, at
// the earliest before AppendDeferred returns. It never calls it if a reader was given the bytes.
func (e *Engine) AppendDeferred(id Partition, records []byte, memory batch.Memory, done func(Appended)) {
	e.append(id, records, memory, true, nil, done)
}

// AppendInTransaction does what AppendDeferred does, for a batch of a transaction. The batch is durable when done is
// called, whatever the topic's durability. Errors are also those of txn.Coordinator.Admit.
func (e *Engine) AppendInTransaction(id Partition, records []byte, memory batch.Memory, in Transaction, done func(Appended)) {
	e.append(id, records, memory, true, &in, done)
}

// CommitSoon starts a commit of everything that was appended, on the journal's own goroutine. It does not block.
func (e *Engine) CommitSoon() { e.journal.Wake() }

// CommitInline commits everything that was appended, on the calling goroutine. It blocks for about one sync and calls the
// done functions of the batches that it commits, so the caller must hold no lock that a done function may take. If another
// goroutine is committing, or if more is queued than one commit group holds, CommitInline does what CommitSoon does. It is
// for callers that would wait for the sync anyway.
func (e *Engine) CommitInline() { e.journal.CommitInline() }

// append does what Append, AppendDeferred and AppendInTransaction do. in is nil for batches that are not of a transaction.
func (e *Engine) append(id Partition, records []byte, memory batch.Memory, deferred bool, in *Transaction, done func(Appended)) {
	p, err := e.part(id)
	if err == nil {
		err = e.checkOpen()
	}
	var fixes []timestampFix
	if err == nil {
		fixes, err = e.validate(records, p.config(), in != nil)
	}
	if err == nil && in != nil && p.config().inMemory() {
		err = errNotInMemory
	}
	if err == nil && memory != nil && !isSingle(records) {
		err = fmt.Errorf("%w: more than one record batch", ErrInvalidRecord)
	}
	if err == nil && !p.config().inMemory() {
		err = e.segments.admit()
	}
	op := newAppendOp()
	op.engine, op.part, op.done, op.memory, op.deferred, op.transaction = e, p, done, memory, deferred, in
	if err != nil {
		op.fail(err)
		return
	}
	if op.records = records; memory == nil {
		op.copyRecords(records)
	}
	op.fixTimestamps(fixes)
	switch done, err := op.assign(); {
	case err != nil:
		op.fail(err)
	case done:
		op.finish(op.answer)
	}
}

// The records of a batch may decompress to decompressedRatio times its size, or to minDecompressedBytes if that is more.
// Both are far above what producers send, and bound the time that a batch can take.
const (
	minDecompressedBytes = 64 << 20
	decompressedRatio    = 4
)

// timestampFix is a correction of one batch of an append, of the number index: its header states other timestamps than its records
// have. maxTimestamp is the largest of those.
type timestampFix struct {
	index        int
	maxTimestamp int64
}

// validate checks batches that a client sent, and decodes their records once (docs/kafka-traps.md, trap 23). It returns
// what must be corrected in them, or an error that says why they are refused. It does not keep records.
// All batches must be of a transaction if transactional is true, and none otherwise.
func (e *Engine) validate(records []byte, config *partConfig, transactional bool) (fixes []timestampFix, _ error) {
	if len(records) == 0 {
		return nil, fmt.Errorf("%w: no record batch", ErrInvalidRecord)
	}
	n, idempotent := 0, false
	for v, err := range batch.Split(records) {
		if err != nil {
			return nil, err
		}
		if err := batch.Validate(v, config.maxBatchBytes); err != nil {
			return nil, err
		}
		if v.Transactional() != transactional {
			return nil, fmt.Errorf("%w: a batch is of a transaction (%t), and its request is (%t)", ErrInvalidRecord, v.Transactional(), transactional)
		}
		if !e.config.TrustRecords {
			contents, err := batch.ReadContents(v, max(minDecompressedBytes, decompressedRatio*len(v)))
			if err == nil {
				err = config.checkContents(v, contents, e.config.Now())
			}
			if err != nil {
				return nil, err
			}
			if !config.logAppendTime && (v.LogAppendTime() || v.MaxTimestamp() != contents.MaxTimestamp) {
				fixes = append(fixes, timestampFix{n, contents.MaxTimestamp})
			}
		}
		n, idempotent = n+1, idempotent || v.ProducerID() >= 0
	}
	if idempotent && n > 1 {
		return nil, fmt.Errorf("%w: %d batches of an idempotent producer in one append", ErrInvalidRecord, n)
	}
	return fixes, nil
}

// checkContents returns an error if the records of v lack a key that the topic needs, or if a timestamp is further
// behind or ahead of now than the topic's configuration allows.
func (c *partConfig) checkContents(v batch.View, contents batch.Contents, now time.Time) error {
	if c.compacted && contents.NullKeys { // compaction needs keys: trap 12 of docs/kafka-traps.md
		return fmt.Errorf("%w: a record without a key on a compacted topic", ErrInvalidRecord)
	}
	if c.logAppendTime {
		if v.LogAppendTime() {
			return fmt.Errorf("%w: a producer may not set log append time", batch.ErrInvalidTimestamp)
		}
		return nil
	}
	if late := c.timestampAfter; late >= 0 && late < math.MaxInt64 && contents.MaxTimestamp > now.Add(late).UnixMilli() {
		return fmt.Errorf("%w: %d ms is more than %v ahead of the broker's clock", batch.ErrInvalidTimestamp, contents.MaxTimestamp, late)
	}
	if old := c.timestampBefore; old >= 0 && old < time.Duration(now.UnixNano()) && contents.MinTimestamp < now.Add(-old).UnixMilli() {
		return fmt.Errorf("%w: %d ms is more than %v behind the broker's clock", batch.ErrInvalidTimestamp, contents.MinTimestamp, old)
	}
	return nil
}

// appendOp is one append on its way through the journal. It belongs to the goroutine that called Append until enqueue
// has queued it in the journal, and to the committing goroutine from then on. It is pooled: finish returns it to the
// pool, and no goroutine may use it after that.
type appendOp struct {
	engine *Engine
	part   *part
	// records are whole batches that the engine owns. They go into the log and from there to fetches. They are nil for
	// a duplicate.
	records []byte
	// memory is the memory of records, which are then one batch. It is nil if the garbage collector frees the memory,
	// or if the log has taken it over.
	memory      batch.Memory
	deferred    bool         // the caller of AppendDeferred starts the commit
	transaction *Transaction // to which the batch belongs; nil: none
	done        func(Appended)
	answer      Appended
	head        [datadir.BatchesHeadSize]byte
	payload     [2][]byte                // payload of the journal entry: head, then records
	durable     func(journal.LSN, error) // onDurable, bound once so that appends do not allocate it
}

// appendOps is the pool of appendOp values. All engines of the process share it.
var appendOps sync.Pool

func newAppendOp() *appendOp {
	if op, ok := appendOps.Get().(*appendOp); ok {
		return op
	}
	op := &appendOp{}
	op.durable = op.onDurable
	return op
}

// copyRecords sets op.records to a copy of records. A single batch above batch.SmallBytes is copied into a pooled
// buffer, which becomes op.memory. Smaller batches, for which a buffer would be mostly empty, and several batches,
// which are not evicted together, are copied to memory that the garbage collector frees.
func (op *appendOp) copyRecords(records []byte) {
	if len(records) <= batch.SmallBytes || !isSingle(records) {
		op.records = slices.Clone(records)
		return
	}
	b := batch.NewBuffer(len(records))
	copy(b.Bytes, records)
	op.records, op.memory = b.Bytes, b
}

// fixTimestamps corrects the timestamps of the batches in op.records.
func (op *appendOp) fixTimestamps(fixes []timestampFix) {
	if len(fixes) == 0 {
		return
	}
	n := 0
	for v := range batch.Split(op.records) {
		if len(fixes) > 0 && fixes[0].index == n {
			v.SetCreateTime(fixes[0].maxTimestamp)
			fixes = fixes[1:]
		}
		n++
	}
}

// assign assigns offsets to the batches and queues them in the journal. It holds part.assign for both, so that the order
// of the offsets is the order in the journal.
//
// After an error no offset was assigned and nothing was queued, and the op still belongs to the caller. If done is
// true, nothing was queued either, and op.answer is the result of the append. Otherwise the op belongs to the
// committing goroutine.
func (op *appendOp) assign() (done bool, _ error) {
	p, e := op.part, op.engine
	now, config := e.config.Now(), op.part.config()
	p.assign.Lock()
	defer p.assign.Unlock()
	if p.deleted.Load() {
		return false, ErrUnknownTopic
	}
	op.answer = Appended{BaseOffset: p.next, LogAppendTime: -1}

	first, _ := batch.Length(op.records)
	if v := batch.View(op.records[:first]); v.ProducerID() >= 0 {
		verdict, err := p.producers.Check(txn.BatchOf(v))
		if err != nil {
			return false, err
		}
		if verdict.Duplicate {
			// The original batch may not be durable yet. The journal is durable in order, so a barrier behind the
			// original becomes durable only after it.
			op.answer.BaseOffset, op.answer.LogAppendTime = verdict.BaseOffset, verdict.AppendTimeMS
			op.records = nil
			if p.ring != nil {
				op.answer.LogStart = p.start()
				return true, nil
			}
			return false, op.enqueue(datadir.KindBarrier, config)
		}
	}
	if op.transaction != nil {
		if err := e.transactions.admit(now, op.transaction, batch.View(op.records[:first]), p.id); err != nil {
			return false, err
		}
	}
	if p.ring != nil {
		return true, op.appendToRing(now, config)
	}
	op.stamp(now, config)
	records := op.records
	head := batch.View(records[:first])
	producer, at, next := txn.BatchOf(head), txn.AppendTimeMS(head), head.NextOffset()
	datadir.PutBatchesHead(&op.head, p.id, now.UnixMilli())
	if err := op.enqueue(datadir.KindBatches, config); err != nil {
		return false, err
	}
	// The batches are recorded before they are durable, so that a producer can send its next batch before the answer to
	// this one. If the journal fails, the engine is fenced: it appends and checkpoints nothing any more, so that the
	// record is never used. If the disk is full, takeBackOffsets removes the record. The committing goroutine may have
	// released the memory of the first batch by now, so its values were read before enqueue.
	p.producers.Record(producer, p.next, at, now)
	p.next = next
	for v := range batch.Split(records[first:]) {
		p.producers.Record(txn.BatchOf(v), p.next, txn.AppendTimeMS(v), now)
		p.next = v.NextOffset()
	}
	return false, nil
}

// stamp writes base offsets (from the partition's next offset on), the leader epoch and, under LogAppendTime, the
// append time into op.records. The caller must hold part.assign.
func (op *appendOp) stamp(now time.Time, config *partConfig) {
	next := op.part.next
	for v := range batch.Split(op.records) {
		v.SetBaseOffset(next)
		v.SetLeaderEpoch(op.part.epoch.Load())
		if config.logAppendTime {
			v.SetLogAppendTime(now.UnixMilli())
			op.answer.LogAppendTime = now.UnixMilli()
		}
		next = v.NextOffset()
	}
}

// enqueue appends the op's entry to the journal. It blocks while the journal's queue has no space. If it returns nil,
// the op belongs to the committing goroutine and the caller must not use it any more. The caller must hold part.assign.
func (op *appendOp) enqueue(kind journal.Kind, config *partConfig) error {
	e := op.engine
	op.payload = [2][]byte{op.head[:], op.records}
	entry := journal.Entry{Kind: kind, Payload: op.payload[:], Done: op.durable, Deferred: op.deferred}
	if kind == datadir.KindBarrier {
		entry.Payload = nil
	} else if isSingle(op.records) {
		// validate has verified the checksum of the batch, so that the journal need not compute it again.
		entry.CRC, entry.CRCBytes = batch.View(op.records).CRC(), len(op.records)-batch.CRCFrom
	}
	switch {
	case op.transaction != nil: // synced, so that its end cannot survive it
	case config.durability == meta.Interval:
		entry.SyncWithin = config.syncWithin
	case config.durability == meta.OS:
		entry.SyncWithin = journal.NoDeadline
	}
	if _, err := e.journal.Append(entry); err != nil {
		e.onStorageError(err)
		return storageError(err)
	}
	return nil
}

// isSingle reports whether records, which must be whole batches, consist of exactly one batch.
func isSingle(records []byte) bool {
	n, _ := batch.Length(records)
	return n == len(records)
}

// onDurable makes the batches visible to consumers and finishes the append. It is the Done function of the op's journal
// entry. The committing goroutine calls it, in the order of the offsets within a partition.
func (op *appendOp) onDurable(lsn journal.LSN, err error) {
	e, p, sizeBytes := op.engine, op.part, len(op.records)
	if err != nil {
		e.entryDone(lsn, err)
		op.fail(storageError(err))
		return
	}
	if sizeBytes > 0 {
		for v := range batch.Split(op.records) {
			p.log.AppendPooled(v, op.memory)
		}
		op.memory = nil
		e.segments.recordAppended(int64(sizeBytes))
		e.touch(p)
	}
	op.answer.LogStart = p.log.Start()
	e.recordApplied(lsn, sizeBytes+datadir.BatchesHeadSize, nil)
	op.finish(op.answer)
	e.entryDone(lsn, nil)
}

// touch notes that the committing goroutine, which calls it, has appended to p.
func (e *Engine) touch(p *part) {
	if !p.touched {
		p.touched = true
		e.commits.touched = append(e.commits.touched, p)
		e.maintenance.interval.recordAppend(p)
	}
}

// fail finishes the append with an error.
func (op *appendOp) fail(err error) {
	op.finish(Appended{Err: err, BaseOffset: -1, LogAppendTime: -1, LogStart: -1})
}

// finish returns the op to its pool and calls done with the result. It must be called once, as the last use of the op.
func (op *appendOp) finish(a Appended) {
	done := op.done
	memory := op.memory
	op.engine, op.part, op.records, op.memory, op.done, op.payload = nil, nil, nil, nil, nil, [2][]byte{}
	op.transaction = nil
	appendOps.Put(op)
	if memory != nil {
		memory.Release()
	}
	done(a)
}
