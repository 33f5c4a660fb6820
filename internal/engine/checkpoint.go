package engine

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"tidings.dev/internal/datadir"
	"tidings.dev/internal/journal"
	"tidings.dev/internal/vfs"
)

// checkpointPosition identifies a checkpoint that is durable, and the part of the journal that belongs to it.
type checkpointPosition struct {
	sequence uint64      // sequence number of the checkpoint; 0 means that there is no checkpoint
	boundary journal.LSN // recovery from this checkpoint replays the journal after this LSN
}

// Checkpoint takes a checkpoint and blocks until it is durable. The engine takes checkpoints by itself when enough was
// journaled since the last one, so that no caller need call Checkpoint for safety. Appends go on meanwhile. Checkpoint
// does nothing if nothing was journaled since the last checkpoint. Its error matches ErrStorage, ErrFull or ErrClosed,
// or is the cause of ctx if ctx ends before the checkpoint has begun.
func (e *Engine) Checkpoint(ctx context.Context) error {
	return e.maintenance.runTask(ctx, func() error {
		if err := e.Full(); err != nil {
			return err // leaveDiskFull takes the checkpoint in that state
		}
		err := e.maintenance.checkpoint(true)
		if err != nil {
			e.onStorageError(err)
		}
		return err
	})
}

// checkpoint makes durable, outside the journal, everything that was journaled until now, and writes a checkpoint.
// After it the journal can be reused up to the boundary of the previous checkpoint, so that the two newest checkpoints
// both stay usable. Appends go on meanwhile; if paced is true, checkpoint pauses between groups of partitions and
// leaves the disk to the appends. Only one goroutine at a time may call it, as the documentation of maintenance
// describes.
//
// After an error nothing is lost: the previous checkpoint stays the newest, and the next call covers everything that
// this call should have covered.
func (m *maintenance) checkpoint(paced bool) (failed error) {
	e := m.engine
	if !m.owed && !m.compaction.waiting.Load() && m.newest.sequence > 0 && m.pendingBytes.Load() == 0 {
		return nil // nothing has happened since the last checkpoint
	}
	select {
	case <-m.checkpointDue: // this checkpoint also serves the requests that have come until now
	default:
	}
	refusals := e.journal.FullCount()
	if e.journal.Full() != nil {
		e.takeBackOffsets()
	}
	covered := m.uncoveredBytes.Add(m.pendingBytes.Swap(0))
	m.interval.begin()
	e.segments.notifyWaiters()

	e.topics.changeMu.Lock() // while changeMu is held, no change of the catalogue is under way
	deletions := m.takeDeletions()
	defer func() {
		if failed != nil {
			m.requeue(deletions)
			m.owed = true
		}
	}()
	c := &datadir.Checkpoint{
		Sequence: m.newest.sequence + 1,
		Boundary: journal.LSN(e.commits.applied.Load()),
		Epoch:    e.topics.epoch,
		Cluster:  m.cluster,
	}
	c.Catalogue = e.topics.catalogue.Snapshot()
	parts := e.allParts()
	e.topics.changeMu.Unlock()

	c.Groups = e.groups.snapshot()
	c.Transactions = e.transactions.snapshot()
	e.producerIDs.mu.Lock()
	c.ProducerIDs = e.producerIDs.next.Snapshot()
	e.producerIDs.mu.Unlock()

	slices.SortFunc(parts, func(a, b *part) int {
		return cmp.Or(slices.Compare(a.id.Topic[:], b.id.Topic[:]), cmp.Compare(a.id.Index, b.id.Index))
	})
	var err error
	if c.Partitions, err = m.makeDurable(parts, paced); err != nil {
		return err
	}

	// The snapshots above, above all those of producer state, may contain effects of entries that were queued in the
	// journal but not yet durable when they were taken. The journal is durable in order, so when this barrier is
	// durable, so are those entries.
	if err := e.commit(datadir.KindBarrier, nil); err != nil {
		return err
	}
	// If the journal has refused entries for lack of space since the beginning of this checkpoint, the snapshots may
	// contain offsets and sequence numbers of appends that were refused. Such a checkpoint must not be written.
	if e.journal.FullCount() != refusals {
		return storageError(cmp.Or(e.journal.Full(), error(journal.ErrFull)))
	}
	// If committed positions of a deleted topic still exist, the entry of the deletion must stay in the journal: its
	// replay removes the positions.
	if err := e.groups.pendingRemovals(); err != nil {
		return err
	}
	if err := vfs.WriteFile(e.config.FS, datadir.CheckpointName(c.Sequence), c.Encode()); err != nil {
		return fmt.Errorf("engine: write a checkpoint: %w", err)
	}
	previous := m.newest
	m.newest = checkpointPosition{sequence: c.Sequence, boundary: c.Boundary}
	m.owed = false
	m.uncoveredBytes.Add(-covered)
	e.segments.notifyWaiters()
	if err := m.releaseBefore(previous); err != nil {
		return err
	}
	m.removeDeleted(deletions)
	m.reclaim(c.Partitions)
	return nil
}

// releaseBefore releases the journal up to the boundary of the checkpoint previous, and removes all checkpoint files
// that are older than previous.
func (m *maintenance) releaseBefore(previous checkpointPosition) error {
	e := m.engine
	if err := e.journal.Release(previous.boundary); err != nil {
		return err
	}
	entries, err := e.config.FS.List(".")
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if n, ok := datadir.ParseCheckpointName(entry.Name); ok && n < previous.sequence {
			if err := e.config.FS.Remove(entry.Name); err != nil {
				return err
			}
		}
	}
	return nil
}

// maxReplayBytes returns how many bytes of journal may be covered by no durable checkpoint before appends wait. Without
// this bound, processes that end before their first checkpoint, one after the other, would each leave more to replay to
// the next. The bound is as much as one process can leave if it ends during a very slow checkpoint.
func (m *maintenance) maxReplayBytes() int64 {
	return 4*m.interval.maxBytes() + m.engine.config.MaxPendingBytes
}

// isBehind reports whether checkpoints do not keep up with the journal: more than twice the interval between
// checkpoints was journaled since the last checkpoint began, or more than maxReplayBytes is covered by no checkpoint.
// Appends then wait.
func (m *maintenance) isBehind() bool {
	pending := m.pendingBytes.Load()
	return pending > 2*m.interval.bytes() || m.uncoveredBytes.Load()+pending > m.maxReplayBytes()
}
