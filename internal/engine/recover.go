package engine

import (
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"tidings.dev/internal/datadir"
	"tidings.dev/internal/group"
	"tidings.dev/internal/journal"
	"tidings.dev/internal/meta"
	"tidings.dev/internal/partition"
	"tidings.dev/internal/txn"
	"tidings.dev/internal/vfs"
)

// Open opens a data directory, or creates one in an empty directory, and recovers everything that was acknowledged: it
// loads the newest valid checkpoint and replays the journal after that checkpoint. After a clean Close there is nothing
// to replay. If the journal ended in a torn tail, or if a stop that was not clean may have lost records that consumers
// were served, Open raises the leader epoch of every partition (trap 14 of docs/kafka-traps.md).
//
// Open blocks for as long as the replay takes. It requests a checkpoint, which is taken in the background. Only if the
// directory is new, or if its newest checkpoint was damaged, does Open wait until the checkpoint is durable.
//
// The caller must make sure that no other engine has the directory open, and must call Close. Errors are
// *datadir.ForeignError, *datadir.FormatError, *datadir.CheckpointError, the errors of journal.Open for a damaged
// journal, and those of the file system.
func Open(c Config) (*Engine, error) {
	if c.FS == nil {
		return nil, errors.New("engine: Config.FS is required")
	}
	c = c.withDefaults()
	if err := datadir.Prepare(c.FS); err != nil {
		return nil, err
	}
	r := newRecovery(c)
	e := r.Engine
	r.startSegmentWriter()
	if err := r.run(); err != nil {
		r.stopSegmentWriter()
		for p := range e.topics.parts.all() {
			p.log.Close()
		}
		if e.journal != nil {
			e.journal.Close()
		}
		return nil, err
	}
	e.life.background.Go(e.maintenance.run)
	return e, nil
}

const (
	// readAheadBytes is the memory for data that is read ahead of consumers from segment files, over all partitions. It
	// is enough for four consumers that fetch 1 MiB at a time: each has two extents of 4 MiB.
	readAheadBytes = 32 << 20

	// defaultOpenFiles is the largest number of open segment files if the limit of the process is not known.
	defaultOpenFiles = 256
)

// recovery is an engine that is being opened. It belongs to the goroutine that calls Open or NewReplay. Only the
// goroutine of the segment writer runs concurrently.
type recovery struct {
	*Engine
	groups       *group.Coordinator
	transactions *txn.Coordinator
	producersEnd map[Partition]int64 // PartitionCheckpoint.ProducersEnd of the partitions in the checkpoint
	skipped      int                 // number of entries with batches of topics that were deleted
	damaged      error               // why the newest checkpoint could not be used; nil if it was used
	raised       bool                // the journal ends with a raise of the leader epochs

	// deleted contains the names of the topics whose deletion was replayed and that were not created again afterwards.
	// The process may have ended after it journaled a deletion and before it journaled the removal of the topic's
	// positions. run removes these positions, since a new topic of the same name must not have them.
	deleted map[string]bool
}

// newRecovery returns an engine with empty state whose goroutines are not started.
func newRecovery(c Config) *recovery {
	e := &Engine{
		config:    c,
		log:       c.Logger,
		files:     partition.NewFileCache(c.MaxOpenFiles),
		producers: txn.NewLimit(c.MaxProducers),
		readAhead: partition.NewReadAhead(readAheadBytes),
		topics:    topicState{catalogue: meta.NewCatalogue(c.DefaultPartitions), parts: partTable{}},
		life:      lifecycle{closing: make(chan struct{})},
	}
	e.maintenance.init(e)
	e.segments.init(e)
	return &recovery{Engine: e, groups: group.New(c.groupOptions()), transactions: txn.NewCoordinator(txn.Options{}), producersEnd: map[Partition]int64{}, deleted: map[string]bool{}}
}

// run loads the newest checkpoint, replays the journal, raises the leader epochs if records may be lost, and leaves the
// engine ready to serve, with a checkpoint requested or taken.
func (r *recovery) run() error {
	c, err := r.newestCheckpoint()
	if err != nil {
		return err
	}
	if err := r.load(c); err != nil {
		return r.attributeFault(err)
	}
	began := time.Now()
	j, found, err := journal.Open(r.config.FS, datadir.JournalDir, c.Boundary, r.replay, journal.Options{
		FileBytes: r.config.JournalFileBytes, MaxQueuedBytes: r.config.MaxPendingBytes, Logger: r.log,
		OnFault: r.fence, OnFull: r.enterDiskFull,
	})
	if err != nil {
		return r.attributeFault(fmt.Errorf("engine: recovery: %w", err))
	}
	r.journal = j
	if err := r.Err(); err != nil { // the segment writer has failed during the replay and has fenced the engine
		return err
	}
	r.commits.applied.Store(uint64(max(found.Last, c.Boundary)))
	if found.Entries > 0 {
		r.log.Info("replayed the journal", "entries", found.Entries, "bytes", found.Bytes, "took", time.Since(began))
	}
	r.reportDamage()
	if found.Torn != nil {
		r.log.Warn("the journal ended in a torn write: nothing acknowledged was in it",
			"file", found.Torn.File, "position", found.Torn.PositionBytes, "bytes", found.Torn.Bytes, "kept_in", found.Torn.KeptIn)
	}
	if len(r.topics.parts) > 0 && !r.raised {
		if err := r.unlessFull(r.raiseEpochs()); err != nil {
			return err
		}
	}
	if full := j.Full(); full != nil {
		r.enterDiskFull(full)
	}
	r.findOpen()
	r.Engine.groups.start(r.Engine, r.groups)
	r.Engine.transactions.start(r.Engine, r.transactions)
	for name := range r.deleted {
		r.Engine.groups.topicDeleted(name)
	}
	if err := r.queueOrphans(); err != nil {
		return err
	}
	if err := r.removeUnknownSegments(); err != nil {
		return err
	}
	// A checkpoint is always due, even after a clean stop, for two reasons: it saves the next Open the replay of the
	// same entries, and the journal keeps its files from before this Open until there is a checkpoint newer than the
	// loaded one.
	r.maintenance.owed = true
	if c.Sequence == 0 || r.damaged != nil {
		// In a new directory only a checkpoint records the cluster id. With a damaged newest checkpoint, everything
		// that was acknowledged depends on the single one before it.
		return r.unlessFull(r.maintenance.checkpoint(false))
	}
	// In all other cases another Open could replay the same entries again, so Open need not wait for the checkpoint.
	r.maintenance.requestCheckpoint()
	return nil
}

// startSegmentWriter starts the segment writer's goroutine, which writes replayed batches in the same way as appended
// ones.
func (r *recovery) startSegmentWriter() { r.life.background.Go(r.segments.run) }

// stopSegmentWriter stops the segment writer's goroutine and waits until it has ended. It is for a recovery that has
// failed and for Replay.Close.
func (r *recovery) stopSegmentWriter() {
	r.life.begin()
	r.life.background.Wait()
}

// removeUnknownSegments removes the segment files to which neither the checkpoint nor the journal refers. It must run
// before new records are appended, because it could not tell their files from such old ones.
func (r *recovery) removeUnknownSegments() error {
	for _, p := range r.allParts() {
		p.io.Lock()
		err := p.log.Sweep()
		p.io.Unlock()
		if err != nil {
			return fmt.Errorf("engine: %w", err)
		}
	}
	return nil
}

// attributeFault returns the error err of a recovery, to which it adds, if recovery did not use the newest checkpoint,
// that it did not and why. The older checkpoint may be the cause of err.
func (r *recovery) attributeFault(err error) error {
	if r.damaged == nil {
		return err
	}
	return fmt.Errorf("%w (going back to the checkpoint before, since %w)", err, r.damaged)
}

// unlessFull returns err, or nil if err means that the disk is full. In that case the engine enters the state of a full
// disk and Open succeeds: what could not be written is still in memory and in the journal.
func (r *recovery) unlessFull(err error) error {
	if isFull(err) {
		r.enterDiskFull(err)
		return nil
	}
	return err
}

// epochsBegin is the moment from which on leader epochs count seconds.
var epochsBegin = time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC)

// nextEpoch returns the leader epoch that follows last at the time now: the seconds since epochsBegin, so that two starts on copies of one
// directory do not give the same epoch, whichever of the copies is in place later (ADR 34). It is at least last+1, whatever the clock says, as
// long as there is a higher one.
func nextEpoch(last int32, now time.Time) int32 {
	seconds := min(max(int64(now.Sub(epochsBegin)/time.Second), 0), math.MaxInt32)
	if last == math.MaxInt32 {
		return last
	}
	return max(last+1, int32(seconds))
}

// newestCheckpoint returns the newest checkpoint that is not damaged, or an empty one with a new cluster id if there is
// no checkpoint file. If it skips damaged ones, it sets r.damaged to the error of the newest and renames that file. If
// all checkpoints are damaged, it returns the error of the newest.
func (r *recovery) newestCheckpoint() (*datadir.Checkpoint, error) {
	entries, err := r.config.FS.List(".")
	if err != nil {
		return nil, fmt.Errorf("engine: %w", err)
	}
	slices.SortFunc(entries, func(a, b vfs.Info) int { return cmp.Compare(b.Name, a.Name) }) // newest first
	var damaged error
	for _, entry := range entries {
		if _, ok := datadir.ParseCheckpointName(entry.Name); !ok {
			continue
		}
		content, err := vfs.ReadFile(r.config.FS, entry.Name)
		if err != nil {
			return nil, &datadir.CheckpointError{File: entry.Name, Reason: "it can't be read", Err: err}
		}
		c, err := datadir.DecodeCheckpoint(entry.Name, content)
		if err == nil {
			r.damaged = damaged
			return c, r.setAside(damaged)
		}
		r.log.Error("a checkpoint is damaged: going back to the one before", "err", err)
		damaged = cmp.Or(damaged, err)
	}
	if damaged != nil {
		return nil, fmt.Errorf("engine: no checkpoint is whole: %w", damaged)
	}
	c := &datadir.Checkpoint{}
	rand.Read(c.Cluster[:])
	return c, nil
}

// setAside renames the checkpoint file that damaged, a *datadir.CheckpointError, names, so that the next checkpoint can
// use its sequence number. If damaged is nil it does nothing.
func (r *recovery) setAside(damaged error) error {
	e, ok := errors.AsType[*datadir.CheckpointError](damaged)
	if !ok {
		return nil
	}
	if err := r.config.FS.Rename(e.File, datadir.DamagedCheckpointName(e.File)); err != nil {
		return fmt.Errorf("engine: set a damaged checkpoint aside: %w", err)
	}
	return r.config.FS.SyncDir(".")
}

// load restores the state of the checkpoint c and opens the logs that c describes. Its error is a
// *datadir.CheckpointError.
func (r *recovery) load(c *datadir.Checkpoint) error {
	name := datadir.CheckpointName(c.Sequence)
	damaged := func(reason string, err error) error {
		return &datadir.CheckpointError{File: name, Reason: reason, Err: err}
	}
	r.maintenance.newest = checkpointPosition{sequence: c.Sequence, boundary: c.Boundary}
	r.maintenance.cluster = c.Cluster
	r.clusterID = c.ClusterID()
	r.topics.epoch = c.Epoch
	if c.Sequence == 0 {
		return nil
	}
	if err := r.producerIDs.next.Load(c.ProducerIDs); err != nil {
		return damaged("producer ids", err)
	}
	if err := r.topics.catalogue.Load(c.Catalogue); err != nil {
		return damaged("catalogue", err)
	}
	if err := r.groups.Load(c.Groups); err != nil {
		return damaged("groups", err)
	}
	if len(c.Transactions) > 0 {
		if err := r.transactions.Load(c.Transactions); err != nil {
			return damaged("transactions", err)
		}
	}
	for _, pc := range c.Partitions {
		t, ok := r.topics.catalogue.TopicByID(pc.ID.Topic)
		if !ok || pc.ID.Index < 0 || pc.ID.Index >= t.Partitions {
			return damaged(fmt.Sprintf("partition %s/%d is of no topic", pc.ID.Topic, pc.ID.Index), nil)
		}
		config := r.partConfigOf(t)
		log, err := partition.OpenToReplay(r.config.FS, pc.ID.Dir(), config.log, pc.State)
		if err != nil {
			return damaged(fmt.Sprintf("partition %d of topic %s", pc.ID.Index, t.Name), err)
		}
		p := newPart(pc.ID, config, log, r.producers)
		r.topics.mu.Lock()
		r.topics.parts.put(p)
		r.topics.mu.Unlock()
		r.producersEnd[pc.ID] = pc.ProducersEnd
		if p.ring != nil {
			// The journal has no batches of a partition in memory mode, so the producers' states would be out of date.
			continue
		}
		if err := p.producers.Decode(pc.Producers); err != nil {
			return damaged(fmt.Sprintf("producers of partition %d of topic %s", pc.ID.Index, t.Name), err)
		}
	}
	for _, t := range r.topics.catalogue.Topics() {
		for i := range t.Partitions {
			if r.topics.parts.get(Partition{Topic: t.ID, Index: i}) == nil {
				return damaged(fmt.Sprintf("partition %d of topic %s is missing", i, t.Name), nil)
			}
		}
	}
	return nil
}

// raiseEpochs raises the leader epoch of every partition and makes that durable, so that clients notice that records
// which they were served may be lost. This happens at every start: what a stop has lost, or somebody who has put an earlier state of the
// directory in place, leaves no trace in the directory. Only if nothing came after the last raise, there is no other one, so that
// a process that is killed at each start does not fill the journal.
func (r *recovery) raiseEpochs() error {
	epoch := nextEpoch(r.topics.epoch, r.config.Now())
	if err := r.commit(datadir.KindEpoch, datadir.EncodeEpoch(epoch)); err != nil {
		return err
	}
	r.setEpoch(epoch)
	r.maintenance.owed = true
	return nil
}

// reportDamage logs the damage in the partitions' logs and how many entries of deleted topics were skipped.
func (r *recovery) reportDamage() {
	for _, damage := range r.Damage() {
		r.log.Error("part of a log is damaged: reads of it fail, the rest is served", "err", damage)
	}
	if r.skipped > 0 {
		r.log.Info("the journal held batches of deleted topics", "entries", r.skipped)
	}
}

// queueOrphans queues the removal of topic directories that belong to no topic in the catalogue. They are left by
// topics whose creation never became durable, and by deleted topics whose files were not removed yet.
func (r *recovery) queueOrphans() error {
	entries, err := r.config.FS.List(datadir.TopicsDir)
	if err != nil {
		return fmt.Errorf("engine: %w", err)
	}
	ours := map[string]bool{}
	for _, t := range r.topics.catalogue.Topics() {
		ours[t.ID.String()] = true
	}
	for _, entry := range entries {
		if !entry.Dir || ours[entry.Name] {
			continue
		}
		if id, ok := datadir.ParseTopicID(entry.Name); ok {
			r.maintenance.queueDeletion(id, nil)
			r.maintenance.owed = true
		}
	}
	return nil
}
