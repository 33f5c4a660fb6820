package engine

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"tidings.dev/internal/datadir"
	"tidings.dev/internal/meta"
)

// maintenance is the background work of an engine: checkpoints (checkpoint.go, writeout.go), retention (retention.go),
// compaction (compaction.go), leaving the state of a full disk (diskfull.go), and the removal of deleted topics' files.
//
// One goroutine, run, does all of that except the compactions, which it starts. It sleeps until one of its channels
// wakes it, so that an idle engine costs nothing. Its one timer runs only while some partition has records.
//
// Ownership: fields marked "checkpoints" belong to the goroutine that takes checkpoints. That is first the goroutine of
// recovery, then run, and at last the goroutine of Close. Each begins after the one before has ended, so these fields
// need no lock. All other fields are safe for concurrent use, except those marked as owned by run.
type maintenance struct {
	engine *Engine

	// These channels wake run. The first three have space for one value each and are sent to without blocking.
	checkpointDue chan struct{}
	// spaceCheckDue is sent to when the disk is full, and a deletion or the passing of time suggests that there may be
	// space now.
	spaceCheckDue chan struct{}
	appendSeen    chan struct{} // records were appended while retentionIdle was true
	// tasks has functions of other goroutines that must not overlap a checkpoint. run calls them between its own tasks.
	tasks chan func()

	retentionTimer *time.Timer // owned by run
	retentionArmed bool        // retentionTimer is running; owned by run
	// retentionIdle means that retentionTimer is not running because no partition has records. notifyAppend must then
	// wake run.
	retentionIdle atomic.Bool

	newest  checkpointPosition // checkpoints: the newest durable checkpoint
	cluster [16]byte           // checkpoints: the cluster id, which each checkpoint contains

	// owed means that a checkpoint is due even if nothing was journaled since the last one, because Open has replayed
	// entries or because a checkpoint has failed. It is one of the fields marked "checkpoints".
	owed bool

	interval     checkpointInterval
	pendingBytes atomic.Int64 // size of what was journaled since the last checkpoint began
	// uncoveredBytes is the size of what was journaled before the last checkpoint began, or replayed by Open, and is
	// covered by no durable checkpoint yet.
	uncoveredBytes atomic.Int64

	mu        sync.Mutex // guards deletions
	deletions []deletion // deleted topics whose files the next checkpoint may remove

	compaction compactor
	disk       diskState
	retryTimer *time.Timer // requests a space check while the disk is full; owned by run, nil before its first use
}

// deletion is a deleted topic whose files must stay until no usable checkpoint refers to them.
type deletion struct {
	topic meta.TopicID
	parts []*part // the topic's partitions with open logs; empty if recovery has found a directory that belongs to no topic
}

// init makes m ready for use by the engine e. It starts no goroutine.
func (m *maintenance) init(e *Engine) {
	m.engine = e
	m.checkpointDue = make(chan struct{}, 1)
	m.spaceCheckDue = make(chan struct{}, 1)
	m.appendSeen = make(chan struct{}, 1)
	m.tasks = make(chan func())
	m.retentionTimer = time.NewTimer(time.Hour)
	m.retentionTimer.Stop()
	m.interval.minBytes = e.config.CheckpointBytes
}

// notify sends to a channel that has space for one value. If the channel already holds a value, it does nothing.
func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// requestCheckpoint makes run take a checkpoint soon. It does not block.
func (m *maintenance) requestCheckpoint() { notify(m.checkpointDue) }

// requestSpaceCheck makes run look for free space soon. If the disk is not full, run does nothing then. It does not
// block.
func (m *maintenance) requestSpaceCheck() { notify(m.spaceCheckDue) }

// recordJournaled adds the size of a journal entry to pendingBytes, and requests a checkpoint when more was journaled
// than the interval between checkpoints. The committing goroutine calls it.
func (m *maintenance) recordJournaled(sizeBytes int64) {
	if m.pendingBytes.Add(sizeBytes) > m.interval.bytes() {
		m.requestCheckpoint()
	}
}

// notifyAppend wakes run if run sleeps without a retention timer because there were no records. The committing
// goroutine calls it after each commit group. It does not block.
func (m *maintenance) notifyAppend() {
	if m.retentionIdle.Load() && m.retentionIdle.CompareAndSwap(true, false) {
		notify(m.appendSeen)
	}
}

// queueDeletion makes the next checkpoint close the logs of a deleted topic and remove the topic's files. Nothing may
// be appended to parts after the call.
func (m *maintenance) queueDeletion(topic meta.TopicID, parts []*part) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.deletions = append(m.deletions, deletion{topic, parts})
}

// takeDeletions returns the queued deletions and empties the queue.
func (m *maintenance) takeDeletions() []deletion {
	m.mu.Lock()
	defer m.mu.Unlock()
	taken := m.deletions
	m.deletions = nil
	return taken
}

// requeue puts deletions back at the front of the queue. A checkpoint that fails does so with the deletions that it has
// taken.
func (m *maintenance) requeue(deletions []deletion) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.deletions = append(deletions, m.deletions...)
}

// run is the goroutine of m. It returns when the engine closes or is fenced.
func (m *maintenance) run() {
	e := m.engine
	for {
		m.armRetention()
		var err error
		select {
		case <-e.life.closing:
			m.retentionTimer.Stop()
			return
		case <-m.checkpointDue:
			if e.Full() == nil { // leaveDiskFull takes the checkpoint in that state
				err = m.checkpoint(true)
			}
		case <-m.spaceCheckDue:
			err = m.leaveDiskFull()
		case <-m.appendSeen:
		case task := <-m.tasks:
			task()
		case <-m.retentionTimer.C:
			m.retentionArmed = false
			err = m.applyRetention()
		}
		if err != nil {
			e.onStorageError(err)
		}
		if e.Err() != nil {
			return
		}
		m.startCompaction()
	}
}

// armRetention starts retentionTimer if it is not running and some partition has records. Only run calls it.
func (m *maintenance) armRetention() {
	if m.retentionArmed {
		return
	}
	m.retentionIdle.Store(true) // set before hasRecords is called, so that a record which is appended in between wakes run
	if m.engine.hasRecords() {
		m.retentionIdle.Store(false)
		m.retentionArmed = true
		m.retentionTimer.Reset(m.engine.config.RetentionInterval)
	}
}

// fenceCheckInterval is the interval at which runTask checks whether the engine is fenced, after which run receives no
// tasks.
const fenceCheckInterval = 100 * time.Millisecond

// runTask makes run call the function do between two of its own tasks, so that no checkpoint is taken meanwhile. It
// blocks until do has returned and returns do's error. If do was not called, it returns the cause of ctx if ctx has
// ended, ErrClosed if the engine closes, and the reason if the engine is fenced.
func (m *maintenance) runTask(ctx context.Context, do func() error) error {
	e := m.engine
	if err := e.checkOpen(); err != nil {
		return err
	}
	done := make(chan error, 1)
	check := time.NewTicker(fenceCheckInterval)
	defer check.Stop()
	for {
		select {
		case m.tasks <- func() { done <- do() }:
			return <-done
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-e.life.closing:
			return ErrClosed
		case <-check.C: // run has ended if the engine is fenced
			if err := e.Err(); err != nil {
				return err
			}
		}
	}
}

// removeDeleted closes the logs of deleted topics and removes their files. The next Open removes files that could not
// be removed.
func (m *maintenance) removeDeleted(deletions []deletion) {
	e := m.engine
	for _, d := range deletions {
		e.closeLogs(d.parts)
		dir := datadir.TopicDir(d.topic)
		if err := e.config.FS.RemoveAll(dir); err != nil {
			e.log.Warn("a deleted topic's files could not be removed", "dir", dir, "err", err)
		}
	}
}

// closeLogs closes the logs of deleted partitions. An error is logged only.
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
