package engine

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"time"

	"tidings.dev/internal/journal"
	"tidings.dev/internal/meta"
)

// keeper is the goroutine behind the scenes: it takes checkpoints, applies retention and removes the files of deleted
// topics. It sleeps until there is something to do; the one timer runs only while some partition holds records.
type keeper struct {
	want      chan struct{} // holds one: a checkpoint is due
	retention *time.Timer
	armed     bool // the timer runs; of the keeper's goroutine

	// Of the goroutine that takes checkpoints: Open, then the keeper, then Close.
	newest   checkpointMark
	cluster  [16]byte
	replayed bool // Open has replayed something that no checkpoint has yet

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

func (e *Engine) keep() {
	k := &e.keeper
	for {
		if !k.armed && e.subjectToRetention() {
			k.armed = true
			k.retention.Reset(e.c.RetentionInterval)
		}
		var err error
		select {
		case <-e.closing:
			k.retention.Stop()
			return
		case <-k.want:
			err = e.checkpoint(true)
		case <-k.retention.C:
			k.armed = false
			err = e.retain()
		}
		if err != nil {
			e.fence(err)
		}
		if e.Err() != nil {
			return
		}
	}
}

// checkpoint makes everything durable outside the journal, so that the journal can be reused up to the boundary of the
// checkpoint before: two generations stay usable. Appends go on meanwhile; with paced, the disk is left to them between
// the syncs of segment files.
func (e *Engine) checkpoint(paced bool) error {
	k := &e.keeper
	if !k.replayed && k.newest.sequence > 0 && e.pending.Load() == 0 {
		return nil // nothing has happened since the last one
	}
	e.pending.Store(0)
	e.tail.admitted()

	e.ddl.Lock() // no change of the catalogue is under way
	doomed := k.sentence()
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
	for _, p := range parts {
		pc, took, err := p.checkpoint()
		if err != nil {
			return fmt.Errorf("engine: checkpoint of partition %s/%d: %w", p.id.Topic, p.id.Index, err)
		}
		c.parts = append(c.parts, pc)
		if paced {
			e.pause(took)
		}
	}

	// The snapshots may hold what was journaled but not durable when they were taken: producer state above all. Once a
	// barrier behind it is durable, so is all of that.
	if err := e.commit(kindBarrier, nil); err != nil {
		return err
	}
	if err := writeFile(e.c.FS, checkpointName(c.sequence), c.encode()); err != nil {
		return fmt.Errorf("engine: write a checkpoint: %w", err)
	}
	previous := k.newest
	k.newest = checkpointMark{sequence: c.sequence, boundary: c.boundary}
	k.replayed = false
	return e.forget(previous, doomed)
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

// checkpoint syncs one partition and returns what the checkpoint must say of it, and how long the disk took.
func (p *part) checkpoint() (partCheckpoint, time.Duration, error) {
	pc := partCheckpoint{id: p.id}
	began := time.Now()
	p.io.Lock()
	err := p.log.Sync()
	pc.state = p.log.State()
	p.io.Unlock()
	took := time.Since(began)

	p.assign.Lock()
	defer p.assign.Unlock()
	pc.producersAt, pc.producers = p.next, p.producers.Encode()
	return pc, took, err
}

// maxPause bounds what pacing adds per partition.
const maxPause = 5 * time.Millisecond

// pause leaves the disk to the journal for as long as a sync took it, unless the journal is running ahead of the
// checkpoint: then the sooner this one ends, the better.
func (e *Engine) pause(took time.Duration) {
	const shortest = 100 * time.Microsecond // below it nothing was synced
	if took < shortest || e.pending.Load() > e.c.CheckpointBytes/2 {
		return
	}
	t := time.NewTimer(min(took, maxPause))
	defer t.Stop()
	select {
	case <-t.C:
	case <-e.closing:
	}
}
