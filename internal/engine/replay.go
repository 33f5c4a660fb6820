package engine

import (
	"fmt"
	"log/slog"
	"slices"
	"time"

	"tidings.dev/internal/batch"
	"tidings.dev/internal/datadir"
	"tidings.dev/internal/journal"
	"tidings.dev/internal/meta"
	"tidings.dev/internal/txn"
	"tidings.dev/internal/vfs"
)

// replay applies one journal entry to the state that load has restored. journal.Open calls it with one entry after
// another, in the order of the journal, from one goroutine. The checkpoint may already contain the effect of an entry;
// applying an entry twice has the effect of applying it once. The caller may reuse payload when replay returns.
func (r *recovery) replay(lsn journal.LSN, kind journal.Kind, payload []byte) error {
	if kind != datadir.KindBarrier {
		r.maintenance.owed = true
	}
	r.maintenance.uncoveredBytes.Add(int64(len(payload)))
	r.raised = kind == datadir.KindEpoch || r.raised && kind == datadir.KindBarrier
	var err error
	switch kind {
	case datadir.KindBatches:
		err = r.replayBatches(payload)
	case datadir.KindChange:
		err = r.replayChange(payload)
	case datadir.KindGroup:
		err = r.groups.ApplyRecord(slices.Clone(payload))
	case datadir.KindProducerIDs:
		block, decodeErr := txn.DecodeBlock(payload)
		if err = decodeErr; err == nil {
			r.producerIDs.next.Replay(block)
		}
	case datadir.KindLogStart:
		err = r.replayLogStart(payload)
	case datadir.KindEpoch:
		epoch, parseErr := datadir.ParseEpoch(payload)
		if err = parseErr; err == nil {
			r.setEpoch(epoch)
		}
	case datadir.KindTransaction:
		err = r.transactions.ApplyRecord(slices.Clone(payload))
	case datadir.KindEnd:
		err = r.replayEnd(slices.Clone(payload))
	case datadir.KindReserved:
		err = r.replayReserved(payload)
	case datadir.KindBarrier:
	default:
		err = fmt.Errorf("engine: entry of unknown kind %d: a newer version wrote it", kind)
	}
	if err != nil {
		return fmt.Errorf("journal entry %d: %w", lsn, err)
	}
	return nil
}

// replayBatches appends the batches of an entry of kind KindBatches to the log of their partition. It blocks while the
// logs hold too much in memory.
func (r *recovery) replayBatches(payload []byte) error {
	id, atMS, records, err := datadir.ParseBatches(payload)
	if err != nil {
		return err
	}
	p := r.topics.parts.get(id)
	if p == nil { // the batches were appended while their topic was being deleted
		r.skipped++
		return nil
	}
	for v, err := range batch.Split(slices.Clone(records)) {
		if err != nil {
			return err
		}
		if err := p.restore(v, r.producersEnd[id], time.UnixMilli(atMS)); err != nil {
			return err
		}
	}
	r.segments.recordAppended(int64(len(records)))
	r.segments.admitReplayed()
	return r.Err()
}

// restore applies one batch from the journal to the partition p. The log keeps the bytes of v. p.producers, as loaded
// from the checkpoint, already includes all batches with offsets below producersEnd. at is when the batch was appended.
func (p *part) restore(v batch.View, producersEnd int64, at time.Time) error {
	if v.BaseOffset() >= producersEnd {
		p.producers.Record(txn.BatchOf(v), v.BaseOffset(), txn.AppendTimeMS(v), at)
	}
	switch end := p.log.End(); {
	case v.NextOffset() <= end: // the checkpoint already covers this batch in a segment
		return nil
	case v.BaseOffset() != end:
		return fmt.Errorf("engine: partition %s/%d ends at offset %d, but the journal goes on at %d",
			p.id.Topic, p.id.Index, end, v.BaseOffset())
	}
	p.log.Append(v)
	p.next = v.NextOffset()
	return nil
}

// replayChange applies a change of the catalogue, unless the checkpoint already contains it.
func (r *recovery) replayChange(payload []byte) error {
	change, err := meta.DecodeChange(payload)
	if err != nil {
		return err
	}
	have, known := r.topics.catalogue.TopicByID(change.Topic.ID)
	switch change.Kind {
	case meta.Deleted:
		r.deleted[change.Topic.Name] = true
		if known {
			r.drop(change)
		}
		return nil
	case meta.Created:
		delete(r.deleted, change.Topic.Name)
		if known {
			return nil
		}
	case meta.Configured:
		if known {
			r.configure(change)
		}
		return nil
	case meta.Grown:
		if !known || have.Partitions >= change.Topic.Partitions {
			return nil
		}
	}
	parts, err := r.makeParts(change.Topic, have.Partitions)
	if err != nil {
		return err
	}
	r.topics.add(change, parts)
	return nil
}

// replayLogStart deletes the records of a partition below the log start in the entry.
func (r *recovery) replayLogStart(payload []byte) error {
	id, start, err := datadir.ParsePartitionOffset(payload)
	if err != nil {
		return err
	}
	if p := r.topics.parts.get(id); p != nil && start > p.log.Start() {
		p.io.Lock()
		defer p.io.Unlock()
		return p.log.DeleteBefore(start)
	}
	return nil
}

// replayReserved applies a reservation of offsets of a partition in memory mode.
func (r *recovery) replayReserved(payload []byte) error {
	id, end, err := datadir.ParsePartitionOffset(payload)
	if err != nil {
		return err
	}
	p := r.topics.parts.get(id)
	if p == nil {
		return nil // the topic was deleted
	}
	if p.ring == nil {
		return fmt.Errorf("engine: partition %s/%d reserves offsets and is not in memory mode", id.Topic, id.Index)
	}
	p.ring.skipTo(end)
	p.next = end
	return p.log.SkipTo(end)
}

// setEpoch raises the leader epoch of every existing partition to epoch, if it is lower. A topic that is created later
// begins with epoch 0 all the same.
func (r *recovery) setEpoch(epoch int32) {
	r.topics.epoch = max(r.topics.epoch, epoch)
	for p := range r.topics.parts.all() {
		if epoch > p.epoch.Load() {
			p.log.BumpEpoch(epoch)
			p.epoch.Store(epoch)
		}
	}
}

// Replay applies journal entries to a checkpoint exactly as Open does, except that its caller provides the entries. It
// journals nothing and serves no clients. The doctor uses it for a repair, to find out which entries can be applied. It
// is not safe for concurrent use.
type Replay struct{ r *recovery }

// NewReplay returns a Replay that has loaded the checkpoint c. The Replay writes segments to fsys, which should be an
// overlay. The caller must call Close. The error is a *datadir.CheckpointError.
func NewReplay(fsys vfs.FS, c *datadir.Checkpoint) (*Replay, error) {
	loaded := *c
	loaded.Sequence = max(c.Sequence, 1) // load takes the sequence 0 for an empty directory and would ignore the partitions
	r := newRecovery(Config{FS: fsys, Logger: slog.New(slog.DiscardHandler)}.withDefaults())
	r.startSegmentWriter()
	replay := &Replay{r}
	if err := r.load(&loaded); err != nil {
		replay.Close()
		return nil, err
	}
	return replay, nil
}

// Apply applies one entry, or returns why the entry cannot be applied after the entries before it. lsn is only used in
// the error. The caller may reuse payload when Apply returns.
func (r *Replay) Apply(lsn journal.LSN, kind journal.Kind, payload []byte) error {
	return r.r.replay(lsn, kind, payload)
}

// Topic returns the topic with an id, in its state after the entries applied so far, and whether it exists.
func (r *Replay) Topic(id meta.TopicID) (meta.Topic, bool) { return r.r.topics.catalogue.TopicByID(id) }

// End returns the offset after the last record of a partition and the newest leader epoch in its log. ok is false if
// there is no such partition.
func (r *Replay) End(id Partition) (end int64, epoch int32, ok bool) {
	p := r.r.topics.parts.get(id)
	if p == nil {
		return 0, 0, false
	}
	return p.log.End(), p.log.Epoch(), true
}

// Epoch returns the leader epoch that the last recovery with a possible loss of records has given to all partitions.
func (r *Replay) Epoch() int32 { return r.r.topics.epoch }

// ProducerIDs returns the reserved blocks of producer ids, as encoded by txn.IDs.Snapshot.
func (r *Replay) ProducerIDs() []byte { return r.r.producerIDs.next.Snapshot() }

// Close ends the Replay and closes its logs. Batches that were not written to segments yet are dropped.
func (r *Replay) Close() {
	r.r.stopSegmentWriter()
	for p := range r.r.topics.parts.all() {
		_ = p.log.Close() // an error is ignored: the files of a Replay need not be durable
	}
}
