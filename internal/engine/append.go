package engine

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"tidings.dev/internal/batch"
	"tidings.dev/internal/journal"
	"tidings.dev/internal/meta"
)

// Append gives offsets to record batches and makes them as durable as their topic wants (meta.Durability). records holds one or more whole batches of one
// partition, as a client sent them; the bytes are checked, copied before Append returns, and stored as they are but for
// base offset, leader epoch and, under LogAppendTime, the timestamp. A batch of an idempotent producer must be alone.
//
// done is called once: with an error, or when the batches are durable, in their topic's sense, and visible. It may be called before Append
// returns, and from the goroutine that commits: it must not block. Append itself blocks while too many bytes are queued, or
// not yet in segment files.
//
// Errors match ErrUnknownTopic, ErrUnknownPartition, ErrStorage, ErrFull, ErrClosed, those of batch.Validate and those of
// txn.Producers.Check.
func (e *Engine) Append(id Partition, records []byte, done func(Appended)) {
	e.append(id, records, nil, false, done)
}

// AppendQuiet is Append by a caller who has more to append and then calls Wake or Lead: without it the batches wait for
// another's. If memory is not nil, records are one batch and are not copied: the log keeps the bytes where they are, and
// nobody else may look at them any more. memory is released once they are needed no longer: before AppendQuiet returns at
// the earliest, and never if a reader was given them.
func (e *Engine) AppendQuiet(id Partition, records []byte, memory batch.Memory, done func(Appended)) {
	e.append(id, records, memory, true, done)
}

// Wake has everything that was appended committed in the background.
func (e *Engine) Wake() { e.journal.Wake() }

// Lead has it committed by the calling goroutine, if nobody is at it: it blocks for about one sync then and calls done for
// all batches that are concerned. It is for a caller who would wait for that sync anyway.
func (e *Engine) Lead() { e.journal.Lead() }

func (e *Engine) append(id Partition, records []byte, memory batch.Memory, quiet bool, done func(Appended)) {
	p, err := e.part(id)
	if err == nil {
		err = e.usable()
	}
	if err == nil {
		err = validate(records, p.limits(), e.c.Now())
	}
	if err == nil && memory != nil && !single(records) {
		err = fmt.Errorf("%w: more than one record batch", ErrInvalidRecord)
	}
	if err == nil && !p.limits().inMemory() {
		err = e.tail.admit(e)
	}
	op := newAppendOp()
	op.engine, op.part, op.done, op.memory, op.quiet = e, p, done, memory, quiet
	if err != nil {
		op.fail(err)
		return
	}
	if op.records = records; memory == nil {
		op.own(records)
	}
	switch done, err := op.assign(); {
	case err != nil:
		op.fail(err)
	case done:
		op.finish(op.answer)
	}
}

// maxDecompressedBytes bounds what looking inside one batch of a compacted topic may cost.
const maxDecompressedBytes = 64 << 20

// validate checks what a client sent, before anything of it is kept.
func validate(records []byte, limits *partLimits, now time.Time) error {
	if len(records) == 0 {
		return fmt.Errorf("%w: no record batch", ErrInvalidRecord)
	}
	n, idempotent := 0, false
	for v, err := range batch.Split(records) {
		if err != nil {
			return err
		}
		if err := batch.Validate(v, limits.maxBatchBytes); err != nil {
			return err
		}
		if err := limits.checkTimestamp(v, now); err != nil {
			return err
		}
		if v.Transactional() {
			return fmt.Errorf("%w: transactions are not offered", ErrInvalidRecord)
		}
		n, idempotent = n+1, idempotent || v.ProducerID() >= 0
		if !limits.compacted {
			continue
		}
		for r, err := range batch.Records(v, maxDecompressedBytes) { // trap 12
			if err != nil {
				return err
			}
			if r.Key == nil {
				return fmt.Errorf("%w: a record without a key on a compacted topic", ErrInvalidRecord)
			}
		}
	}
	if idempotent && n > 1 {
		return fmt.Errorf("%w: %d batches of an idempotent producer in one append", ErrInvalidRecord, n)
	}
	return nil
}

// checkTimestamp refuses producers whose clocks are far off, where the topic's configuration sets bounds.
func (l *partLimits) checkTimestamp(v batch.View, now time.Time) error {
	if l.logAppendTime {
		return nil
	}
	if late := l.timestampAfter; late >= 0 && v.MaxTimestamp() > now.Add(late).UnixMilli() {
		return fmt.Errorf("%w: %d ms is more than %v ahead of the broker's clock", batch.ErrInvalidTimestamp, v.MaxTimestamp(), late)
	}
	if old := l.timestampBefore; old >= 0 && old < time.Duration(now.UnixNano()) && v.FirstTimestamp() < now.Add(-old).UnixMilli() {
		return fmt.Errorf("%w: %d ms is more than %v behind the broker's clock", batch.ErrInvalidTimestamp, v.FirstTimestamp(), old)
	}
	return nil
}

// appendOp is one append on its way through the journal. It is pooled: nothing of it may be touched after finish.
type appendOp struct {
	engine  *Engine
	part    *part
	records []byte       // ours: goes into the log, and from there to fetches
	memory  batch.Memory // what records, one batch, stand in; nil: the garbage collector's, or the log has it already
	quiet   bool         // the caller sees to the commit
	done    func(Appended)
	answer  Appended
	head    [batchesHead]byte
	payload [2][]byte
	durable func(journal.LSN, error) // onDurable, bound once
}

var appends sync.Pool

func newAppendOp() *appendOp {
	if op, ok := appends.Get().(*appendOp); ok {
		return op
	}
	op := &appendOp{}
	op.durable = op.onDurable
	return op
}

// own makes a copy the op's records. Small ones, which would fill no buffer, and several batches, which are not let go
// together, are left to the garbage collector.
func (op *appendOp) own(records []byte) {
	if len(records) <= batch.SmallBytes || !single(records) {
		op.records = slices.Clone(records)
		return
	}
	b := batch.NewBuffer(len(records))
	copy(b.Bytes, records)
	op.records, op.memory = b.Bytes, b
}

// assign gives offsets and queues the batches, under the partition's lock, so that offsets and the journal have one
// order. An error means that nothing was queued or given, and done that the answer is there; otherwise the op belongs to
// the goroutine that commits.
func (op *appendOp) assign() (done bool, _ error) {
	p, e := op.part, op.engine
	now, limits := e.c.Now(), op.part.limits()
	p.assign.Lock()
	defer p.assign.Unlock()
	if p.deleted.Load() {
		return false, ErrUnknownTopic
	}
	op.answer = Appended{BaseOffset: p.next, LogAppendTime: -1}

	first, _ := batch.Length(op.records)
	if v := batch.View(op.records[:first]); v.ProducerID() >= 0 {
		verdict, err := p.producers.Check(producerOf(v))
		if err != nil {
			return false, err
		}
		if verdict.Duplicate {
			// The original may still be on its way to the disk. An empty entry behind it is durable only after it.
			op.answer.BaseOffset, op.answer.LogAppendTime = verdict.BaseOffset, verdict.AppendTimeMS
			op.records = nil
			if p.ring != nil {
				op.answer.LogStart = p.start()
				return true, nil
			}
			return false, op.enqueue(kindBarrier, limits)
		}
	}
	if p.ring != nil {
		return true, op.remember(now, limits)
	}
	op.stamp(now, limits)
	records := op.records
	head := batch.View(records[:first])
	producer, at, next := producerOf(head), appendTime(head), head.NextOffset()
	putBatchesHead(&op.head, p.id, now.UnixMilli())
	if err := op.enqueue(kindBatches, limits); err != nil {
		return false, err
	}
	// Recorded before it is durable, so that pipelined batches follow each other. Should the journal fail, nothing is
	// appended or checkpointed any more, and the record is of no use to anyone; if it has no room, it is taken back.
	// Memory that is held may be used again by now: of the first batch all was read before.
	p.producers.Record(producer, p.next, at, now)
	p.next = next
	for v := range batch.Split(records[first:]) {
		p.producers.Record(producerOf(v), p.next, appendTime(v), now)
		p.next = v.NextOffset()
	}
	return false, nil
}

// stamp gives the batches their offsets, from the partition's next one on.
func (op *appendOp) stamp(now time.Time, limits *partLimits) {
	next := op.part.next
	for v := range batch.Split(op.records) {
		v.SetBaseOffset(next)
		v.SetLeaderEpoch(op.part.epoch.Load())
		if limits.logAppendTime {
			v.SetLogAppendTime(now.UnixMilli())
			op.answer.LogAppendTime = now.UnixMilli()
		}
		next = v.NextOffset()
	}
}

// enqueue gives an entry to the journal. Without an error nothing of the op may be touched any more.
func (op *appendOp) enqueue(kind journal.Kind, limits *partLimits) error {
	e := op.engine
	op.payload = [2][]byte{op.head[:], op.records}
	entry := journal.Entry{Kind: kind, Payload: op.payload[:], Done: op.durable, Quiet: op.quiet}
	if kind == kindBarrier {
		entry.Payload = nil
	} else if single(op.records) {
		// Its checksum was checked: the journal need not sum it again.
		entry.Sum, entry.SummedBytes = batch.View(op.records).CRC(), len(op.records)-batch.SummedFrom
	}
	switch limits.durability {
	case meta.Interval:
		entry.SyncWithin = limits.syncWithin
	case meta.OS:
		entry.SyncWithin = journal.NoDeadline
	}
	if _, err := e.journal.Append(entry); err != nil {
		e.stumble(err)
		return storageError(err)
	}
	return nil
}

// single says whether whole batches are one.
func single(records []byte) bool {
	n, _ := batch.Length(records)
	return n == len(records)
}

// onDurable makes the batches visible and answers. It runs on the goroutine that commits, in the order of the offsets.
func (op *appendOp) onDurable(lsn journal.LSN, err error) {
	e, p, sizeBytes := op.engine, op.part, len(op.records)
	if err != nil {
		e.committed(lsn, err)
		op.fail(storageError(err))
		return
	}
	if sizeBytes > 0 {
		for v := range batch.Split(op.records) {
			p.log.AppendHeld(v, op.memory)
		}
		op.memory = nil
		e.tail.grown(e.appended.Add(int64(sizeBytes)))
		if !p.touched {
			p.touched = true
			e.touched = append(e.touched, p)
			e.distance.appendedTo(p)
		}
	}
	op.answer.LogStart = p.log.Start()
	e.count(lsn, sizeBytes+batchesHead, nil)
	op.finish(op.answer)
	e.committed(lsn, nil)
}

func (op *appendOp) fail(err error) {
	op.finish(Appended{Err: err, BaseOffset: -1, LogAppendTime: -1, LogStart: -1})
}

// finish answers and gives the op back.
func (op *appendOp) finish(a Appended) {
	done := op.done
	memory := op.memory
	op.engine, op.part, op.records, op.memory, op.done, op.payload = nil, nil, nil, nil, nil, [2][]byte{}
	appends.Put(op)
	if memory != nil {
		memory.Release()
	}
	done(a)
}
