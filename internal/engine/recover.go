package engine

import (
	"cmp"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"syscall"
	"time"

	"tidings.dev/internal/batch"
	"tidings.dev/internal/group"
	"tidings.dev/internal/journal"
	"tidings.dev/internal/meta"
	"tidings.dev/internal/partition"
	"tidings.dev/internal/txn"
	"tidings.dev/internal/vfs"
)

// Open opens a data directory, or makes one in an empty directory, and brings back everything that was acknowledged:
// the newest valid checkpoint, and over it the journal. After a clean Close there is nothing to replay. If the journal
// ended in a torn tail, every partition's leader epoch grows (trap 14). Errors: *ForeignError, *FormatError,
// *CheckpointError, the journal's on corruption, or those of the file system.
//
// The caller sees to it that nobody else has the directory open.
func Open(c Config) (*Engine, error) {
	if c.FS == nil {
		return nil, errors.New("engine: Config.FS is required")
	}
	c = c.withDefaults()
	if err := prepare(c.FS); err != nil {
		return nil, err
	}
	r := newRecovery(c)
	e := r.Engine
	r.writeBeside()
	if err := r.run(); err != nil {
		r.stopWriting()
		for _, p := range e.parts {
			p.log.Close()
		}
		if e.journal != nil {
			e.journal.Close()
		}
		return nil, err
	}
	e.stopped.Go(e.keep)
	return e, nil
}

// readAheadBytes bounds the memory for what is read ahead: two windows of 4 MiB for each of four readers of a megabyte.
const readAheadBytes = 32 << 20

// newRecovery returns an engine that knows nothing yet and runs nothing.
func newRecovery(c Config) *recovery {
	e := &Engine{
		c:       c,
		log:     c.Logger,
		files:   partition.NewFiles(maxOpenFiles()),
		ahead:   partition.NewReadAhead(readAheadBytes),
		parts:   map[Partition]*part{},
		closing: make(chan struct{}),
	}
	e.catalogue = meta.NewCatalogue(c.DefaultPartitions)
	e.keeper.want = make(chan struct{}, 1)
	e.keeper.errands = make(chan func())
	e.keeper.stir = make(chan struct{}, 1)
	e.keeper.retention = time.NewTimer(time.Hour)
	e.keeper.retention.Stop()
	e.distance.leastBytes = c.CheckpointBytes
	e.tail.init(e)
	e.room.look = make(chan struct{}, 1)

	return &recovery{Engine: e, groups: group.New(c.groupOptions()), producersAt: map[Partition]int64{}, deleted: map[string]bool{}}
}

// maxOpenFiles bounds the segment files open at once. A file that is written to is only closed synced, so this is also
// how many partitions may be dirty before a checkpoint without a sync for each that comes anew: thousands, where the
// process may have that many. Three quarters are left to connections and to whoever embeds us.
func maxOpenFiles() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 256
	}
	return int(min(max(uint64(limit.Cur)/4, 16), 4096))
}

// recovery is an engine on its way up.
type recovery struct {
	*Engine
	groups      *group.Coordinator
	producersAt map[Partition]int64 // of the checkpoint: where its producer state ends
	skipped     int                 // entries of partitions that are gone
	damaged     error               // why the newest checkpoint could not be used

	// Names of topics whose deletion was replayed and that were not made again since. The cut may have come between the
	// deletion and the coordinator's record of it, and a topic made again must not find the old one's offsets.
	deleted map[string]bool
}

func (r *recovery) run() error {
	c, err := r.newestCheckpoint()
	if err != nil {
		return err
	}
	if err := r.load(c); err != nil {
		return r.blame(err)
	}
	began := time.Now()
	j, found, err := journal.Open(r.c.FS, journalDir, c.boundary, r.replay, journal.Options{
		FileBytes: r.c.JournalFileBytes, MaxQueuedBytes: r.c.MaxPendingBytes, Logger: r.log,
		OnFault: r.fence, OnFull: r.fill,
	})
	if err != nil {
		return r.blame(fmt.Errorf("engine: recovery: %w", err))
	}
	r.journal = j
	if err := r.Err(); err != nil { // of the goroutine that writes segments
		return err
	}
	r.applied.Store(uint64(max(found.Last, c.boundary)))
	if found.Entries > 0 {
		r.log.Info("replayed the journal", "entries", found.Entries, "bytes", found.Bytes, "took", time.Since(began))
	}
	r.reportDamage()
	if found.Torn != nil {
		r.log.Warn("the journal ended in a torn write: nothing acknowledged was in it",
			"file", found.Torn.File, "position", found.Torn.PositionBytes, "bytes", found.Torn.Bytes, "kept_in", found.Torn.KeptIn)
	}
	if found.Torn != nil || !found.Clean && r.mayHaveLost() {
		if err := r.bumpEpochs(); err != nil {
			return err
		}
	}
	if full := j.Full(); full != nil {
		r.fill(full)
	}
	r.Engine.groups.start(r.Engine, r.groups)
	for name := range r.deleted {
		r.Engine.groups.topicDeleted(name)
	}
	if err := r.findOrphans(); err != nil {
		return err
	}
	if err := r.sweep(); err != nil {
		return err
	}
	// Always, even after a clean stop: what was replayed need not be replayed again, and files of the journal from before
	// this Open are kept for the checkpoint before the newest one until there is another.
	r.keeper.replayed = true
	if c.sequence == 0 || r.damaged != nil {
		// The directory's identity stands nowhere else; or what was acknowledged hangs on one checkpoint.
		return r.unlessFull(r.checkpoint(false))
	}
	// All there is can be replayed once more, as often as need be, so nobody has to wait for that: the keeper does it.
	r.keeper.wantCheckpoint()
	return nil
}

// writeBeside starts the goroutine that writes segments: what is replayed goes there as what is appended does.
func (r *recovery) writeBeside() { r.stopped.Go(func() { r.tail.run(r.Engine) }) }

// stopWriting ends a recovery that comes to nothing.
func (r *recovery) stopWriting() {
	close(r.closing)
	r.stopped.Wait()
}

// sweep removes the segment files that nothing in the journal led to. It is done before there are new records, so that
// a file of theirs is never mistaken for one from before.
func (r *recovery) sweep() error {
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

// blame adds to an error of recovery that it did not begin with the newest checkpoint, and why.
func (r *recovery) blame(err error) error {
	if r.damaged == nil {
		return err
	}
	return fmt.Errorf("%w (going back to the checkpoint before, since %w)", err, r.damaged)
}

// unlessFull lets a directory open on a full disk: what could not be written stays in memory and in the journal.
func (r *recovery) unlessFull(err error) error {
	if isFull(err) {
		r.fill(err)
		return nil
	}
	return err
}

// mayHaveLost says whether a stop that was not clean may have taken records which were served: those of topics that are
// acknowledged before they are synced.
func (r *recovery) mayHaveLost() bool {
	for _, p := range r.parts {
		if d := p.limits().durability; d == meta.Interval || d == meta.OS {
			return true
		}
	}
	return false
}

// newestCheckpoint returns the newest checkpoint that is whole, or an empty one in a new directory. One that is damaged
// is kept aside under another name.
func (r *recovery) newestCheckpoint() (*checkpoint, error) {
	entries, err := r.c.FS.List(".")
	if err != nil {
		return nil, fmt.Errorf("engine: %w", err)
	}
	slices.SortFunc(entries, func(a, b vfs.Info) int { return cmp.Compare(b.Name, a.Name) }) // newest first
	var damaged error
	for _, entry := range entries {
		if _, ok := checkpointSequence(entry.Name); !ok {
			continue
		}
		content, err := vfs.ReadFile(r.c.FS, entry.Name)
		if err != nil {
			return nil, &CheckpointError{File: entry.Name, Reason: "it can't be read", Err: err}
		}
		c, err := decodeCheckpoint(entry.Name, content)
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
	c := &checkpoint{}
	rand.Read(c.cluster[:])
	return c, nil
}

// setAside renames the checkpoint that an error names, so that its sequence can be given again.
func (r *recovery) setAside(damaged error) error {
	e, ok := errors.AsType[*CheckpointError](damaged)
	if !ok {
		return nil
	}
	if err := r.c.FS.Rename(e.File, "damaged-"+e.File); err != nil {
		return fmt.Errorf("engine: set a damaged checkpoint aside: %w", err)
	}
	return r.c.FS.SyncDir(".")
}

// load takes over a checkpoint and opens the logs that it describes.
func (r *recovery) load(c *checkpoint) error {
	name := checkpointName(c.sequence)
	damaged := func(reason string, err error) error { return &CheckpointError{File: name, Reason: reason, Err: err} }
	r.keeper.newest = checkpointMark{sequence: c.sequence, boundary: c.boundary}
	r.keeper.cluster = c.cluster
	r.cluster = base64.RawURLEncoding.EncodeToString(c.cluster[:])
	r.epoch = c.epoch
	if c.sequence == 0 {
		return nil
	}
	if err := r.nextID.Load(c.ids); err != nil {
		return damaged("producer ids", err)
	}
	if err := r.catalogue.Load(c.catalogue); err != nil {
		return damaged("catalogue", err)
	}
	if err := r.groups.Load(c.groups); err != nil {
		return damaged("groups", err)
	}
	for _, pc := range c.parts {
		t, ok := r.catalogue.TopicByID(pc.id.Topic)
		if !ok {
			return damaged(fmt.Sprintf("partition %s/%d is of no topic", pc.id.Topic, pc.id.Index), nil)
		}
		limits := r.limitsOf(t)
		log, err := partition.OpenToReplay(r.c.FS, partDir(pc.id), limits.log, pc.state)
		if err != nil {
			return damaged(fmt.Sprintf("partition %d of topic %s", pc.id.Index, t.Name), err)
		}
		p := newPart(pc.id, limits, log)
		r.mu.Lock()
		r.parts[pc.id] = p
		r.mu.Unlock()
		r.producersAt[pc.id] = pc.producersAt
		if p.ring != nil {
			continue // what producers did since the checkpoint is not in the journal: they begin anew
		}
		if err := p.producers.Decode(pc.producers); err != nil {
			return damaged(fmt.Sprintf("producers of partition %d of topic %s", pc.id.Index, t.Name), err)
		}
	}
	for _, t := range r.catalogue.Topics() {
		for i := range t.Partitions {
			if r.parts[Partition{t.ID, i}] == nil {
				return damaged(fmt.Sprintf("partition %d of topic %s is missing", i, t.Name), nil)
			}
		}
	}
	return nil
}

// replay applies one journal entry. Entries may be in the checkpoint already: each application is idempotent.
func (r *recovery) replay(lsn journal.LSN, kind journal.Kind, payload []byte) error {
	if kind != kindBarrier {
		r.keeper.replayed = true
	}
	r.behind.Add(int64(len(payload)))
	var err error
	switch kind {
	case kindBatches:
		err = r.replayBatches(payload)
	case kindChange:
		err = r.replayChange(payload)
	case kindGroup:
		err = r.groups.ApplyRecord(slices.Clone(payload))
	case kindProducerIDs:
		block, decodeErr := txn.DecodeBlock(payload)
		if err = decodeErr; err == nil {
			r.nextID.Replay(block)
		}
	case kindLogStart:
		err = r.replayLogStart(payload)
	case kindEpoch:
		epoch, parseErr := parseEpoch(payload)
		if err = parseErr; err == nil {
			r.setEpoch(epoch)
		}
	case kindReserved:
		err = r.replayReserved(payload)
	case kindBarrier:
	default:
		err = fmt.Errorf("engine: entry of unknown kind %d: a newer version wrote it", kind)
	}
	if err != nil {
		return fmt.Errorf("journal entry %d: %w", lsn, err)
	}
	return nil
}

func (r *recovery) replayBatches(payload []byte) error {
	id, atMS, records, err := parseBatches(payload)
	if err != nil {
		return err
	}
	p := r.parts[id]
	if p == nil { // it was appended while its topic was being deleted
		r.skipped++
		return nil
	}
	for v, err := range batch.Split(slices.Clone(records)) {
		if err != nil {
			return err
		}
		if err := p.restore(v, r.producersAt[id], time.UnixMilli(atMS)); err != nil {
			return err
		}
	}
	r.tail.grown(r.appended.Add(int64(len(records))))
	r.tail.awaitRoom(r.Engine)
	return r.Err()
}

func (r *recovery) replayChange(payload []byte) error {
	change, err := meta.DecodeChange(payload)
	if err != nil {
		return err
	}
	have, known := r.catalogue.TopicByID(change.Topic.ID)
	switch change.Kind {
	case meta.Deleted:
		r.deleted[change.Topic.Name] = true
		if known {
			r.drop(change)
		}
		return nil
	case meta.Created:
		delete(r.deleted, change.Topic.Name)
		if known {
			return nil
		}
	case meta.Configured:
		if known {
			r.configure(change)
		}
		return nil
	case meta.Grown:
		if !known || have.Partitions >= change.Topic.Partitions {
			return nil
		}
	}
	parts, err := r.makeParts(change.Topic, have.Partitions)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.catalogue.Apply(change)
	for _, p := range parts {
		r.parts[p.id] = p
	}
	return nil
}

func (r *recovery) replayLogStart(payload []byte) error {
	id, start, err := parseLogStart(payload)
	if err != nil {
		return err
	}
	if p := r.parts[id]; p != nil && start > p.log.Start() {
		p.io.Lock()
		defer p.io.Unlock()
		return p.log.DeleteBefore(start)
	}
	return nil
}

// bumpEpochs gives every partition a new leader epoch, durably, so that clients notice that a tail was cut.
func (r *recovery) bumpEpochs() error {
	epoch := r.epoch + 1
	if err := r.commit(kindEpoch, encodeEpoch(epoch)); err != nil {
		return err
	}
	r.setEpoch(epoch)
	r.keeper.replayed = true
	return nil
}

func (r *recovery) setEpoch(epoch int32) {
	r.epoch = max(r.epoch, epoch)
	for _, p := range r.parts {
		if epoch > p.epoch.Load() {
			p.log.BumpEpoch(epoch)
			p.epoch.Store(epoch)
		}
	}
}

func (r *recovery) reportDamage() {
	for _, p := range r.allParts() {
		for _, damage := range p.log.Damage() {
			r.log.Error("part of a log is damaged: reads of it fail, the rest is served", "err", damage)
		}
	}
	if r.skipped > 0 {
		r.log.Info("the journal held batches of deleted topics", "entries", r.skipped)
	}
}

// findOrphans dooms directories that belong to no topic: those of creations that were never durable, and of deletions
// that had not yet removed them.
func (r *recovery) findOrphans() error {
	entries, err := r.c.FS.List(topicsDir)
	if err != nil {
		return fmt.Errorf("engine: %w", err)
	}
	ours := map[string]bool{}
	for _, t := range r.catalogue.Topics() {
		ours[t.ID.String()] = true
	}
	for _, entry := range entries {
		if !entry.Dir || ours[entry.Name] {
			continue
		}
		if id, ok := parseTopicID(entry.Name); ok {
			r.keeper.doom(id, nil)
			r.keeper.replayed = true
		}
	}
	return nil
}
