package engine

import (
	"sync/atomic"

	"tidings.dev/internal/datadir"
	"tidings.dev/internal/journal"
)

// commits is the state of the committing goroutine as it handles entries that have become durable.
//
// The Done function of every entry has four steps, in this order: it applies the effects of the entry to memory, calls
// recordApplied, answers the goroutine or client that waits for the entry, and calls entryDone.
type commits struct {
	// LSN of the last entry such that the effects of it and of all earlier entries are in memory; written by the
	// committing goroutine
	applied atomic.Uint64

	// touched contains the partitions that were appended to in the current commit group, each once. They are the
	// partitions whose part.touched is true. Owned by the committing goroutine.
	touched []*part
}

// commit appends one entry to the journal and blocks until it is durable, which takes about one sync. When it returns
// nil, the effects of all earlier entries are in memory. While the disk is full, entries that free space or let
// checkpoints free space have a higher priority than all others. The committing goroutine must not call commit. Errors
// match ErrStorage or ErrClosed; on a full disk they match ErrFull too.
func (e *Engine) commit(kind journal.Kind, payload []byte) error {
	priority := journal.PriorityVital
	switch kind {
	case datadir.KindLogStart, datadir.KindBarrier, datadir.KindEpoch:
		priority = journal.PriorityFreeing
	}
	return e.commitAs(priority, kind, payload)
}

// commitAs does what commit does, with the given priority while the disk is full.
func (e *Engine) commitAs(priority journal.Priority, kind journal.Kind, payload []byte) error {
	if err := e.Err(); err != nil {
		return err
	}
	done := make(chan error, 1)
	_, err := e.journal.Append(journal.Entry{Kind: kind, Payload: [][]byte{payload}, Priority: priority, Done: func(lsn journal.LSN, err error) {
		e.recordApplied(lsn, len(payload), err)
		e.entryDone(lsn, err)
		done <- err
	}})
	if err == nil {
		err = <-done
	}
	if err != nil {
		e.onStorageError(err)
		return storageError(err)
	}
	return nil
}

// recordApplied records that the effects of an entry are in memory, and requests a checkpoint if enough was journaled
// since the last one. If err is not nil it does nothing. The committing goroutine calls it before it answers the entry:
// otherwise a Close that the answer triggers could find nothing to checkpoint, and the entry would be replayed by the
// next Open.
func (e *Engine) recordApplied(lsn journal.LSN, sizeBytes int, err error) {
	if err != nil {
		return
	}
	e.commits.applied.Store(uint64(lsn))
	e.maintenance.recordJournaled(int64(sizeBytes))
}

// entryDone is the last step of every entry's Done function, on the committing goroutine. After the last entry of a
// commit group it wakes the fetches that wait for partitions of touched. If err is not nil and does not mean a full
// disk, it fences the engine.
func (e *Engine) entryDone(lsn journal.LSN, err error) {
	if err != nil {
		if !isFull(err) { // on a full disk the journal calls Options.OnFull itself, after it has answered all entries
			e.fence(err)
		}
		return
	}
	if lsn < e.journal.GroupEnd() {
		return // more entries of this group follow
	}
	for i, p := range e.commits.touched {
		p.touched = false
		p.waiting.wake()
		e.commits.touched[i] = nil
	}
	e.commits.touched = e.commits.touched[:0]
	e.maintenance.notifyAppend()
}
