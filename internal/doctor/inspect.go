package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"tidings.dev/internal/batch"
	"tidings.dev/internal/datadir"
	"tidings.dev/internal/group"
	"tidings.dev/internal/journal"
	"tidings.dev/internal/meta"
	"tidings.dev/internal/partition"
	"tidings.dev/internal/txn"
	"tidings.dev/internal/vfs"
)

// inspection describes a data directory that no engine has open. It is the result of inspect.
type inspection struct {
	checkpoints []inspectedCheckpoint // newest first
	// used is the index of the checkpoint that engine.Open would use. It is -1 if there is none or all are damaged.
	used       int
	clusterID  string               // cluster id in the checkpoint used; "" if there is none
	boundary   journal.LSN          // boundary of the checkpoint used: Open replays the entries after it
	topics     []meta.Topic         // topics in the checkpoint used, with the changes that the journal contains
	partitions []inspectedPartition // partitions in the checkpoint used, except those of topics that were deleted later
	salvaged   journal.Salvaged     // the entries after boundary that can be read
	replay     int                  // number of the salvaged entries that are not barriers
	orphans    []string             // topic directories that belong to no topic, which the next Open removes
	missing    []string             // directories of partitions that do not exist but should
	foreign    []string             // names in the directories of topics that are not those of our files
}

// inspectedCheckpoint describes one checkpoint file.
type inspectedCheckpoint struct {
	file      string
	sequence  uint64 // sequence number in the content; 0 if err is not nil
	sizeBytes int64
	err       error // *datadir.CheckpointError that says why the checkpoint cannot be used; nil if it can
	newer     bool  // the checksum is correct, so that the only obstacle is that another version has written the file
	misnamed  bool  // the sequence number in the file's name differs from the one in its content
}

// inspectedPartition describes one partition as the checkpoint has it.
type inspectedPartition struct {
	id    datadir.Partition
	topic string
	dir   string
	state partition.State
	start int64 // first offset that may be read, according to checkpoint and journal; missing records below it are no loss

	indexIntervalBytes int // index interval in the configuration of the partition's topic
}

// inspect reads checkpoints, journal and directory names of a data directory in any state and changes nothing. The
// error is one of I/O or a *journal.VersionError.
func inspect(fsys vfs.FS) (inspection, error) {
	in := inspection{used: -1}
	c, err := in.readCheckpoints(fsys)
	if err != nil {
		return in, err
	}
	catalogue := meta.NewCatalogue(1)
	starts := map[datadir.Partition]int64{}
	if c != nil {
		in.clusterID = c.ClusterID()
		in.boundary = c.Boundary
		if err := catalogue.Load(c.Catalogue); err != nil {
			found := &in.checkpoints[in.used]
			found.err = &datadir.CheckpointError{File: found.file, Reason: "catalogue", Err: err}
		}
	}
	in.salvaged, err = journal.Salvage(fsys, datadir.JournalDir, in.boundary, func(_ journal.LSN, kind journal.Kind, payload []byte) error {
		if kind != datadir.KindBarrier {
			in.replay++
		}
		switch kind {
		case datadir.KindChange:
			if change, err := meta.DecodeChange(payload); err == nil {
				applyIfApplicable(catalogue, change)
			}
		case datadir.KindLogStart:
			if id, start, err := datadir.ParsePartitionOffset(payload); err == nil {
				starts[id] = max(starts[id], start)
			}
		}
		return nil
	})
	if err != nil {
		return in, err
	}
	in.topics = catalogue.Topics()
	if c != nil {
		for _, p := range c.Partitions {
			t, ok := catalogue.TopicByID(p.ID.Topic)
			if !ok {
				continue // the topic was deleted after the checkpoint
			}
			in.partitions = append(in.partitions, inspectedPartition{
				id: p.ID, topic: t.Name, dir: p.ID.Dir(), state: p.State, start: max(p.State.Start, starts[p.ID]),
				indexIntervalBytes: t.Config(meta.Defaults{}).IndexIntervalBytes,
			})
		}
	}
	return in, in.readTopics(fsys)
}

// applyIfApplicable applies a change to the catalogue, unless the catalogue contains the change already or lacks the
// topic that is changed. In a damaged journal entries may occur twice, or after the loss of entries that they depend
// on.
func applyIfApplicable(c *meta.Catalogue, change meta.Change) {
	have, known := c.TopicByID(change.Topic.ID)
	_, taken := c.Topic(change.Topic.Name)
	switch {
	case change.Kind == meta.Created && (known || taken),
		change.Kind != meta.Created && !known,
		change.Kind == meta.Grown && have.Partitions >= change.Topic.Partitions:
		return
	}
	c.Apply(change)
}

// readCheckpoints reads all checkpoints and returns the newest one that can be used, or nil if none can.
func (in *inspection) readCheckpoints(fsys vfs.FS) (*datadir.Checkpoint, error) {
	infos, err := fsys.List(".")
	if err != nil {
		return nil, err
	}
	var used *datadir.Checkpoint
	for _, i := range slices.Backward(infos) {
		sequence, ok := datadir.ParseCheckpointName(i.Name)
		if !ok {
			continue
		}
		found := inspectedCheckpoint{file: i.Name, sizeBytes: i.SizeBytes}
		var c *datadir.Checkpoint
		content, err := vfs.ReadFile(fsys, i.Name)
		if err == nil {
			c, err = datadir.DecodeCheckpoint(i.Name, content)
			if err == nil {
				found.sequence, found.misnamed = c.Sequence, c.Sequence != sequence
				err = checkSections(i.Name, c)
			}
			found.newer = err != nil && datadir.ChecksumHolds(content)
		}
		if err != nil {
			found.err = err
			if _, ok := errors.AsType[*datadir.CheckpointError](err); !ok {
				found.err = &datadir.CheckpointError{File: i.Name, Reason: "it can't be read", Err: err}
			}
		} else if used == nil {
			used, in.used = c, len(in.checkpoints)
		}
		in.checkpoints = append(in.checkpoints, found)
	}
	return used, nil
}

// checkSections returns an error if a section of the checkpoint cannot be loaded.
func checkSections(file string, c *datadir.Checkpoint) error {
	damaged := func(reason string, err error) error {
		return &datadir.CheckpointError{File: file, Reason: reason, Err: err}
	}
	catalogue := meta.NewCatalogue(1)
	if err := catalogue.Load(c.Catalogue); err != nil {
		return damaged("catalogue", err)
	}
	if err := group.New(group.Options{}).Load(c.Groups); err != nil {
		return damaged("groups", err)
	}
	if len(c.Transactions) > 0 {
		if err := txn.NewCoordinator(txn.Options{}).Load(c.Transactions); err != nil {
			return damaged("transactions", err)
		}
	}
	for _, p := range c.Partitions {
		if _, ok := catalogue.TopicByID(p.ID.Topic); !ok {
			return damaged(fmt.Sprintf("partition %s/%d is of no topic", p.ID.Topic, p.ID.Index), nil)
		}
	}
	return nil
}

// readTopics compares the directories of topics with the catalogue.
func (in *inspection) readTopics(fsys vfs.FS) error {
	known := map[string]meta.Topic{}
	for _, t := range in.topics {
		known[t.ID.String()] = t
	}
	infos, err := fsys.List(datadir.TopicsDir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, i := range infos {
		name := path.Join(datadir.TopicsDir, i.Name)
		_, ours := datadir.ParseTopicID(i.Name)
		t, alive := known[i.Name]
		switch {
		case !ours || !i.Dir || strings.ToLower(i.Name) != i.Name:
			in.foreign = append(in.foreign, name)
			continue
		case !alive:
			in.orphans = append(in.orphans, name)
			continue
		}
		parts, err := fsys.List(name)
		if err != nil {
			return err
		}
		for _, p := range parts {
			var index int32
			_, err := fmt.Sscanf(p.Name, "%d", &index)
			if err != nil || !p.Dir || index < 0 || index >= t.Partitions || fmt.Sprint(index) != p.Name {
				in.foreign = append(in.foreign, path.Join(name, p.Name))
			}
		}
	}
	for _, p := range in.partitions {
		if _, err := fsys.Stat(p.dir); errors.Is(err, fs.ErrNotExist) {
			in.missing = append(in.missing, p.dir)
		}
	}
	return nil
}

// batchesInJournal returns, for each partition in wanted, the batches that can be read anywhere in the journal, before
// or after the boundary. The error is one of I/O.
func batchesInJournal(fsys vfs.FS, wanted map[datadir.Partition]bool) (map[datadir.Partition][]batch.View, error) {
	found := map[datadir.Partition][]batch.View{}
	_, err := journal.Salvage(fsys, datadir.JournalDir, 0, func(_ journal.LSN, kind journal.Kind, payload []byte) error {
		if kind == datadir.KindEnd {
			end, err := datadir.DecodeEnd(payload)
			for _, m := range end.Markers {
				if err == nil && wanted[m.Partition] {
					found[m.Partition] = append(found[m.Partition], slices.Clone(m.Batch))
				}
			}
			return nil
		}
		if kind != datadir.KindBatches {
			return nil
		}
		id, _, records, err := datadir.ParseBatches(payload)
		if err != nil {
			return nil // the frame is whole but the entry is invalid; rebuildJournal reports that
		}
		for v, err := range batch.Split(records) {
			if err != nil {
				return nil
			}
			if wanted[id] && batch.Check(v) == nil {
				found[id] = append(found[id], slices.Clone(v))
			}
		}
		return nil
	})
	return found, err
}
