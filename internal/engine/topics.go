package engine

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"tidings.dev/internal/datadir"
	"tidings.dev/internal/journal"
	"tidings.dev/internal/meta"
	"tidings.dev/internal/partition"
	"tidings.dev/internal/vfs"
)

// Topics returns all topics in the order of their names.
func (e *Engine) Topics() []meta.Topic {
	e.topics.mu.RLock()
	defer e.topics.mu.RUnlock()
	return e.topics.catalogue.Topics()
}

// Topic returns the topic with a name, and whether it exists.
func (e *Engine) Topic(name string) (meta.Topic, bool) {
	e.topics.mu.RLock()
	defer e.topics.mu.RUnlock()
	return e.topics.catalogue.Topic(name)
}

// TopicByID returns the topic with an id, and whether it exists.
func (e *Engine) TopicByID(id meta.TopicID) (meta.Topic, bool) {
	e.topics.mu.RLock()
	defer e.topics.mu.RUnlock()
	return e.topics.catalogue.TopicByID(id)
}

// CreateTopic creates a topic. When it returns nil, after one sync of the journal and the syncs of new directories, the
// topic is durable and ready for use. With validateOnly it changes nothing and returns the topic that would be created.
// ctx is only checked at the beginning. Errors match those of package meta, ErrStorage, ErrFull and ErrClosed.
func (e *Engine) CreateTopic(ctx context.Context, spec meta.TopicSpec, validateOnly bool) (meta.Topic, error) {
	e.topics.changeMu.Lock()
	defer e.topics.changeMu.Unlock()
	if err := cmp.Or(e.checkChange(ctx), e.checkSpace()); err != nil {
		return meta.Topic{}, err
	}
	var id meta.TopicID
	rand.Read(id[:])
	change, err := e.topics.catalogue.Create(spec, id)
	if err != nil || validateOnly {
		return change.Topic, err
	}
	return change.Topic, e.change(change, 0)
}

// AutoCreate returns the topic with a name, which it creates with the default configuration if it does not exist. If
// the topic does not exist and Config.AutoCreateTopics is false, the error is ErrAutoCreate. Other errors are those of
// CreateTopic.
func (e *Engine) AutoCreate(ctx context.Context, name string) (meta.Topic, error) {
	if t, ok := e.Topic(name); ok {
		return t, nil
	}
	if !e.config.AutoCreateTopics {
		return meta.Topic{}, ErrAutoCreate
	}
	t, err := e.CreateTopic(ctx, meta.TopicSpec{Name: name}, false)
	if errors.Is(err, meta.ErrTopicExists) { // another goroutine has created the topic meanwhile
		if t, ok := e.Topic(name); ok {
			return t, nil
		}
	}
	return t, err
}

// CreatePartitions raises the number of a topic's partitions to count and makes that durable. Existing records stay in
// their partitions, so that later records with the same key may be in another partition than earlier ones. ctx,
// validateOnly and the errors are as for CreateTopic.
func (e *Engine) CreatePartitions(ctx context.Context, name string, count int32, validateOnly bool) error {
	e.topics.changeMu.Lock()
	defer e.topics.changeMu.Unlock()
	if err := cmp.Or(e.checkChange(ctx), e.checkSpace()); err != nil {
		return err
	}
	change, err := e.topics.catalogue.Grow(name, count)
	if err != nil || validateOnly {
		return err
	}
	before, _ := e.topics.catalogue.Topic(name)
	return e.change(change, before.Partitions)
}

// DeleteTopic deletes a topic with all its records, producer states and committed positions. The deletion is durable
// when it returns nil. Fetches that wait for the topic are answered with ErrUnknownTopic. The topic's files are removed
// by the next checkpoint, or at once if the disk is full. Errors match meta.ErrUnknownTopic, ErrStorage and ErrClosed.
func (e *Engine) DeleteTopic(ctx context.Context, id meta.TopicID) error {
	e.topics.changeMu.Lock()
	defer e.topics.changeMu.Unlock()
	if err := e.checkChange(ctx); err != nil {
		return err
	}
	change, err := e.topics.catalogue.Delete(id)
	if err != nil {
		return err
	}
	if err := e.commitAs(journal.PriorityFreeing, datadir.KindChange, change.Encode()); err != nil {
		return err
	}
	e.drop(change)
	e.groups.topicDeleted(change.Topic.Name)
	e.maintenance.requestCheckpoint()
	return nil
}

// checkChange returns why the catalogue may not be changed now, or nil: the error of ctx, or that of checkOpen. ctx is
// not checked again after it, so that a change which has begun is completed.
func (e *Engine) checkChange(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return e.checkOpen()
}

// change creates the logs of the partitions [from, change.Topic.Partitions), journals the change and applies it. The
// caller must hold topics.changeMu. The logs are created first because the next Open can remove directories that belong
// to no topic, but could not mend a topic that has no directories.
func (e *Engine) change(change meta.Change, from int32) error {
	parts, err := e.makeParts(change.Topic, from)
	if err != nil {
		return err
	}
	if err := e.commit(datadir.KindChange, change.Encode()); err != nil {
		return err
	}
	e.topics.add(change, parts)
	return nil
}

// makeParts creates the partitions [from, t.Partitions) of the topic t with empty logs, whose directories are durable
// when it returns. It first removes the directories of these partitions if they exist: they are left by a creation that
// never became durable, or by one that is being replayed. The topic's directory is synced once, after all partitions are
// in it: a sync for each would take seconds for a topic of thousands.
func (e *Engine) makeParts(t meta.Topic, from int32) ([]*part, error) {
	fail := func(err error) ([]*part, error) {
		return nil, storageError(fmt.Errorf("engine: create topic %s: %w", t.Name, err))
	}
	dir := datadir.TopicDir(t.ID)
	if err := e.config.FS.MkdirAll(dir); err != nil {
		return fail(err)
	}
	config := e.partConfigOf(t)
	parts := make([]*part, 0, t.Partitions-from)
	for i := from; i < t.Partitions; i++ {
		id := Partition{Topic: t.ID, Index: i}
		log, err := createLog(e.config.FS, id.Dir(), config.log)
		if err != nil {
			return fail(fmt.Errorf("partition %d: %w", i, err))
		}
		parts = append(parts, newPart(id, config, log, e.producers)) // an empty log has no open file
	}
	if err := e.config.FS.SyncDir(dir); err != nil {
		return fail(err)
	}
	return parts, nil
}

// createLog removes dir with its content and creates an empty log there. The caller makes the entry of dir durable.
func createLog(fs vfs.FS, dir string, c partition.Config) (*partition.Log, error) {
	if err := fs.RemoveAll(dir); err != nil {
		return nil, err
	}
	if err := fs.Mkdir(dir); err != nil {
		return nil, err
	}
	return partition.Open(fs, dir, c, partition.State{})
}

// drop applies the deletion of a topic: it removes the topic's partitions from the engine and queues their files, which
// the next checkpoint removes. The caller must hold topics.changeMu, except in recovery, which has the engine for
// itself.
func (e *Engine) drop(change meta.Change) {
	e.topics.mu.Lock()
	e.topics.catalogue.Apply(change)
	dropped := e.topics.parts[change.Topic.ID]
	delete(e.topics.parts, change.Topic.ID)
	e.topics.mu.Unlock()
	for _, p := range dropped {
		p.assign.Lock() // an append that takes assign after this sees deleted and gives no offsets
		p.deleted.Store(true)
		p.producers.Drop()
		p.assign.Unlock()
		p.waiting.wake()
	}
	e.freeSpaceOf(dropped)
	e.maintenance.queueDeletion(change.Topic.ID, dropped)
}

// partConfigOf returns the part of a topic's configuration that its partitions need.
func (e *Engine) partConfigOf(t meta.Topic) partConfig {
	c := t.Config(e.config.topicDefaults())
	// Records in a log's last segment cannot be compacted, so they must not stay in it for longer than the compaction
	// lag.
	if c.Compact {
		c.SegmentAge = min(c.SegmentAge, c.MaxCompactionLag)
	}
	return partConfig{
		log: partition.Config{
			SegmentBytes:       c.SegmentBytes,
			SegmentAge:         c.SegmentAge,
			IndexIntervalBytes: c.IndexIntervalBytes,
			RetentionBytes:     c.RetentionBytes,
			Retention:          c.Retention,
			CompactOnly:        !c.Delete,
			Files:              e.files,
			ReadAhead:          e.readAhead,
		},
		maxBatchBytes:   c.MaxMessageBytes,
		timestampBefore: c.TimestampBefore,
		timestampAfter:  c.TimestampAfter,
		logAppendTime:   c.LogAppendTime,
		compacted:       c.Compact,
		compaction: compactionConfig{
			ratio:           c.CleanableRatio,
			minLag:          c.MinCompactionLag,
			maxLag:          c.MaxCompactionLag,
			deleteRetention: c.DeleteRetention,
		},
		durability: c.Durability,
		syncWithin: c.SyncWithin,
	}
}
