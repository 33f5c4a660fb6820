package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"tidings.dev/internal/journal"
	"tidings.dev/internal/partition"
	"tidings.dev/internal/txn"
	"tidings.dev/internal/vfs"
)

// SnapshotDir is where in the data directory the broker makes its snapshots, one at a time. What is found there by Open
// was left by a process that ended, and is removed.
const SnapshotDir = "snapshot" + temporarySuffix

// SnapshotContent is the file of a snapshot that lists its files: lines of JSON, each a SnapshotFile. Only so much of a
// file as it says belongs to the snapshot: the rest was appended since.
const SnapshotContent = "CONTENT"

// SnapshotFile is one file of a snapshot, or the directory of a partition. Its path is slash-separated and relative to
// the snapshot.
type SnapshotFile struct {
	Path      string `json:"path"`
	SizeBytes int64  `json:"size"`
	Dir       bool   `json:"dir,omitempty"`
}

// Snapshot says what a snapshot holds.
type Snapshot struct {
	ClusterID  string    `json:"cluster_id"`
	TakenAt    time.Time `json:"taken_at"`
	Checkpoint uint64    `json:"checkpoint"`
	Last       uint64    `json:"last_lsn"` // all that was acknowledged is in, up to this entry of the journal, and nothing after it
	Topics     int       `json:"topics"`
	Partitions int       `json:"partitions"`
	Files      int       `json:"files"`
	SizeBytes  int64     `json:"size_bytes"`
	Copied     bool      `json:"copied,omitempty"` // the file system has no links: segments had to be copied
}

// Snapshot makes an image of the data directory in a directory of the engine's own file system, while everything goes
// on: one prefix of the journal across all partitions, positions and topics, with all that was acknowledged before the
// call. The image is a data directory that can be opened, but for the file SnapshotContent; segments in it are links to
// the engine's own and must not be written to. Whoever opens it finds leader epochs grown and producer ids skipped, so
// that no client mistakes it for the log that went on without it.
//
// It takes as long as a checkpoint and a link for each segment. Meanwhile no other checkpoint is taken; this is why it
// is sound: what a power cut after a checkpoint could be recovered from stays on the disk until the next one. What was
// in dir before is removed; on an error nothing is left in it.
func (e *Engine) Snapshot(ctx context.Context, dir string) (Snapshot, error) {
	s := snapshot{Engine: e, ctx: ctx, dir: dir}
	err := e.errand(ctx, func() error {
		err := s.take()
		if err != nil {
			err = errors.Join(err, e.c.FS.RemoveAll(dir))
		}
		return err
	})
	if err != nil {
		return Snapshot{}, fmt.Errorf("engine: snapshot: %w", err)
	}
	return s.result, nil
}

// errand has the keeper do something between its own duties, and waits for it.
func (e *Engine) errand(ctx context.Context, do func() error) error {
	if err := e.usable(); err != nil {
		return err
	}
	done := make(chan error, 1)
	check := time.NewTicker(fenceCheck)
	defer check.Stop()
	for {
		select {
		case e.keeper.errands <- func() { done <- do() }:
			return <-done
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-e.closing:
			return ErrClosed
		case <-check.C: // a keeper of a fenced log has ended
			if err := e.Err(); err != nil {
				return err
			}
		}
	}
}

// fenceCheck is how often whoever waits for the keeper looks if it is still there.
const fenceCheck = 100 * time.Millisecond

// snapshot is one under way, on the keeper's goroutine.
type snapshot struct {
	*Engine
	ctx        context.Context
	dir        string
	checkpoint *checkpoint
	content    []SnapshotFile
	missing    []missingSegment
	result     Snapshot
}

// missingSegment is one that the checkpoint has and that retention removed before it could be linked.
type missingSegment struct {
	part Partition
	name string
	end  int64 // the offset after it
}

func (s *snapshot) take() error {
	fsys := s.c.FS
	if err := fsys.RemoveAll(s.dir); err != nil {
		return err
	}
	if err := fsys.MkdirAll(s.dir); err != nil {
		return err
	}
	if err := s.Engine.checkpoint(true); err != nil {
		s.stumble(err)
		return err
	}
	name := checkpointName(s.keeper.newest.sequence)
	content, err := vfs.ReadFile(fsys, name)
	if err != nil {
		return err
	}
	if s.checkpoint, err = decodeCheckpoint(name, content); err != nil {
		return err
	}
	for _, p := range s.checkpoint.parts {
		if err := s.takePartition(p); err != nil {
			return err
		}
		if err := s.ctx.Err(); err != nil {
			return context.Cause(s.ctx)
		}
	}
	// Whoever was answered until now finds what he was told at or below this entry; so do the log starts that retention
	// moved past segments that were gone already.
	if err := s.commit(kindBarrier, nil); err != nil {
		return err
	}
	last := journal.LSN(s.applied.Load())
	if err := s.checkMissing(); err != nil {
		return err
	}
	if err := s.takeJournal(last); err != nil {
		return err
	}
	if err := s.write(name, content); err != nil {
		return err
	}
	if err := s.write(formatFile, []byte(formatLine+"\n")); err != nil {
		return err
	}
	return s.finish(last)
}

// takePartition links the segments that the checkpoint describes.
func (s *snapshot) takePartition(p partCheckpoint) error {
	dir := partDir(p.id)
	if err := s.c.FS.MkdirAll(path.Join(s.dir, dir)); err != nil {
		return err
	}
	s.content = append(s.content, SnapshotFile{Path: dir, Dir: true})
	for _, f := range partition.FilesOf(p.state) {
		name := path.Join(dir, f.Name)
		err := s.link(name, f.SizeBytes)
		if f.Index && err != nil {
			continue // it is made anew when it is needed
		}
		if errors.Is(err, fs.ErrNotExist) {
			s.missing = append(s.missing, missingSegment{p.id, name, f.End})
			continue
		}
		if err != nil {
			return err
		}
		s.content = append(s.content, SnapshotFile{Path: name, SizeBytes: f.SizeBytes})
	}
	return nil
}

// link gives a file its name in the snapshot, by a copy where it can't be linked.
func (s *snapshot) link(name string, sizeBytes int64) error {
	to := path.Join(s.dir, name)
	if linker, ok := s.c.FS.(vfs.Linker); ok {
		err := linker.Link(name, to)
		if err == nil || errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	s.result.Copied = true
	return copyFile(s.c.FS, name, to, sizeBytes)
}

// checkMissing makes sure that segments which were gone are of no consequence: their topic is deleted, or the log begins
// behind them, and the journal up to the barrier says so.
func (s *snapshot) checkMissing() error {
	for _, m := range s.missing {
		p, err := s.part(m.part)
		if err == nil && p.log.Start() < m.end {
			return fmt.Errorf("%s is missing; run `tidings doctor`", m.name)
		}
	}
	return nil
}

// idMargin is how many producer ids the copy skips: more than the original will give out while anybody may still know
// ids of both.
const idMargin = 1 << 20

// takeJournal writes the journal of the copy: what follows the checkpoint, and marks that tell it from the original.
func (s *snapshot) takeJournal(last journal.LSN) (err error) {
	dir := path.Join(s.dir, journalDir)
	j, err := journal.Begin(s.c.FS, dir, s.checkpoint.boundary, journal.Options{FileBytes: 1 << 20, Logger: s.log})
	if err != nil {
		return err
	}
	appendCopy := func(_ journal.LSN, kind journal.Kind, payload []byte) error {
		_, err := j.Append(journal.Entry{Kind: kind, Payload: [][]byte{slices.Clone(payload)}})
		return err
	}
	err = journal.Entries(s.c.FS, journalDir, s.checkpoint.boundary, last, appendCopy)
	if err == nil {
		s.ddl.Lock()
		epoch := s.epoch + 1
		s.ddl.Unlock()
		err = appendCopy(0, kindEpoch, encodeEpoch(epoch))
	}
	if err == nil {
		s.ids.Lock()
		reserved := s.nextID.Snapshot()
		s.ids.Unlock()
		var block []byte
		if block, err = skipIDs(reserved, idMargin); err == nil {
			err = appendCopy(0, kindProducerIDs, block)
		}
	}
	if err = errors.Join(err, j.Close()); err != nil {
		return err
	}
	infos, err := s.c.FS.List(dir)
	if err != nil {
		return err
	}
	for _, i := range infos {
		if journal.IsSpare(i.Name) {
			continue
		}
		s.content = append(s.content, SnapshotFile{Path: path.Join(journalDir, i.Name), SizeBytes: i.SizeBytes})
	}
	return nil
}

// skipIDs is a journal entry after which n producer ids more than those reserved are never given out.
func skipIDs(reserved []byte, n int64) ([]byte, error) {
	var ids txn.IDs
	if err := ids.Load(reserved); err != nil {
		return nil, err
	}
	b := ids.Reserve()
	b.First += n
	return b.Encode(), nil
}

func (s *snapshot) write(name string, content []byte) error {
	s.content = append(s.content, SnapshotFile{Path: name, SizeBytes: int64(len(content))})
	return putFile(s.c.FS, path.Join(s.dir, name), content)
}

func (s *snapshot) finish(last journal.LSN) error {
	slices.SortFunc(s.content, func(a, b SnapshotFile) int { return strings.Compare(a.Path, b.Path) })
	var lines []byte
	for _, f := range s.content {
		line, err := json.Marshal(f)
		if err != nil {
			return err
		}
		lines = append(append(lines, line...), '\n')
		s.result.SizeBytes += f.SizeBytes
	}
	s.result.ClusterID = s.cluster
	s.result.TakenAt = s.c.Now().UTC()
	s.result.Checkpoint = s.checkpoint.sequence
	s.result.Last = uint64(last)
	s.result.Files = len(s.content)
	s.result.Partitions = len(s.checkpoint.parts)
	s.mu.RLock()
	s.result.Topics = len(s.catalogue.Topics())
	s.mu.RUnlock()
	return putFile(s.c.FS, path.Join(s.dir, SnapshotContent), lines)
}

// putFile writes a file that need not outlive a power cut.
func putFile(fsys vfs.FS, name string, content []byte) error {
	f, err := fsys.Create(name)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(content, 0)
	return errors.Join(err, f.Close())
}

// copyFile copies the first sizeBytes of a file.
func copyFile(fsys vfs.FS, from, to string, sizeBytes int64) error {
	in, err := fsys.OpenRead(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := fsys.Create(to)
	if err != nil {
		return err
	}
	buf := make([]byte, min(sizeBytes, 1<<20))
	for at := int64(0); at < sizeBytes && err == nil; {
		chunk := buf[:min(int64(len(buf)), sizeBytes-at)]
		n, readErr := in.ReadAt(chunk, at)
		if n < len(chunk) {
			err = fmt.Errorf("%s has %d bytes and should have %d: %w", from, at+int64(n), sizeBytes, errors.Join(readErr, io.ErrUnexpectedEOF))
			break
		}
		_, err = out.WriteAt(chunk, at)
		at += int64(n)
	}
	return errors.Join(err, out.Close())
}
