package doctor

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"path"
	"strconv"
	"time"

	"tidings.dev/internal/batch"
	"tidings.dev/internal/datadir"
	"tidings.dev/internal/group"
	"tidings.dev/internal/journal"
	"tidings.dev/internal/meta"
	"tidings.dev/internal/partition"
	"tidings.dev/internal/txn"
	"tidings.dev/internal/vfs"
)

// reconstructCheckpoint sets r.checkpoint when no checkpoint can be used. If the journal begins with the first entry
// ever written, it has everything, and the checkpoint is that of an empty directory. Otherwise the offsets and
// producers of the partitions come from the segments. Everything that only a checkpoint contains comes from a damaged
// checkpoint, as far as one can be parsed. Since nothing proves that this part is correct, it is noted as a loss.
// Partitions whose segments are damaged are added to damaged.
func (r *repairer) reconstructCheckpoint(damaged map[datadir.Partition]bool) error {
	hint := r.readDamagedCheckpoint()
	r.checkpoint = &datadir.Checkpoint{}
	if hint != nil {
		r.checkpoint.Cluster = hint.Cluster
	} else {
		rand.Read(r.checkpoint.Cluster[:])
		if len(r.in.checkpoints) > 0 {
			r.lose("the cluster id: it has a new one")
		}
	}
	catalogue, groups, ids := meta.NewCatalogue(1), group.New(group.Options{}), txn.IDs{}
	if first := r.in.salvaged.First; first != 1 && !r.isEmpty() {
		if err := r.fromSegments(hint, catalogue, groups, &ids, damaged); err != nil {
			return err
		}
		if first > 0 {
			r.checkpoint.Boundary = first - 1
		}
	}
	r.checkpoint.Catalogue, r.checkpoint.Groups, r.checkpoint.ProducerIDs = catalogue.Snapshot(), groups.Snapshot(), ids.Snapshot()
	return nil
}

// isEmpty reports whether the directory has never had a topic, a journal entry or a checkpoint.
func (r *repairer) isEmpty() bool {
	infos, err := r.fs.List(datadir.TopicsDir)
	return (err == nil || errors.Is(err, fs.ErrNotExist)) && len(infos) == 0 && r.in.salvaged.First == 0 && len(r.in.checkpoints) == 0
}

// readDamagedCheckpoint returns the newest damaged checkpoint whose sections can be parsed, or nil if there is none.
func (r *repairer) readDamagedCheckpoint() *datadir.Checkpoint {
	for _, found := range r.in.checkpoints {
		content, err := vfs.ReadFile(r.fs, found.file)
		if err != nil {
			continue
		}
		c, err := datadir.DecodeDamagedCheckpoint(found.file, content)
		if err == nil && checkSections(found.file, c) == nil {
			return c
		}
	}
	return nil
}

// fromSegments fills catalogue, groups, ids and the partitions of r.checkpoint from the directories of topics and from
// hint, a damaged checkpoint, which may be nil.
func (r *repairer) fromSegments(hint *datadir.Checkpoint, catalogue *meta.Catalogue, groups *group.Coordinator, ids *txn.IDs, damaged map[datadir.Partition]bool) error {
	names := meta.NewCatalogue(1)
	if hint == nil {
		r.lose("committed positions and transactional ids, but for those that the journal still has")
	} else {
		if err := errors.Join(names.Load(hint.Catalogue), groups.Load(hint.Groups), ids.Load(hint.ProducerIDs)); err != nil {
			return err
		}
		r.checkpoint.Epoch, r.checkpoint.Transactions = hint.Epoch, hint.Transactions
		r.lose("the proof that topics' names and committed positions are right: they are of a damaged checkpoint")
	}
	r.addTopicsOfJournal(names)
	infos, err := r.fs.List(datadir.TopicsDir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	largestProducerID := int64(-1)
	for _, i := range infos {
		id, ours := datadir.ParseTopicID(i.Name)
		if !ours || !i.Dir {
			continue
		}
		t, known := names.TopicByID(id)
		if !known {
			if hint != nil {
				continue // the topic was deleted, or its creation is in the journal
			}
			t = meta.Topic{Name: recoveredName(id), ID: id}
			r.lose("the name and the configuration of a topic: it is %s now", t.Name)
		}
		if t.Partitions, err = r.countPartitions(datadir.TopicDir(id), t.Partitions); err != nil {
			return err
		}
		if t.Partitions == 0 {
			continue
		}
		catalogue.Apply(meta.Change{Kind: meta.Created, Topic: t})
		for index := range t.Partitions {
			p, producerID, err := r.partitionFromSegments(datadir.Partition{Topic: id, Index: index}, damaged)
			if err != nil {
				return err
			}
			largestProducerID = max(largestProducerID, producerID)
			r.checkpoint.Partitions = append(r.checkpoint.Partitions, p)
			for _, e := range p.State.Epochs {
				r.checkpoint.Epoch = max(r.checkpoint.Epoch, e.Epoch)
			}
		}
	}
	if largestProducerID >= 0 {
		ids.Replay(txn.Block{First: largestProducerID + datadir.SkippedProducerIDs})
	}
	return nil
}

// addTopicsOfJournal adds to names the topics that an entry of the journal creates or changes.
func (r *repairer) addTopicsOfJournal(names *meta.Catalogue) {
	_, err := journal.Salvage(r.fs, datadir.JournalDir, 0, func(_ journal.LSN, kind journal.Kind, payload []byte) error {
		if kind == datadir.KindChange {
			if change, err := meta.DecodeChange(payload); err == nil {
				if _, known := names.TopicByID(change.Topic.ID); !known && change.Kind != meta.Deleted {
					change.Kind = meta.Created
				}
				applyIfApplicable(names, change)
			}
		}
		return nil
	})
	_ = err // Check has reported the parts of the journal that cannot be read
}

// countPartitions returns the number of partitions of a topic: known, or more if there are directories of more
// partitions.
func (r *repairer) countPartitions(dir string, known int32) (int32, error) {
	infos, err := r.fs.List(dir)
	if err != nil {
		return 0, err
	}
	for _, i := range infos {
		if n, err := strconv.ParseUint(i.Name, 10, 31); err == nil && i.Dir {
			known = max(known, int32(n)+1)
		}
	}
	return min(known, meta.MaxPartitions), nil
}

// partitionFromSegments derives the state of a partition from its segments. It also returns the largest producer id in
// them, or -1 if there is none.
func (r *repairer) partitionFromSegments(id datadir.Partition, damaged map[datadir.Partition]bool) (p datadir.PartitionCheckpoint, largestProducerID int64, err error) {
	p.ID = id
	largestProducerID = -1
	var producers txn.Producers
	found, err := partition.Reconstruct(r.fs, id.Dir(), func(v batch.View) {
		producers.Record(txn.BatchOf(v), v.BaseOffset(), txn.AppendTimeMS(v), time.Now())
		largestProducerID = max(largestProducerID, v.ProducerID())
	})
	if err != nil {
		return p, largestProducerID, err
	}
	if found.Damaged {
		damaged[id] = true
	}
	for _, name := range found.Aside {
		r.moveAside(path.Join(id.Dir(), name))
	}
	p.State, p.ProducersEnd, p.Producers = found.State, found.State.End, producers.Encode()
	return p, largestProducerID, nil
}
