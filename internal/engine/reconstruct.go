package engine

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"time"

	"tidings.dev/internal/batch"
	"tidings.dev/internal/group"
	"tidings.dev/internal/journal"
	"tidings.dev/internal/meta"
	"tidings.dev/internal/partition"
	"tidings.dev/internal/txn"
	"tidings.dev/internal/vfs"
)

// reconstruct puts a checkpoint together where none is whole. If the journal begins with the first entry ever written,
// it has everything. Else the segments tell their partitions' ranges and producers, and what only a checkpoint says is
// taken from one that is damaged, as far as it can still be read: nothing proves it right, so it is reported.
func (m *mending) reconstruct(damaged map[Partition]bool) error {
	hint := m.readDamaged()
	m.c = &checkpoint{}
	if hint != nil {
		m.c.cluster = hint.cluster
	} else {
		rand.Read(m.c.cluster[:])
		if len(m.in.Checkpoints) > 0 {
			m.lost("the cluster id: it has a new one")
		}
	}
	catalogue, groups, ids := meta.NewCatalogue(1), group.New(Config{}.groupOptions()), txn.IDs{}
	if first := m.in.Salvaged.First; first != 1 && !m.isYoung() {
		if err := m.fromSegments(hint, catalogue, groups, &ids, damaged); err != nil {
			return err
		}
		if first > 0 {
			m.c.boundary = first - 1
		}
	}
	m.c.catalogue, m.c.groups, m.c.ids = catalogue.Snapshot(), groups.Snapshot(), ids.Snapshot()
	return nil
}

// isYoung says whether nothing was ever put on record: there are no topics.
func (m *mending) isYoung() bool {
	infos, err := m.fs.List(topicsDir)
	return (err == nil || errors.Is(err, fs.ErrNotExist)) && len(infos) == 0 && m.in.Salvaged.First == 0 && len(m.in.Checkpoints) == 0
}

// readDamaged reads the newest damaged checkpoint of which the sections still make sense, or returns nil.
func (m *mending) readDamaged() *checkpoint {
	for _, found := range m.in.Checkpoints {
		content, err := vfs.ReadFile(m.fs, found.File)
		if err != nil || len(content) < checkpointHead+crcSize {
			continue
		}
		body := content[:len(content)-crcSize]
		c, err := decodeCheckpoint(found.File, binary.BigEndian.AppendUint32(slices.Clone(body), crc32.Checksum(body, castagnoli)))
		if err == nil && c.tryLoad(found.File) == nil {
			return c
		}
	}
	return nil
}

// fromSegments fills catalogue, groups, ids and the checkpoint's partitions.
func (m *mending) fromSegments(hint *checkpoint, catalogue *meta.Catalogue, groups *group.Coordinator, ids *txn.IDs, damaged map[Partition]bool) error {
	names := meta.NewCatalogue(1)
	if hint == nil {
		m.lost("committed positions, but for those that the journal still has")
	} else {
		if err := errors.Join(names.Load(hint.catalogue), groups.Load(hint.groups), ids.Load(hint.ids)); err != nil {
			return err
		}
		m.c.epoch = hint.epoch
		m.lost("the proof that topics' names and committed positions are right: they are of a damaged checkpoint")
	}
	m.namesInJournal(names)
	infos, err := m.fs.List(topicsDir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	largest := int64(-1) // producer id
	for _, i := range infos {
		id, ours := parseTopicID(i.Name)
		if !ours || !i.Dir {
			continue
		}
		t, known := names.TopicByID(id)
		if !known {
			if hint != nil {
				continue // it was deleted, or its creation is in the journal
			}
			t = meta.Topic{Name: recoveredName(id), ID: id}
			m.lost("the name and the configuration of a topic: it is %s now", t.Name)
		}
		if t.Partitions, err = m.countPartitions(topicDir(id), t.Partitions); err != nil {
			return err
		}
		if t.Partitions == 0 {
			continue
		}
		catalogue.Apply(meta.Change{Kind: meta.Created, Topic: t})
		for index := range t.Partitions {
			p, producer, err := m.fromPartition(Partition{id, index}, damaged)
			if err != nil {
				return err
			}
			largest = max(largest, producer)
			m.c.parts = append(m.c.parts, p)
			for _, e := range p.state.Epochs {
				m.c.epoch = max(m.c.epoch, e.Epoch)
			}
		}
	}
	if largest >= 0 {
		ids.Replay(txn.Block{First: largest + idMargin})
	}
	return nil
}

// namesInJournal adds the topics of which the journal has the creation.
func (m *mending) namesInJournal(names *meta.Catalogue) {
	_, err := journal.Salvage(m.fs, journalDir, 0, func(_ journal.LSN, kind journal.Kind, payload []byte) error {
		if kind == kindChange {
			if change, err := meta.DecodeChange(payload); err == nil {
				if _, known := names.TopicByID(change.Topic.ID); !known && change.Kind != meta.Deleted {
					change.Kind = meta.Created
				}
				applyKnown(names, change)
			}
		}
		return nil
	})
	_ = err // what could not be read of the journal has been reported
}

func (m *mending) countPartitions(dir string, known int32) (int32, error) {
	infos, err := m.fs.List(dir)
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

// fromPartition reads the state of a partition from its segments, and the largest producer id in it.
func (m *mending) fromPartition(id Partition, damaged map[Partition]bool) (p partCheckpoint, largest int64, err error) {
	p.id = id
	largest = -1
	var producers txn.Producers
	found, err := partition.Reconstruct(m.fs, partDir(id), func(v batch.View) {
		producers.Record(producerOf(v), v.BaseOffset(), appendTime(v), time.Now())
		largest = max(largest, v.ProducerID())
	})
	if err != nil {
		return p, largest, err
	}
	if found.Damaged {
		damaged[id] = true
	}
	for _, name := range found.Aside {
		m.aside(path.Join(partDir(id), name))
	}
	p.state, p.producersAt, p.producers = found.State, found.State.End, producers.Encode()
	return p, largest, nil
}
