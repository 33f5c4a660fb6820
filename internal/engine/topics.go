package engine

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"tidings.dev/internal/journal"
	"tidings.dev/internal/meta"
	"tidings.dev/internal/partition"
	"tidings.dev/internal/vfs"
)

// Topics returns all topics in order of name.
func (e *Engine) Topics() []meta.Topic {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return e.catalogue.Topics()
}

// Topic finds a topic by its name.
func (e *Engine) Topic(name string) (meta.Topic, bool) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return e.catalogue.Topic(name)
}

// TopicByID finds a topic by its identity.
func (e *Engine) TopicByID(id meta.TopicID) (meta.Topic, bool) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return e.catalogue.TopicByID(id)
}

// CreateTopic makes a topic; it is durable and ready when this returns. With validateOnly it only says what would be
// made. Errors match those of meta, ErrStorage and ErrClosed.
func (e *Engine) CreateTopic(ctx context.Context, spec meta.TopicSpec, validateOnly bool) (meta.Topic, error) {
	e.ddl.Lock()
	defer e.ddl.Unlock()
	if err := cmp.Or(e.mayChange(ctx), e.mayGrow()); err != nil {
		return meta.Topic{}, err
	}
	var id meta.TopicID
	rand.Read(id[:])
	change, err := e.catalogue.Create(spec, id)
	if err != nil || validateOnly {
		return change.Topic, err
	}
	return change.Topic, e.change(change, 0)
}

// AutoCreate finds a topic by name or, where Config.AutoCreateTopics allows it, makes it with all defaults. ErrAutoCreate
// says that it is not allowed.
func (e *Engine) AutoCreate(ctx context.Context, name string) (meta.Topic, error) {
	if t, ok := e.Topic(name); ok {
		return t, nil
	}
	if !e.c.AutoCreateTopics {
		return meta.Topic{}, ErrAutoCreate
	}
	t, err := e.CreateTopic(ctx, meta.TopicSpec{Name: name}, false)
	if errors.Is(err, meta.ErrTopicExists) { // someone was faster
		if t, ok := e.Topic(name); ok {
			return t, nil
		}
	}
	return t, err
}

// CreatePartitions makes a topic have count partitions, more than it has. Existing records stay where they are, so the
// order per key begins anew.
func (e *Engine) CreatePartitions(ctx context.Context, name string, count int32, validateOnly bool) error {
	e.ddl.Lock()
	defer e.ddl.Unlock()
	if err := cmp.Or(e.mayChange(ctx), e.mayGrow()); err != nil {
		return err
	}
	change, err := e.catalogue.Grow(name, count)
	if err != nil || validateOnly {
		return err
	}
	before, _ := e.catalogue.Topic(name)
	return e.change(change, before.Partitions)
}

// DeleteTopic takes a topic away with all its records, producer state and committed offsets. Fetches that wait on it are
// answered with ErrUnknownTopic. Its files go after the next checkpoint.
func (e *Engine) DeleteTopic(ctx context.Context, id meta.TopicID) error {
	e.ddl.Lock()
	defer e.ddl.Unlock()
	if err := e.mayChange(ctx); err != nil {
		return err
	}
	change, err := e.catalogue.Delete(id)
	if err != nil {
		return err
	}
	if err := e.commitAs(journal.Freeing, kindChange, change.Encode()); err != nil {
		return err
	}
	e.drop(change)
	e.groups.topicDeleted(change.Topic.Name)
	e.keeper.wantCheckpoint()
	return nil
}

// mayChange says why the catalogue may not be changed now, or nil. A change once begun is finished whatever ctx says.
func (e *Engine) mayChange(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return e.usable()
}

// change makes the logs of partitions [from, change.Topic.Partitions), journals the change and applies it. The logs
// come first: directories without a topic are swept away at the next Open, but a topic without its directories would
// be a broken promise.
func (e *Engine) change(change meta.Change, from int32) error {
	parts, err := e.makeParts(change.Topic, from)
	if err != nil {
		return err
	}
	if err := e.commit(kindChange, change.Encode()); err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.catalogue.Apply(change)
	for _, p := range parts {
		e.parts[p.id] = p
	}
	return nil
}

// makeParts creates empty logs. What was in their place is removed: it belongs to a creation that was never durable, or
// that is being replayed.
func (e *Engine) makeParts(t meta.Topic, from int32) ([]*part, error) {
	limits := e.limitsOf(t)
	var parts []*part
	for i := from; i < t.Partitions; i++ {
		id := Partition{t.ID, i}
		log, err := createLog(e.c.FS, partDir(id), limits.log)
		if err != nil {
			for _, p := range parts {
				p.log.Close()
			}
			return nil, storageError(fmt.Errorf("engine: create partition %d of topic %s: %w", i, t.Name, err))
		}
		parts = append(parts, newPart(id, limits, log))
	}
	return parts, nil
}

// createLog makes an empty log, whatever was in its place.
func createLog(fs vfs.FS, dir string, c partition.Config) (*partition.Log, error) {
	if err := fs.RemoveAll(dir); err != nil {
		return nil, err
	}
	return partition.Create(fs, dir, c)
}

// drop applies a deletion: nobody finds the partitions any more, and the next checkpoint removes their files.
func (e *Engine) drop(change meta.Change) {
	var dropped []*part
	e.mu.Lock()
	e.catalogue.Apply(change)
	for i := range change.Topic.Partitions {
		id := Partition{change.Topic.ID, i}
		if p := e.parts[id]; p != nil {
			delete(e.parts, id)
			dropped = append(dropped, p)
		}
	}
	e.mu.Unlock()
	for _, p := range dropped {
		p.assign.Lock() // after it, no more offsets are given
		p.deleted.Store(true)
		p.assign.Unlock()
		p.waiting.wake()
	}
	e.freeRoom(dropped)
	e.keeper.doom(change.Topic.ID, dropped)
}

// limitsOf reads a topic's configuration.
func (e *Engine) limitsOf(t meta.Topic) partLimits {
	c := t.Config(e.c.defaults())
	if c.Compact { // what is in the last segment can't be compacted: it must not stay there for longer
		c.SegmentAge = min(c.SegmentAge, c.MaxCompactionLag)
	}
	return partLimits{
		log: partition.Config{
			SegmentBytes:       c.SegmentBytes,
			SegmentAge:         c.SegmentAge,
			IndexIntervalBytes: c.IndexIntervalBytes,
			RetentionBytes:     c.RetentionBytes,
			Retention:          c.Retention,
			CompactOnly:        !c.Delete,
			Files:              e.files,
			Ahead:              e.ahead,
		},
		maxBatchBytes:   c.MaxMessageBytes,
		timestampBefore: c.TimestampBefore,
		timestampAfter:  c.TimestampAfter,
		logAppendTime:   c.LogAppendTime,
		compacted:       c.Compact,
		compaction: compactionLimits{
			ratio:           c.CleanableRatio,
			minLag:          c.MinCompactionLag,
			maxLag:          c.MaxCompactionLag,
			deleteRetention: c.DeleteRetention,
		},
		durability: c.Durability,
		syncWithin: c.SyncWithin,
	}
}
