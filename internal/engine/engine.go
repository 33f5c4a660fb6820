package engine

import (
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"tidings.dev/internal/group"
	"tidings.dev/internal/journal"
	"tidings.dev/internal/meta"
	"tidings.dev/internal/partition"
	"tidings.dev/internal/txn"
)

// Engine joins the journal, the partitions' logs and the coordinators. An append is given its offset under its
// partition's lock, queued to the journal, and becomes visible when the goroutine that commits reports it durable; segment
// files and checkpoints follow in the background. All methods are safe for concurrent use.
//
// What recovery needs is always checkpoint + journal: a checkpoint names a boundary in the journal, everything up to it
// is in the checkpoint and the segments it describes, and everything after it is replayed over them. Replay is
// idempotent, so that a checkpoint may be taken while appends go on: parts of it may already know later entries.
type Engine struct {
	c       Config
	log     *slog.Logger
	cluster string
	files   *partition.Files     // open segment files of all partitions
	ahead   *partition.ReadAhead // what their readers will ask for next
	journal *journal.Journal

	// ddl lets one change of the catalogue at a time be decided, journaled and applied; its holder alone writes what mu
	// guards. A checkpoint holds it for a moment, so that its boundary never falls inside a change.
	ddl       sync.Mutex
	mu        sync.RWMutex
	catalogue *meta.Catalogue
	parts     map[Partition]*part
	epoch     int32 // of the last recovery that cut a tail; partitions made later begin below it (guarded by ddl)

	ids    sync.Mutex // held while a block is made durable
	nextID txn.IDs

	groups groups
	polls  sync.Pool // of *poll

	applied  atomic.Uint64 // LSN of the last entry whose effects are all in memory
	appended atomic.Int64  // bytes of batches that became durable since Open
	pending  atomic.Int64  // bytes journaled since the last checkpoint began
	behind   atomic.Int64  // bytes journaled before that and in no checkpoint: it is under way, or failed, or Open has replayed them
	touched  []*part       // partitions appended to in this commit group; of the goroutine that commits

	distance  distance
	tail      tail
	keeper    keeper
	compactor compactor
	closing   chan struct{} // closed when Close begins
	stopped   sync.WaitGroup
	inFlight  sync.WaitGroup // fetches, which read logs that Close will close
	closeMu   sync.RWMutex   // guards closed against inFlight.Add
	closed    bool
	once      sync.Once
	closeErr  error

	fenced atomic.Pointer[error]
	room   room
	told   sync.Map // of partition.CorruptError: damage that was logged
}

// ClusterID is the identity of this data directory for ever: 22 characters, as Kafka's.
func (e *Engine) ClusterID() string { return e.cluster }

// Settings are what is in force for topics that don't say, and for the broker, as DescribeConfigs tells it.
func (e *Engine) Settings() (meta.Defaults, meta.BrokerSettings) {
	g := e.c.groupOptions()
	return e.c.defaults(), meta.BrokerSettings{
		AutoCreateTopics:      e.c.AutoCreateTopics,
		DefaultPartitions:     e.c.DefaultPartitions,
		SegmentBytes:          e.c.SegmentBytes,
		MaxMessageBytes:       e.c.MaxBatchBytes,
		InitialRebalanceDelay: g.InitialRebalanceDelay,
		MinSessionTimeout:     g.MinSessionTimeout,
		MaxSessionTimeout:     g.MaxSessionTimeout,
		OffsetRetention:       g.OffsetRetention,
		MaxOffsetMetadata:     g.MaxMetadataBytes,
	}
}

// Err returns why nothing is appended any more (matches ErrStorage), or nil.
func (e *Engine) Err() error {
	if p := e.fenced.Load(); p != nil {
		return *p
	}
	return nil
}

// fence stops all appends for good. The first reason stays.
func (e *Engine) fence(err error) {
	err = storageError(err)
	if errors.Is(err, ErrClosed) {
		return
	}
	if e.fenced.CompareAndSwap(nil, &err) {
		e.log.Error("the log is fenced: nothing is acknowledged any more, reads go on", "err", err)
		e.tail.release()
	}
}

// usable says why nothing may be appended now, or nil.
func (e *Engine) usable() error {
	if err := e.Err(); err != nil {
		return err
	}
	select {
	case <-e.closing:
		return ErrClosed
	default:
		return nil
	}
}

// commit journals one entry and waits until it is durable. It blocks for about one sync.
func (e *Engine) commit(kind journal.Kind, payload []byte) error {
	rank := journal.Vital
	switch kind {
	case kindLogStart, kindBarrier, kindEpoch:
		rank = journal.Freeing
	}
	return e.commitAs(rank, kind, payload)
}

func (e *Engine) commitAs(rank journal.Rank, kind journal.Kind, payload []byte) error {
	if err := e.Err(); err != nil {
		return err
	}
	done := make(chan error, 1)
	_, err := e.journal.Append(journal.Entry{Kind: kind, Payload: [][]byte{payload}, Rank: rank, Done: func(lsn journal.LSN, err error) {
		e.count(lsn, len(payload), err)
		e.committed(lsn, err)
		done <- err
	}})
	if err == nil {
		err = <-done
	}
	if err != nil {
		e.stumble(err)
		return storageError(err)
	}
	return nil
}

// count notes an entry whose effects are in memory, before anyone is told of it: else a Close on that news would find
// nothing to take a checkpoint of, and leave the entry to be replayed. It runs on the goroutine that commits.
func (e *Engine) count(lsn journal.LSN, sizeBytes int, err error) {
	if err != nil {
		return
	}
	e.applied.Store(uint64(lsn))
	if e.pending.Add(int64(sizeBytes)) > e.distance.bytes() {
		e.keeper.wantCheckpoint()
	}
}

// committed ends every journal entry's Done. It runs on the goroutine that commits and wakes the fetches of a commit group
// together, each once, when its last entry has come through.
func (e *Engine) committed(lsn journal.LSN, err error) {
	if err != nil {
		if !isFull(err) { // that the journal is full it says itself, when it has told everyone
			e.fence(err)
		}
		return
	}
	if lsn < e.journal.GroupEnd() {
		return // more of this group follows
	}
	for i, p := range e.touched {
		p.touched = false
		p.waiting.wake()
		e.touched[i] = nil
	}
	e.touched = e.touched[:0]
	e.keeper.stirred()
}

// part finds a partition; the error says what is missing.
func (e *Engine) part(id Partition) (*part, error) {
	e.mu.RLock()
	p := e.parts[id]
	e.mu.RUnlock()
	if p != nil {
		return p, nil
	}
	if _, ok := e.TopicByID(id.Topic); !ok {
		return nil, ErrUnknownTopic
	}
	return nil, ErrUnknownPartition
}

// Close answers everything that waits with ErrClosed, commits what is queued, takes a last checkpoint, so that the next
// Open has nothing to replay, and closes all files. The error is that of the checkpoint or the journal; what was
// acknowledged is safe even then. Calling it again returns the same.
func (e *Engine) Close() error {
	e.once.Do(func() { e.closeErr = e.close() })
	return e.closeErr
}

func (e *Engine) close() error {
	e.closeMu.Lock()
	e.closed = true
	close(e.closing)
	e.closeMu.Unlock()

	e.tail.release()
	e.groups.stop()
	e.stopped.Wait()
	var errs []error
	if e.Err() == nil {
		err := e.giveBackOffsets()
		if err == nil {
			err = e.checkpoint(false)
		}
		if isFull(err) {
			e.log.Warn("no room for a last checkpoint: the next start replays the journal", "err", err)
			err = nil
		}
		errs = append(errs, err)
	}
	errs = append(errs, ignoreFenced(e.journal.Close()))
	e.inFlight.Wait()
	e.ddl.Lock() // a change of the catalogue that was under way has ended
	defer e.ddl.Unlock()
	for _, p := range e.parts {
		errs = append(errs, p.log.Close())
	}
	for _, d := range e.keeper.sentence() {
		e.closeLogs(d.parts)
	}
	return errors.Join(errs...)
}

// ignoreFenced drops the error that every call of a fenced journal gives: Err has told it, and its cause, already.
func ignoreFenced(err error) error {
	if errors.Is(err, journal.ErrFenced) {
		return nil
	}
	return err
}

// begin counts a reader in, so that Close waits for it; false: Close has begun.
func (e *Engine) begin() bool {
	e.closeMu.RLock()
	defer e.closeMu.RUnlock()
	if e.closed {
		return false
	}
	e.inFlight.Add(1)
	return true
}

func (c Config) withDefaults() Config {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.DefaultPartitions <= 0 {
		c.DefaultPartitions = 4
	}
	if c.SegmentBytes <= 0 {
		c.SegmentBytes = 64 << 20
	}
	if c.CheckpointBytes <= 0 {
		c.CheckpointBytes = 64 << 20
	}
	if c.TailBytes <= 0 {
		c.TailBytes = 32 << 20
	}
	if c.MaxBatchBytes <= 0 {
		c.MaxBatchBytes = 1<<20 + 12
	}
	if c.MaxPendingBytes <= 0 {
		c.MaxPendingBytes = 64 << 20
	}
	if c.RetentionInterval <= 0 {
		c.RetentionInterval = 5 * time.Minute
	}
	if c.RoomInterval <= 0 {
		c.RoomInterval = time.Second
	}
	return c
}

func (c Config) defaults() meta.Defaults {
	return meta.Defaults{SegmentBytes: c.SegmentBytes, MaxMessageBytes: c.MaxBatchBytes}
}

// groupOptions is how the engine runs the group coordinator: Kafka's defaults, without its 3 s of initial delay, which
// an embedded program would wait out at every start.
func (c Config) groupOptions() group.Options {
	return group.Options{
		MinSessionTimeout: 6 * time.Second,
		MaxSessionTimeout: 30 * time.Minute,
		OffsetRetention:   7 * 24 * time.Hour,
		MaxMetadataBytes:  4096,
	}
}
