package engine

import (
	"errors"
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"tidings.dev/internal/partition"
)

// compactor runs compactions one after the other, on a goroutine that is only there while one is due. The keeper looks
// whether one is: after each checkpoint, and with each pass of retention. The zero value is ready.
type compactor struct {
	running atomic.Bool
	owed    atomic.Bool // replaced segments wait for checkpoints before their files can go
}

// compactionLimits is what compaction must know of a topic's configuration.
type compactionLimits struct {
	ratio           float64       // min.cleanable.dirty.ratio
	minLag, maxLag  time.Duration // min. and max.compaction.lag.ms
	deleteRetention time.Duration // delete.retention.ms: how long tombstones stay
}

// due says whether a log in this state should be compacted. As in Apache Kafka the ratio must be passed; tombstones that
// have stayed their time are reason enough here, so that what was deleted is gone even where nothing is written any
// more.
func (l compactionLimits) due(d partition.Dirtiness, now time.Time) bool {
	switch {
	case d.TombstonesDue:
		return true
	case d.DirtyBytes == 0:
		return false
	case l.maxLag < math.MaxInt64 && d.OldestMS >= 0 && now.Sub(time.UnixMilli(d.OldestMS)) > l.maxLag:
		return true
	}
	return d.Ratio() > l.ratio
}

// stable is the last stable offset: compaction never passes it. Without transactions it is the high watermark.
func (p *part) stable() int64 { return p.end() }

// compaction is what a pass may do to the partition now.
func (p *part) compaction(now time.Time) partition.Compaction {
	limits := p.limits().compaction
	return partition.Compaction{Stable: p.stable(), Now: now, MinLag: limits.minLag, TombstoneAge: limits.deleteRetention}
}

// compacts says whether the partition is one that compaction looks at.
func (p *part) compacts() bool { return p.ring == nil && !p.deleted.Load() && p.limits().compacted }

// wantCompaction starts the compactor if it has anything to do, and sees that files of replaced segments get the
// checkpoints that they wait for. It is the keeper's.
func (e *Engine) wantCompaction() {
	if e.Full() != nil {
		return
	}
	if e.compactor.owed.Load() {
		e.keeper.wantCheckpoint()
	}
	if !e.compactor.running.CompareAndSwap(false, true) {
		return
	}
	if e.dirtiest(nil) == nil {
		e.compactor.running.Store(false)
		return
	}
	e.stopped.Go(func() {
		defer e.compactor.running.Store(false)
		e.compactAll()
	})
}

// dirtiest finds the partition that most needs compaction, nil if none does, passing by those that were tried.
func (e *Engine) dirtiest(tried map[*part]bool) *part {
	var found *part
	var most float64
	now := e.c.Now()
	for _, p := range e.allParts() {
		if !p.compacts() || tried[p] {
			continue
		}
		if p.log.Replaced() > 0 { // of before a restart, too
			e.compactor.owed.Store(true)
		}
		d := p.log.Dirtiness(p.compaction(now))
		// What could fill segments but is in memory only counts as dirty.
		if waiting := p.log.Unwritten(); waiting > p.limits().log.SegmentBytes {
			d.DirtyBytes += waiting
		}
		if p.limits().compaction.due(d, now) && (found == nil || d.Ratio() > most) {
			found, most = p, d.Ratio()
		}
	}
	return found
}

// compactAll compacts whatever is due, each partition once, until nothing is or the engine closes.
func (e *Engine) compactAll() {
	tried := map[*part]bool{}
	for p := e.dirtiest(tried); p != nil && e.compactable() == nil; p = e.dirtiest(tried) {
		tried[p] = true
		err := e.compact(p)
		switch {
		case err == nil, errors.Is(err, ErrClosed), errors.Is(err, partition.ErrClosed), e.compactable() != nil:
		case damaged(err):
			_ = e.readError(err) // which logs it, once
		default:
			// The log is as it was. It is tried again when the keeper looks next.
			e.log.Warn("a partition could not be compacted", "dir", p.dir, "err", err)
		}
	}
	if e.compactor.owed.Load() && e.compactable() == nil {
		e.keeper.wantCheckpoint()
	}
}

func damaged(err error) bool {
	_, ok := errors.AsType[*partition.CorruptError](err)
	return ok
}

// compactable says why there is no sense in compacting now, or nil.
func (e *Engine) compactable() error {
	select {
	case <-e.closing:
		return ErrClosed
	default:
		return e.Err()
	}
}

// compact brings one partition's log to the state that its topic's configuration asks for, in as many passes as the
// memory for keys takes.
func (e *Engine) compact(p *part) error {
	// What is closed must be synced before it can be in a checkpoint, and only then may it be compacted.
	p.io.Lock()
	if p.deleted.Load() {
		p.io.Unlock()
		return nil
	}
	err := p.log.Sync()
	p.io.Unlock()
	if err != nil {
		if !errors.Is(err, partition.ErrClosed) {
			e.stumble(err)
		}
		return err
	}

	began, before := time.Now(), p.log.SizeBytes()
	c := p.compaction(e.c.Now())
	p.assign.Lock()
	c.LastOfProducer = p.producers.LastOffsets() // after the stable offset: what lies below it may not be anyone's last any more
	p.assign.Unlock()
	c.MapBytes, c.Pace = e.c.CompactionBytes, e.pacer()
	var removed, written int64
	for through := int64(-1); ; {
		did, err := p.log.Compact(c)
		removed += did.RemovedRecords
		if written += did.WrittenBytes; p.log.Replaced() > 0 {
			e.compactor.owed.Store(true)
		}
		if err != nil {
			return fmt.Errorf("engine: compaction of %s: %w", p.dir, err)
		}
		if !did.More || did.Through == through {
			break
		}
		through = did.Through
	}
	if written > 0 {
		e.log.Info("compacted a log", "dir", p.dir, "records_removed", removed, "bytes_before", before, "bytes_after", p.log.SizeBytes(),
			"took", time.Since(began))
	}
	return nil
}

// longestRest bounds a pause of compaction, so that a slow disk slows it down but does not stop it.
const longestRest = 50 * time.Millisecond

// pacer leaves disk and processor to others for as long as compaction had them, piece by piece, and ends it when the
// engine closes or is fenced.
func (e *Engine) pacer() func(int64) error {
	began := time.Now()
	return func(int64) error {
		if err := e.compactable(); err != nil {
			return err
		}
		pause := time.NewTimer(min(time.Since(began), longestRest))
		defer pause.Stop()
		select {
		case <-pause.C:
		case <-e.closing:
			return ErrClosed
		}
		began = time.Now()
		return nil
	}
}

// reclaim removes the files of replaced segments that neither this checkpoint, which is durable, nor the one before
// needs. It belongs to the end of a checkpoint.
func (e *Engine) reclaim(parts []partCheckpoint) {
	e.compactor.owed.Store(false)
	for _, pc := range parts {
		p, err := e.part(pc.id)
		if err != nil || p.log.Replaced() == 0 {
			continue
		}
		waiting, err := p.log.Reclaim(pc.state)
		if err != nil {
			e.log.Warn("files that compaction has replaced could not be removed: the next start does it", "dir", p.dir, "err", err)
		}
		if waiting > 0 {
			e.compactor.owed.Store(true)
		}
	}
}
