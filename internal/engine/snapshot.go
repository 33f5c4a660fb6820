package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"tidings.dev/internal/datadir"
	"tidings.dev/internal/journal"
	"tidings.dev/internal/partition"
	"tidings.dev/internal/vfs"
)

// Snapshot describes a snapshot that Engine.Snapshot has made.
type Snapshot struct {
	ClusterID  string    `json:"cluster_id"`
	TakenAt    time.Time `json:"taken_at"`
	Checkpoint uint64    `json:"checkpoint"`
	// LSN of the snapshot's last entry: it contains all entries up to this one and none after it
	Last       uint64 `json:"last_lsn"`
	Topics     int    `json:"topics"`
	Partitions int    `json:"partitions"`
	Files      int    `json:"files"`
	SizeBytes  int64  `json:"size_bytes"`
	Copied     bool   `json:"copied,omitempty"` // the file system cannot make links, so that segments were copied
}

// Snapshot makes an image of the data directory in dir, a directory of the engine's own file system, while appends go
// on. The image contains the effects of a prefix of the journal, across all partitions, positions and topics, and with
// it everything that was acknowledged before the call. The image is a data directory that can be opened. It also
// contains the file datadir.SnapshotContent. Its segments are links to the engine's own files and must not be written
// to. An engine that opens the image has higher leader epochs and skips producer ids, so that clients do not mistake
// its log for the original, which went on meanwhile.
//
// Snapshot blocks for as long as a checkpoint and one link per segment take. No other checkpoint is taken meanwhile, so
// that the files which belong to the snapshot's checkpoint stay in place. Snapshot first removes the content of dir,
// and after an error it removes dir. The error matches ErrStorage, ErrFull or ErrClosed, is the cause of ctx, or is an
// error of the file system.
func (e *Engine) Snapshot(ctx context.Context, dir string) (Snapshot, error) {
	s := snapshot{Engine: e, ctx: ctx, dir: dir}
	err := e.maintenance.runTask(ctx, func() error {
		err := s.take()
		if err != nil {
			err = errors.Join(err, e.config.FS.RemoveAll(dir))
		}
		return err
	})
	if err != nil {
		return Snapshot{}, fmt.Errorf("engine: snapshot: %w", err)
	}
	return s.result, nil
}

// snapshot is the state of one call of Engine.Snapshot. It is used on the goroutine of maintenance.run.
type snapshot struct {
	*Engine
	ctx        context.Context
	dir        string
	checkpoint *datadir.Checkpoint
	content    []datadir.SnapshotFile
	missing    []missingSegment
	result     Snapshot
}

// missingSegment is a segment that the checkpoint describes and that was removed before it could be linked.
type missingSegment struct {
	part Partition
	name string
	end  int64 // offset after the segment's last record
}

// take makes the snapshot. After an error dir may contain parts of it.
func (s *snapshot) take() error {
	fsys := s.config.FS
	if err := fsys.RemoveAll(s.dir); err != nil {
		return err
	}
	if err := fsys.MkdirAll(s.dir); err != nil {
		return err
	}
	if err := s.maintenance.checkpoint(true); err != nil {
		s.onStorageError(err)
		return err
	}
	name := datadir.CheckpointName(s.maintenance.newest.sequence)
	content, err := vfs.ReadFile(fsys, name)
	if err != nil {
		return err
	}
	if s.checkpoint, err = datadir.DecodeCheckpoint(name, content); err != nil {
		return err
	}
	for _, p := range s.checkpoint.Partitions {
		if err := s.takePartition(p); err != nil {
			return err
		}
		if err := s.ctx.Err(); err != nil {
			return context.Cause(s.ctx)
		}
	}
	// Everything that was answered until now has an LSN up to that of this barrier. The same holds for the entries that
	// moved log starts, which explain missing segments.
	if err := s.commit(datadir.KindBarrier, nil); err != nil {
		return err
	}
	last := journal.LSN(s.commits.applied.Load())
	if err := s.checkMissing(); err != nil {
		return err
	}
	if err := s.takeJournal(last); err != nil {
		return err
	}
	if err := s.write(name, content); err != nil {
		return err
	}
	if err := s.write(datadir.FormatFile, []byte(datadir.FormatLine+"\n")); err != nil {
		return err
	}
	return s.finish(last)
}

// takePartition links the segments of one partition that the checkpoint describes, and notes those that are missing.
func (s *snapshot) takePartition(p datadir.PartitionCheckpoint) error {
	dir := p.ID.Dir()
	if err := s.config.FS.MkdirAll(path.Join(s.dir, dir)); err != nil {
		return err
	}
	s.content = append(s.content, datadir.SnapshotFile{Path: dir, Dir: true})
	for _, f := range partition.FilesOf(p.State) {
		name := path.Join(dir, f.Name)
		err := s.link(name, f.SizeBytes)
		if f.Index && err != nil {
			continue // a missing index is built again when it is needed
		}
		if errors.Is(err, fs.ErrNotExist) {
			s.missing = append(s.missing, missingSegment{p.ID, name, f.End})
			continue
		}
		if err != nil {
			return err
		}
		s.content = append(s.content, datadir.SnapshotFile{Path: name, SizeBytes: f.SizeBytes})
	}
	return nil
}

// link links the file with a name into the snapshot. If that is not possible, it copies the first sizeBytes of the
// file.
func (s *snapshot) link(name string, sizeBytes int64) error {
	to := path.Join(s.dir, name)
	if linker, ok := s.config.FS.(vfs.Linker); ok {
		err := linker.Link(name, to)
		if err == nil || errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	s.result.Copied = true
	return vfs.CopyFile(s.config.FS, name, to, sizeBytes, false)
}

// checkMissing returns an error if a segment is missing without a reason. It may be missing if the topic was deleted or
// if the log now begins after the segment: the journal up to the barrier then has the entry that caused the removal.
func (s *snapshot) checkMissing() error {
	for _, m := range s.missing {
		p, err := s.part(m.part)
		if err == nil && p.log.Start() < m.end {
			return fmt.Errorf("%s is missing; run `tidings doctor`", m.name)
		}
	}
	return nil
}

// takeJournal writes the snapshot's journal: a copy of the entries after the checkpoint's boundary up to last, and two
// more entries, which raise the leader epochs and skip producer ids.
func (s *snapshot) takeJournal(last journal.LSN) (err error) {
	dir := path.Join(s.dir, datadir.JournalDir)
	j, err := journal.Create(s.config.FS, dir, s.checkpoint.Boundary, journal.Options{FileBytes: 1 << 20, Logger: s.log})
	if err != nil {
		return err
	}
	appendCopy := func(_ journal.LSN, kind journal.Kind, payload []byte) error {
		_, err := j.Append(journal.Entry{Kind: kind, Payload: [][]byte{slices.Clone(payload)}})
		return err
	}
	err = journal.Entries(s.config.FS, datadir.JournalDir, s.checkpoint.Boundary, last, appendCopy)
	if err == nil {
		s.topics.changeMu.Lock()
		epoch := s.topics.epoch + 1
		s.topics.changeMu.Unlock()
		err = appendCopy(0, datadir.KindEpoch, datadir.EncodeEpoch(epoch))
	}
	if err == nil {
		s.producerIDs.mu.Lock()
		reserved := s.producerIDs.next.Snapshot()
		s.producerIDs.mu.Unlock()
		var block []byte
		if block, err = datadir.EncodeSkippedProducerIDs(reserved, s.config.Now()); err == nil {
			err = appendCopy(0, datadir.KindProducerIDs, block)
		}
	}
	if err = errors.Join(err, j.Close()); err != nil {
		return err
	}
	infos, err := s.config.FS.List(dir)
	if err != nil {
		return err
	}
	for _, i := range infos {
		if journal.IsSpare(i.Name) {
			continue
		}
		s.content = append(s.content, datadir.SnapshotFile{Path: path.Join(datadir.JournalDir, i.Name), SizeBytes: i.SizeBytes})
	}
	return nil
}

// write adds a small file to the snapshot and to its list of contents.
func (s *snapshot) write(name string, content []byte) error {
	s.content = append(s.content, datadir.SnapshotFile{Path: name, SizeBytes: int64(len(content))})
	return putFile(s.config.FS, path.Join(s.dir, name), content)
}

// finish writes the list of contents, which must be the snapshot's last file, and fills s.result. last is the LSN of
// the last entry.
func (s *snapshot) finish(last journal.LSN) error {
	slices.SortFunc(s.content, func(a, b datadir.SnapshotFile) int { return strings.Compare(a.Path, b.Path) })
	list, err := datadir.EncodeSnapshotContent(s.content)
	if err != nil {
		return err
	}
	for _, f := range s.content {
		s.result.SizeBytes += f.SizeBytes
	}
	s.result.ClusterID = s.clusterID
	s.result.TakenAt = s.config.Now().UTC()
	s.result.Checkpoint = s.checkpoint.Sequence
	s.result.Last = uint64(last)
	s.result.Files = len(s.content)
	s.result.Partitions = len(s.checkpoint.Partitions)
	s.result.Topics = len(s.Topics())
	return putFile(s.config.FS, path.Join(s.dir, datadir.SnapshotContent), list)
}

// putFile writes a file without a sync. No file of a snapshot need survive a power cut.
func putFile(fsys vfs.FS, name string, content []byte) error {
	f, err := fsys.Create(name)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(content, 0)
	return errors.Join(err, f.Close())
}
