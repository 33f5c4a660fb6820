package engine

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"tidings.dev/internal/journal"
	"tidings.dev/internal/meta"
)

// keeper is the goroutine behind the scenes: it takes checkpoints, applies retention and removes the files of deleted
// topics. It sleeps until there is something to do; the one timer runs only while some partition holds records.
type keeper struct {
	want      chan struct{} // holds one: a checkpoint is due
	errands   chan func()   // what others ask of its goroutine, between its own duties
	retention *time.Timer
	armed     bool          // the timer runs; of the keeper's goroutine
	unarmed   atomic.Bool   // it does not, as there was no record: the first one is to be told of
	stir      chan struct{} // holds one: there are records

	// Of the goroutine that takes checkpoints: Open, then the keeper, then Close.
	newest   checkpointMark
	cluster  [16]byte
	replayed bool // Open has replayed, or a failed checkpoint has left, something that no checkpoint has yet

	mu     sync.Mutex
	doomed []doomedTopic
}

// checkpointMark is what the next checkpoint must know of the last one.
type checkpointMark struct {
	sequence uint64
	boundary journal.LSN // its own
}

// doomedTopic is a deleted topic whose files stand until a checkpoint no longer refers to them.
type doomedTopic struct {
	id    meta.TopicID
	parts []*part // their logs are open; none after recovery
}

func (k *keeper) wantCheckpoint() {
	select {
	case k.want <- struct{}{}:
	default:
	}
}

func (k *keeper) doom(id meta.TopicID, parts []*part) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.doomed = append(k.doomed, doomedTopic{id, parts})
}

// sentence returns those deleted topics that were deleted before the caller's checkpoint began.
func (k *keeper) sentence() []doomedTopic {
	k.mu.Lock()
	defer k.mu.Unlock()
	doomed := k.doomed
	k.doomed = nil
	return doomed
}

// spare leaves deleted topics to the next checkpoint.
func (k *keeper) spare(doomed []doomedTopic) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.doomed = append(doomed, k.doomed...)
}

// stirred tells the keeper of records, if it went to sleep when there were none. It does not block.
func (k *keeper) stirred() {
	if k.unarmed.Load() && k.unarmed.CompareAndSwap(true, false) {
		select {
		case k.stir <- struct{}{}:
		default:
		}
	}
}

func (e *Engine) keep() {
	k := &e.keeper
	for {
		if !k.armed {
			k.unarmed.Store(true) // before the look, so that no record comes in between unseen
			if e.subjectToRetention() {
				k.unarmed.Store(false)
				k.armed = true
				k.retention.Reset(e.c.RetentionInterval)
			}
		}
		var err error
		select {
		case <-e.closing:
			k.retention.Stop()
			return
		case <-k.want:
			if e.Full() == nil { // else making room ends with one
				err = e.checkpoint(true)
			}
		case <-e.room.look:
			err = e.makeRoom()
		case <-k.stir:
		case do := <-k.errands:
			do()
		case <-k.retention.C:
			k.armed = false
			err = e.retain()
		}
		if err != nil {
			e.stumble(err)
		}
		if e.Err() != nil {
			return
		}
		e.wantCompaction()
	}
}

// Checkpoint takes a checkpoint now, as the engine does by itself when enough was journaled since the last one, and
// returns when it is durable. Appends go on meanwhile. If nothing has happened since the last one there is nothing to do.
func (e *Engine) Checkpoint(ctx context.Context) error {
	return e.errand(ctx, func() error {
		if err := e.Full(); err != nil {
			return err // making room ends with one
		}
		err := e.checkpoint(true)
		if err != nil {
			e.stumble(err)
		}
		return err
	})
}

// checkpoint makes everything durable outside the journal, so that the journal can be reused up to the boundary of the
// checkpoint before: two generations stay usable. Appends go on meanwhile; with paced, the disk is left to them between
// groups of partitions.
func (e *Engine) checkpoint(paced bool) (failed error) {
	k := &e.keeper
	if !k.replayed && !e.compactor.owed.Load() && k.newest.sequence > 0 && e.pending.Load() == 0 {
		return nil // nothing has happened since the last one
	}
	select {
	case <-k.want: // whoever wanted one until now gets this one
	default:
	}
	refusals := e.journal.Refusals()
	if e.journal.Full() != nil {
		e.takeBack()
	}
	covered := e.behind.Add(e.pending.Swap(0))
	e.distance.begin()
	e.tail.admitted()

	e.ddl.Lock() // no change of the catalogue is under way
	doomed := k.sentence()
	defer func() {
		if failed != nil {
			k.spare(doomed)
			k.replayed = true // what it was to bring down still waits
		}
	}()
	c := &checkpoint{
		sequence: k.newest.sequence + 1,
		boundary: journal.LSN(e.applied.Load()),
		epoch:    e.epoch,
		cluster:  k.cluster,
	}
	c.catalogue = e.catalogue.Snapshot()
	parts := e.allParts()
	e.ddl.Unlock()

	c.groups = e.groups.snapshot()
	e.ids.Lock()
	c.ids = e.nextID.Snapshot()
	e.ids.Unlock()

	slices.SortFunc(parts, func(a, b *part) int {
		return cmp.Or(slices.Compare(a.id.Topic[:], b.id.Topic[:]), cmp.Compare(a.id.Index, b.id.Index))
	})
	var err error
	if c.parts, err = e.makeDurable(parts, paced); err != nil {
		return err
	}

	// The snapshots may hold what was journaled but not durable when they were taken: producer state above all. Once a
	// barrier behind it is durable, so is all of that.
	if err := e.commit(kindBarrier, nil); err != nil {
		return err
	}
	// Or it was refused, for want of room, and offsets and sequences stand in the snapshots that nobody has.
	if e.journal.Refusals() != refusals {
		return storageError(cmp.Or(e.journal.Full(), error(journal.ErrFull)))
	}
	// Positions of a deleted topic that are still there must find its deletion in the journal when it is replayed.
	if err := e.groups.owes(); err != nil {
		return err
	}
	if err := writeFile(e.c.FS, checkpointName(c.sequence), c.encode()); err != nil {
		return fmt.Errorf("engine: write a checkpoint: %w", err)
	}
	previous := k.newest
	k.newest = checkpointMark{sequence: c.sequence, boundary: c.boundary}
	k.replayed = false
	e.behind.Add(-covered)
	e.tail.admitted()
	if err := e.forget(previous, doomed); err != nil {
		return err
	}
	e.reclaim(c.parts)
	return nil
}

// forget gives up what only older checkpoints needed.
func (e *Engine) forget(previous checkpointMark, doomed []doomedTopic) error {
	if err := e.journal.Release(previous.boundary); err != nil {
		return err
	}
	entries, err := e.c.FS.List(".")
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if n, ok := checkpointSequence(entry.Name); ok && n < previous.sequence {
			if err := e.c.FS.Remove(entry.Name); err != nil {
				return err
			}
		}
	}
	for _, d := range doomed {
		e.closeLogs(d.parts)
		if err := e.c.FS.RemoveAll(topicDir(d.id)); err != nil {
			// Harmless: the next Open sweeps it away.
			e.log.Warn("a deleted topic's files could not be removed", "dir", topicDir(d.id), "err", err)
		}
	}
	return nil
}

// closeLogs closes the logs of deleted partitions.
func (e *Engine) closeLogs(parts []*part) {
	for _, p := range parts {
		p.io.Lock()
		err := p.log.Close()
		p.io.Unlock()
		if err != nil {
			e.log.Warn("a deleted partition did not close", "dir", p.dir, "err", err)
		}
	}
}
