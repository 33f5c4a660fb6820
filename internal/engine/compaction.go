package engine

import (
	"errors"
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"tidings.dev/internal/datadir"
	"tidings.dev/internal/partition"
)

// compactor is the state of compaction. Compactions run one after the other on one goroutine, which exists only while a
// compaction is due. maintenance.run checks whether a compaction is due after each of its tasks, such as a checkpoint
// or retention. The zero value is ready for use.
type compactor struct {
	running atomic.Bool // the goroutine that runs compactions exists
	// waiting means that files of segments which compaction has replaced exist. They can be removed only after further
	// checkpoints.
	waiting atomic.Bool
}

// compactionConfig is the part of a topic's configuration that concerns compaction.
type compactionConfig struct {
	ratio           float64       // min.cleanable.dirty.ratio
	minLag, maxLag  time.Duration // min.compaction.lag.ms, max.compaction.lag.ms
	deleteRetention time.Duration // delete.retention.ms: how long tombstones are kept
}

// isDue reports whether a log with the dirtiness d should be compacted at the time now. The dirty ratio must exceed
// min.cleanable.dirty.ratio, as in Apache Kafka. In contrast to Apache Kafka, tombstones that are older than
// delete.retention.ms are a sufficient reason, so that they are removed even if nothing is appended any more.
func (c compactionConfig) isDue(d partition.Dirtiness, now time.Time) bool {
	switch {
	case d.TombstonesDue:
		return true
	case d.DirtyBytes == 0:
		return false
	case c.maxLag < math.MaxInt64 && d.OldestMS >= 0 && now.Sub(time.UnixMilli(d.OldestMS)) > c.maxLag:
		return true
	}
	return d.Ratio() > c.ratio
}

// lastStable returns the last stable offset, which no batch of an open transaction is below. A partition in memory mode
// has no transactions.
func (p *part) lastStable() int64 {
	if p.ring != nil {
		return p.end()
	}
	return p.log.LastStable()
}

// compactionNow returns the parameters for a compaction of the partition at the time now.
func (p *part) compactionNow(now time.Time) partition.Compaction {
	c := p.config().compaction
	return partition.Compaction{Stable: p.lastStable(), Now: now, MinLag: c.minLag, TombstoneAge: c.deleteRetention}
}

// isCompacted reports whether the partition's topic is compacted and the partition has segments that compaction could
// rewrite.
func (p *part) isCompacted() bool {
	return p.ring == nil && !p.deleted.Load() && p.config().compacted
}

// startCompaction starts the goroutine that runs compactions if a compaction is due and the goroutine does not exist
// yet. It also requests a checkpoint if replaced files wait for one. On a full disk it does nothing. Only run calls it.
func (m *maintenance) startCompaction() {
	e := m.engine
	if e.Full() != nil {
		return
	}
	if m.compaction.waiting.Load() {
		m.requestCheckpoint()
	}
	if !m.compaction.running.CompareAndSwap(false, true) {
		return
	}
	if m.dirtiest(nil) == nil {
		m.compaction.running.Store(false)
		return
	}
	e.life.background.Go(func() {
		defer m.compaction.running.Store(false)
		m.compactAll()
	})
}

// dirtiest returns the partition with the highest dirty ratio among those that are due for compaction and not in tried,
// or nil if there is none.
func (m *maintenance) dirtiest(tried map[*part]bool) *part {
	var found *part
	var highest float64
	now := m.engine.config.Now()
	for _, p := range m.engine.allParts() {
		if !p.isCompacted() || tried[p] {
			continue
		}
		if p.log.Replaced() > 0 { // also finds files that were replaced before a restart
			m.compaction.waiting.Store(true)
		}
		d := p.log.Dirtiness(p.compactionNow(now))
		// Unwritten batches count as dirty if they would fill a segment, although they are in memory only.
		if unwritten := p.log.Unwritten(); unwritten > p.config().log.SegmentBytes {
			d.DirtyBytes += unwritten
		}
		if p.config().compaction.isDue(d, now) && (found == nil || d.Ratio() > highest) {
			found, highest = p, d.Ratio()
		}
	}
	return found
}

// compactAll compacts partitions that are due, each once, until no more are due, or the engine closes or is fenced.
func (m *maintenance) compactAll() {
	e := m.engine
	tried := map[*part]bool{}
	for p := m.dirtiest(tried); p != nil && m.checkCompactable() == nil; p = m.dirtiest(tried) {
		tried[p] = true
		err := m.compact(p)
		switch {
		case err == nil, errors.Is(err, ErrClosed), errors.Is(err, partition.ErrClosed), m.checkCompactable() != nil:
		case isDamage(err):
			_ = e.readError(err) // readError logs the damage the first time it is met
		default:
			// The log is unchanged, and a later startCompaction tries again.
			e.log.Warn("a partition could not be compacted", "dir", p.dir, "err", err)
		}
	}
	if m.compaction.waiting.Load() && m.checkCompactable() == nil {
		m.requestCheckpoint()
	}
}

// isDamage reports whether err is or wraps a *partition.CorruptError.
func isDamage(err error) bool {
	_, ok := errors.AsType[*partition.CorruptError](err)
	return ok
}

// checkCompactable returns ErrClosed if the engine is closing, the reason if it is fenced, and nil if compaction may go
// on.
func (m *maintenance) checkCompactable() error {
	if m.engine.life.isClosing() {
		return ErrClosed
	}
	return m.engine.Err()
}

// compact compacts one partition's log as its topic's configuration asks. Each round handles as many keys as
// Config.CompactionBytes has space for; compact runs rounds until all dirty records are handled. Checkpoints and
// appends go on meanwhile.
func (m *maintenance) compact(p *part) error {
	e := m.engine
	// A checkpoint can contain a closed segment only after the segment is synced, and only then may the segment be
	// compacted.
	p.io.Lock()
	if p.deleted.Load() {
		p.io.Unlock()
		return nil
	}
	err := p.log.Sync()
	p.io.Unlock()
	if err != nil {
		if !errors.Is(err, partition.ErrClosed) {
			e.onStorageError(err)
		}
		return err
	}

	began, before := time.Now(), p.log.SizeBytes()
	c := p.compactionNow(e.config.Now())
	p.assign.Lock()
	// The map is read after the last stable offset in c. A batch below that offset which is not in the map is therefore
	// certainly not the last batch of its producer.
	c.LastOfProducer = p.producers.LastOffsets()
	p.assign.Unlock()
	c.MapBytes, c.Pace = e.config.CompactionBytes, m.newPacer()
	var removed, written int64
	for through := int64(-1); ; {
		did, err := p.log.Compact(c)
		removed += did.RemovedRecords
		if written += did.WrittenBytes; p.log.Replaced() > 0 {
			m.compaction.waiting.Store(true)
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

// maxCompactionPause is the longest pause between two steps of a compaction. It makes sure that a slow disk slows
// compaction down without stopping it.
const maxCompactionPause = 50 * time.Millisecond

// newPacer returns a function that compaction calls after each step. The function sleeps for as long as the step took,
// at most maxCompactionPause, and so leaves disk and processor to other work. It returns an error, which ends the
// compaction, if the engine is closing or fenced.
func (m *maintenance) newPacer() func(int64) error {
	began := time.Now()
	return func(int64) error {
		if err := m.checkCompactable(); err != nil {
			return err
		}
		pause := time.NewTimer(min(time.Since(began), maxCompactionPause))
		defer pause.Stop()
		select {
		case <-pause.C:
		case <-m.engine.life.closing:
			return ErrClosed
		}
		began = time.Now()
		return nil
	}
}

// reclaim removes files of replaced segments that are needed neither by the checkpoint just written, whose partition
// states are states, nor by the previous checkpoint. Only checkpoint calls it.
func (m *maintenance) reclaim(states []datadir.PartitionCheckpoint) {
	e := m.engine
	m.compaction.waiting.Store(false)
	for _, pc := range states {
		p, err := e.part(pc.ID)
		if err != nil || p.log.Replaced() == 0 {
			continue
		}
		waiting, err := p.log.Reclaim(pc.State)
		if err != nil {
			e.log.Warn("files that compaction has replaced could not be removed: the next start does it", "dir", p.dir, "err", err)
		}
		if waiting > 0 {
			m.compaction.waiting.Store(true)
		}
	}
}
