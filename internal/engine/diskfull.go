package engine

import (
	"cmp"
	"errors"
	"sync/atomic"
	"time"

	"tidings.dev/internal/datadir"
	"tidings.dev/internal/journal"
	"tidings.dev/internal/partition"
	"tidings.dev/internal/vfs"
)

// What the engine does on a full disk. It refuses appends and new topics with ErrFull. Reads go on, and so do commits
// of positions and deletions, for which the journal keeps files in reserve. Appends that were queued for the journal
// are refused too, and their offsets are taken back. maintenance.run looks for free space at intervals and after each
// deletion. When it finds some, it writes the unwritten batches to segment files, takes a checkpoint, which frees files
// of the journal, and lets the journal go on. When the journal's reserve is used up, commits of positions are refused
// too, and after them deletions. Only durable data is acknowledged in this state as in any other, so that nothing is
// lost.
//
// A failed sync is never treated as a full disk, even if that is its cause. It fences the engine, because the operating
// system does not report which pages have reached the disk.
//
// A lack of file descriptors is treated like a full disk: it stops the same operations, leaves as little in doubt, and
// passes in the same way.

// diskState records whether the disk is full. The zero value means that it is not.
type diskState struct {
	// full is the reason why appends are refused, or nil if the disk is not full. Any goroutine may set it; only
	// maintenance.run clears it.
	full atomic.Pointer[error]
}

// Full returns the reason why appends are refused on a full disk, or nil if the disk is not full. The error matches
// ErrFull and ErrStorage. Full returns nil again when the engine has found free space.
func (e *Engine) Full() error {
	if p := e.maintenance.disk.full.Load(); p != nil {
		return *p
	}
	return nil
}

// isFull reports whether err means that the disk has no space, or the process no free file descriptor, and that no data
// is lost or in doubt: a failed sync is not such an error, even if its cause is a full disk.
func isFull(err error) bool {
	switch {
	case errors.Is(err, journal.ErrFull):
		return !errors.Is(err, journal.ErrFenced)
	case errors.Is(err, journal.ErrFenced):
		return false
	case vfs.IsNoDescriptors(err):
		return true
	case errors.Is(err, partition.ErrSync), errors.Is(err, vfs.ErrSyncDir):
		return false
	}
	return vfs.IsFull(err)
}

// onStorageError handles an error of the journal, of a segment or of a checkpoint. If err means a full disk, the engine
// enters that state; otherwise it is fenced. onStorageError does not block and may be called by any goroutine.
func (e *Engine) onStorageError(err error) {
	if isFull(err) {
		e.enterDiskFull(err)
	} else {
		e.fence(err)
	}
}

// enterDiskFull makes Full return err and makes maintenance.run look for free space. It does not block.
func (e *Engine) enterDiskFull(err error) {
	err = storageError(err)
	if e.maintenance.disk.full.CompareAndSwap(nil, &err) {
		what := "the disk is full"
		if vfs.IsNoDescriptors(err) {
			what = "no file descriptor is free"
		}
		e.log.Error(what+": nothing more is appended until there is room; reads, positions and deletions go on", "err", err)
		e.segments.notifyWaiters()
		e.maintenance.requestSpaceCheck()
	}
}

// leaveDiskFull tries to end the state of a full disk: it writes everything that waits for space. If there is still not
// enough space, it starts a timer for the next attempt and returns nil. It does nothing if the disk is not full. An
// error that it returns is one for which the engine must be fenced. Only run calls it.
func (m *maintenance) leaveDiskFull() error {
	e := m.engine
	if e.Full() == nil {
		return nil
	}
	err := m.flushAndCheckpoint()
	if isFull(err) && !vfs.IsNoDescriptors(err) {
		// Segments and checkpoints need the space more than the journal needs its spare files.
		if err = e.journal.RemoveSpares(); err == nil {
			err = m.flushAndCheckpoint()
		}
	}
	switch {
	case isFull(err):
		if m.retryTimer == nil {
			m.retryTimer = time.AfterFunc(e.config.FullDiskRetry, m.requestSpaceCheck)
		} else {
			m.retryTimer.Reset(e.config.FullDiskRetry)
		}
		return nil
	case err != nil:
		return err
	}
	m.disk.full.Store(nil)
	// The journal became full again after flushAndCheckpoint and before full was cleared.
	if full := e.journal.Full(); full != nil {
		e.enterDiskFull(full)
		return nil
	}
	e.log.Info("there is room again: appends go on")
	return nil
}

// flushAndCheckpoint writes all unwritten batches to segment files, takes a checkpoint, and makes the journal accept
// entries again. Only run calls it.
func (m *maintenance) flushAndCheckpoint() error {
	e := m.engine
	e.groups.retryPendingRemovals()
	if err := e.segments.flushAndEvict(); err != nil {
		return err
	}
	if err := m.probeSpace(); err != nil {
		return err
	}
	if err := m.checkpoint(false); err != nil {
		return err
	}
	if e.journal.Full() == nil { // if the journal becomes full after this check, leaveDiskFull notices it
		return nil
	}
	e.takeBackOffsets()
	return e.journal.Resume()
}

const (
	probeFile  = "room" + vfs.TemporarySuffix
	probeBytes = 4 << 10
)

// probeSpace checks that the disk has space for a checkpoint as large as the last one: it allocates a file of that size
// and removes it. It returns the error of the allocation. Without this check, attempts that fail would use up the
// journal's reserve.
func (m *maintenance) probeSpace() error {
	fsys := m.engine.config.FS
	bytes := int64(probeBytes)
	if last, err := fsys.Stat(datadir.CheckpointName(m.newest.sequence)); err == nil {
		bytes += last.SizeBytes
	}
	f, err := fsys.Create(probeFile)
	if err != nil {
		return err
	}
	err = errors.Join(f.Allocate(bytes), f.Close())
	return errors.Join(err, fsys.Remove(probeFile))
}

// takeBackOffsets takes back the offsets that were given to appends which the journal has refused: it sets each
// partition's next offset to the end of its log. The journal must be full, so that it refuses all appends meanwhile and
// no offset above the end of a log belongs to an append that may still succeed.
func (e *Engine) takeBackOffsets() {
	for _, p := range e.allParts() {
		if p.ring != nil {
			continue
		}
		p.assign.Lock()
		if end := p.log.End(); p.next != end {
			p.next = end
			p.producers.Rollback(end)
		}
		p.assign.Unlock()
	}
}

// freeSpaceOf removes the segments of deleted partitions at once if the disk is full. Otherwise it does nothing, and
// the next checkpoint removes them; on a full disk that checkpoint may itself need the space. A recovery from an older
// checkpoint finds that the segments are missing, and then replays the deletion of their topic.
func (e *Engine) freeSpaceOf(deleted []*part) {
	if e.Full() == nil {
		return
	}
	for _, p := range deleted {
		p.io.Lock()
		err := p.log.DeleteBefore(p.log.End())
		p.io.Unlock()
		if err != nil {
			e.log.Warn("a deleted partition's files could not be removed", "dir", p.dir, "err", err)
		}
	}
	e.maintenance.requestSpaceCheck()
}

// checkSpace returns why nothing that takes space may be added now, or nil: an error of checkOpen, the error of Full,
// or an error if positions of deleted topics still wait for space to be removed.
func (e *Engine) checkSpace() error {
	if err := e.checkOpen(); err != nil {
		return err
	}
	return cmp.Or(e.Full(), e.groups.pendingRemovals())
}
