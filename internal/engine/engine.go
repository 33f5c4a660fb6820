// Package engine is the core of the broker. It assigns offsets, makes everything durable through one journal, wakes the
// fetches that wait for records, runs the coordinators of topics, groups and producer ids, and recovers all of that
// when a data directory is opened. Its maintenance takes checkpoints, applies retention and compaction, and resumes
// appends after the disk was full. The package knows nothing of the Kafka protocol.
//
// Where things are: append.go and fetch.go serve records; commit.go commits an entry to the journal; recover.go opens a
// directory and replay.go applies the journal to it; checkpoint.go takes a checkpoint; maintenance.go has the goroutine
// that does so in the background; segmentwriter.go bounds the memory of recent batches; topics.go, configure.go and
// groups.go carry out what the coordinators decide.
package engine

import (
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"

	"tidings.dev/internal/journal"
	"tidings.dev/internal/meta"
	"tidings.dev/internal/partition"
	"tidings.dev/internal/txn"
)

// Engine is a running broker without its network side. It connects the journal, the logs of the partitions and the
// coordinators. An append gets its offset under its partition's lock, is queued in the journal, and becomes visible to
// consumers when the committing goroutine reports it as durable. Segment files and checkpoints are written in the
// background. All methods are safe for concurrent use.
//
// Invariant: the newest checkpoint, together with the journal after its boundary, contains everything that was
// acknowledged. The same holds for the checkpoint before it and the journal after that checkpoint's boundary.
// Everything up to a boundary is in the checkpoint or in the segments that the checkpoint describes; recovery replays
// everything after the boundary. Replaying an entry twice has the effect of replaying it once. Therefore a checkpoint
// may be taken while appends go on, and parts of it may contain effects of entries after its boundary.
//
// The committing goroutine is the goroutine that calls the Done functions of journal entries. It is the journal's own
// goroutine, or one that has called CommitInline. There is one at a time, and it calls Done in the order of the
// journal.
//
// Locks: topics.changeMu is taken before any other lock of the engine. changeMu, part.assign, producerIDs.mu,
// groups.order and transactions.order may be held by a goroutine that waits until an entry is committed, so the
// committing goroutine takes none of them. transactions.order is taken before groups.order, and that before part.assign;
// several part.assign are taken in the order of the partitions' ids. All other locks are leaves: a goroutine that holds one of them takes no other lock and waits for
// nothing but the disk.
type Engine struct {
	config    Config
	log       *slog.Logger
	clusterID string
	files     *partition.FileCache // the open segment files of all partitions
	readAhead *partition.ReadAhead // the data that is read ahead of consumers, for all partitions
	journal   *journal.Journal     // set by recovery, before Open returns the engine

	topics       topicState
	producerIDs  producerIDs
	producers    *txn.Limit // of the idempotent producers that the partitions know
	groups       groups
	transactions transactions
	polls        sync.Pool // pool of *poll

	commits     commits
	segments    segmentWriter
	maintenance maintenance
	life        lifecycle

	fenced         atomic.Pointer[error] // the reason why the engine is fenced; nil while it is not
	reportedDamage sync.Map              // set of partition.CorruptError: the damage that was logged already
}

// topicState is the catalogue of topics, together with the partitions of its topics.
type topicState struct {
	// changeMu serializes changes of the catalogue: a goroutine that makes a change decides, journals and applies it
	// while it holds changeMu. A checkpoint reads its boundary while it holds changeMu, so that no boundary falls
	// between the entry of a change and its effect.
	changeMu sync.Mutex

	// mu guards catalogue and parts. Only a goroutine that holds changeMu too writes them, so a goroutine that holds
	// changeMu may read them without mu. Invariant: parts contains exactly the partitions of the topics in catalogue.
	mu        sync.RWMutex
	catalogue *meta.Catalogue
	parts     partTable

	// epoch is the leader epoch that the last recovery with a possible loss of records has given to all partitions; 0
	// if there was none. It is guarded by changeMu. Partitions that are created later begin with epoch 0.
	epoch int32
}

// add applies a change that creates a topic or adds partitions to a topic. parts are the new partitions. The caller
// must hold changeMu, except in recovery, which has the engine for itself.
func (s *topicState) add(change meta.Change, parts []*part) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.catalogue.Apply(change)
	for _, p := range parts {
		s.parts.put(p)
	}
}

// producerIDs takes producer ids from blocks that are durably reserved.
type producerIDs struct {
	mu   sync.Mutex // guards next; held while the reservation of a block is made durable
	next txn.IDs
}

// lifecycle is the state by which Close ends an engine in order.
type lifecycle struct {
	closing    chan struct{}  // closed when Close begins
	background sync.WaitGroup // the engine's goroutines, which end when closing is closed
	readers    sync.WaitGroup // calls that read logs; Close waits for them before it closes the logs

	mu     sync.RWMutex // guards closed. Invariant: no reader is added after closed is set
	closed bool

	once sync.Once
	err  error // of Close; written within once
} // result of Close; written within once

// isClosing reports whether Close has begun.
func (l *lifecycle) isClosing() bool {
	select {
	case <-l.closing:
		return true
	default:
		return false
	}
}

// beginRead adds a reader and returns true, or returns false if Close has begun. Close waits until each reader has
// called readers.Done.
func (l *lifecycle) beginRead() bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.closed {
		return false
	}
	l.readers.Add(1)
	return true
}

// begin makes isClosing return true. No reader can be added after it. It must be called once.
func (l *lifecycle) begin() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	close(l.closing)
}

// ClusterID returns the identity of the data directory: a string of 22 characters, in the format of Apache Kafka's
// cluster ids, that never changes.
func (e *Engine) ClusterID() string { return e.clusterID }

// Err returns the reason why the engine is fenced, or nil if it is not. The error matches ErrStorage. A fenced engine
// stays fenced until the directory is opened anew.
func (e *Engine) Err() error {
	if p := e.fenced.Load(); p != nil {
		return *p
	}
	return nil
}

// fence makes the engine refuse all appends until the directory is opened anew. If the engine is fenced already, it
// keeps its first reason. An err that matches ErrClosed is ignored. fence does not block and may be called by any
// goroutine.
func (e *Engine) fence(err error) {
	err = storageError(err)
	if errors.Is(err, ErrClosed) {
		return
	}
	if e.fenced.CompareAndSwap(nil, &err) {
		e.log.Error("the log is fenced: nothing is acknowledged any more, reads go on", "err", err)
		e.segments.unblockForGood()
	}
}

// checkOpen returns nil if entries may be journaled now, the reason if the engine is fenced, and ErrClosed if it is
// closing.
func (e *Engine) checkOpen() error {
	if err := e.Err(); err != nil {
		return err
	}
	if e.life.isClosing() {
		return ErrClosed
	}
	return nil
}

// part returns the partition with an id. The error is ErrUnknownTopic or ErrUnknownPartition.
func (e *Engine) part(id Partition) (*part, error) {
	e.topics.mu.RLock()
	p := e.topics.parts.get(id)
	e.topics.mu.RUnlock()
	if p != nil {
		return p, nil
	}
	if _, ok := e.TopicByID(id.Topic); !ok {
		return nil, ErrUnknownTopic
	}
	return nil, ErrUnknownPartition
}

// findParts sets each element of dst to the partition of the same element of query, or to nil if there is none.
func (e *Engine) findParts(query []FetchPartition, dst []*part) {
	e.topics.mu.RLock()
	defer e.topics.mu.RUnlock()
	var topic meta.TopicID
	var parts []*part // of topic
	for i := range query {
		id := &query[i].Partition
		if i == 0 || id.Topic != topic {
			topic, parts = id.Topic, e.topics.parts[id.Topic]
		}
		dst[i] = nil
		if id.Index >= 0 && int(id.Index) < len(parts) {
			dst[i] = parts[id.Index]
		}
	}
}

// allParts returns every partition, in no particular order. The caller owns the slice.
func (e *Engine) allParts() []*part {
	e.topics.mu.RLock()
	defer e.topics.mu.RUnlock()
	return slices.Collect(e.topics.parts.all())
}

// Damage returns the damage that was found when the logs of the partitions were opened. Each error describes a part of
// a segment that cannot be read.
func (e *Engine) Damage() []error {
	var damage []error
	for _, p := range e.allParts() {
		for _, d := range p.log.Damage() {
			damage = append(damage, d)
		}
	}
	return damage
}

// Close ends the engine. It answers waiting fetches and group requests with ErrClosed, commits the entries that are
// queued, takes a last checkpoint, so that the next Open has nothing to replay, and closes all files. It blocks until
// all of that is done. Its error is that of the checkpoint or the journal; acknowledged data is safe even then. If the
// disk is too full for the checkpoint, that is not an error. Further calls return the same error.
func (e *Engine) Close() error {
	e.life.once.Do(func() { e.life.err = e.close() })
	return e.life.err
}

func (e *Engine) close() error {
	e.life.begin()
	e.segments.unblockForGood()
	e.groups.stop()
	e.transactions.stop()
	e.life.background.Wait() // run has ended, so that this goroutine may take the last checkpoint
	var errs []error
	if e.Err() == nil {
		err := e.giveBackOffsets()
		if err == nil {
			err = e.maintenance.checkpoint(false)
		}
		if isFull(err) {
			e.log.Warn("no room for a last checkpoint: the next start replays the journal", "err", err)
			err = nil
		}
		errs = append(errs, err)
	}
	errs = append(errs, ignoreFenced(e.journal.Close()))
	e.life.readers.Wait()
	e.topics.changeMu.Lock() // waits for a change of the catalogue that is under way
	defer e.topics.changeMu.Unlock()
	for p := range e.topics.parts.all() {
		errs = append(errs, p.log.Close())
	}
	for _, d := range e.maintenance.takeDeletions() {
		e.closeLogs(d.parts)
	}
	return errors.Join(errs...)
}

// ignoreFenced returns nil if err matches journal.ErrFenced, and err otherwise. Err has already reported why the engine
// is fenced.
func ignoreFenced(err error) error {
	if errors.Is(err, journal.ErrFenced) {
		return nil
	}
	return err
}
