package engine

import (
	"cmp"
	"errors"
	"sync/atomic"
	"syscall"
	"time"

	"tidings.dev/internal/journal"
	"tidings.dev/internal/partition"
)

// A full disk breaks nothing: appends and new topics are refused with the reason (ErrFull), reads go on, and so do
// commits of positions and deletions, for which the journal keeps a file back. What was queued for the journal is
// refused too, and its offsets are taken back. The keeper looks for room as soon as something was deleted, and
// regularly: it writes the segments that could not be written, takes a checkpoint, which frees the journal's files, and
// lets the journal go on. When what the journal keeps back is used up, positions are refused too, then deletions: nobody
// is told of what is not durable, so that nothing is in doubt, and all go on when there is room. A failed sync is no full
// disk, whatever its cause: it fences, for nobody knows which pages have reached the disk.

// room is what the engine knows of a full disk. The zero value: it is not.
type room struct {
	full  atomic.Pointer[error] // why appends are refused; nil: they are not
	look  chan struct{}         // holds one: the keeper is to look for room
	again *time.Timer           // asks it to; of the keeper's goroutine, nil until the first time
}

func (r *room) want() {
	select {
	case r.look <- struct{}{}:
	default:
	}
}

// Full returns why appends are refused although the log is sound, matching ErrFull and ErrStorage, or nil.
func (e *Engine) Full() error {
	if p := e.room.full.Load(); p != nil {
		return *p
	}
	return nil
}

// isFull tells a disk without room, where nothing is lost, from every other error.
func isFull(err error) bool {
	switch {
	case errors.Is(err, journal.ErrFull):
		return !errors.Is(err, journal.ErrFenced)
	case errors.Is(err, journal.ErrFenced), errors.Is(err, partition.ErrSync), errors.Is(err, errSyncDir):
		return false
	}
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// stumble takes an error of the journal or of a segment: the disk is full, or the log is fenced.
func (e *Engine) stumble(err error) {
	if isFull(err) {
		e.fill(err)
	} else {
		e.fence(err)
	}
}

// fill notes that the disk is full, and has the keeper look for room. It does not block.
func (e *Engine) fill(err error) {
	err = storageError(err)
	if e.room.full.CompareAndSwap(nil, &err) {
		e.log.Error("the disk is full: nothing more is appended until there is room; reads, positions and deletions go on", "err", err)
		e.tail.admitted()
		e.room.want()
	}
}

// makeRoom is the keeper's: it brings everything to the disk that waits for room, and ends the state of being full when
// it has succeeded. An error is one that fences.
func (e *Engine) makeRoom() error {
	if e.Full() == nil {
		return nil
	}
	err := e.bringDown()
	if isFull(err) {
		// Files that the journal keeps for reuse are of more use to others now.
		if err = e.journal.GiveRoom(); err == nil {
			err = e.bringDown()
		}
	}
	switch {
	case isFull(err):
		if e.room.again == nil {
			e.room.again = time.AfterFunc(e.c.RoomInterval, e.room.want)
		} else {
			e.room.again.Reset(e.c.RoomInterval)
		}
		return nil
	case err != nil:
		return err
	}
	e.room.full.Store(nil)
	if full := e.journal.Full(); full != nil { // again, before anybody could be told
		e.fill(full)
		return nil
	}
	e.log.Info("there is room on the disk again: appends go on")
	return nil
}

// bringDown writes what waits in memory, takes a checkpoint and lets the journal go on.
func (e *Engine) bringDown() error {
	e.groups.payUp()
	if err := e.tail.pass(e); err != nil {
		return err
	}
	if err := e.probe(); err != nil {
		return err
	}
	if err := e.checkpoint(false); err != nil {
		return err
	}
	if e.journal.Full() == nil { // should it be by the time that this is known, makeRoom sees it
		return nil
	}
	e.takeBack()
	return e.journal.Resume()
}

const (
	probeFile  = "room" + temporarySuffix
	probeBytes = 4 << 10
)

// probe sees whether a checkpoint of about the size of the last would have room, so that trying in vain does not use up
// what the journal keeps back.
func (e *Engine) probe() error {
	bytes := int64(probeBytes)
	if last, err := e.c.FS.Stat(checkpointName(e.keeper.newest.sequence)); err == nil {
		bytes += last.SizeBytes
	}
	f, err := e.c.FS.Create(probeFile)
	if err != nil {
		return err
	}
	err = errors.Join(f.Allocate(bytes), f.Close())
	return errors.Join(err, e.c.FS.Remove(probeFile))
}

// takeBack takes the offsets back that were given to appends which the journal then refused. It is called while the journal
// is full: every append that is on its way there is refused meanwhile, so a partition's next offset is the end of its log.
func (e *Engine) takeBack() {
	for _, p := range e.allParts() {
		if p.ring != nil {
			continue
		}
		p.assign.Lock()
		if end := p.log.End(); p.next != end {
			p.next = end
			p.producers.Forget(end)
		}
		p.assign.Unlock()
	}
}

// freeRoom removes the segments of deleted partitions at once, before the checkpoint that they would wait for: that may
// need the room. A recovery finds them missing and then their deletion in the journal, as it does after retention.
func (e *Engine) freeRoom(dropped []*part) {
	if e.Full() == nil {
		return
	}
	for _, p := range dropped {
		p.io.Lock()
		err := p.log.DeleteBefore(p.log.End())
		p.io.Unlock()
		if err != nil {
			e.log.Warn("a deleted partition's files could not be removed", "dir", p.dir, "err", err)
		}
	}
	e.room.want()
}

// mayGrow says why nothing may be added now, or nil.
func (e *Engine) mayGrow() error {
	if err := e.usable(); err != nil {
		return err
	}
	return cmp.Or(e.Full(), e.groups.owes())
}
