package backup

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"

	"tidings.dev/internal/engine"
	"tidings.dev/internal/vfs"
)

// Options say how a backup is taken. The zero value reads only what has changed.
type Options struct {
	// ReadAll reads files too that have the length and time of modification they had in the backup before.
	ReadAll bool
	// Progress, if not nil, is told now and then how far it is, in bytes.
	Progress func(done, total int64)
}

// Taken says what a backup cost.
type Taken struct {
	Head
	NewBytes       int64  `json:"new_bytes"`       // stored: the others were there
	UnchangedFiles int    `json:"unchanged_files"` // not even read
	Since          string `json:"since,omitempty"` // the backup before
}

// Take stores the snapshot that stands in a directory of an FS. It is there for Load when Take has returned without an
// error, and not before; all of it is durable then.
func (s *Store) Take(ctx context.Context, source vfs.FS, dir string, snap engine.Snapshot, o Options) (Taken, error) {
	content, err := readContent(source, dir)
	if err != nil {
		return Taken{}, err
	}
	names, err := s.Names()
	if err != nil {
		return Taken{}, err
	}
	out := Taken{Head: Head{Version: manifestVersion, Name: nameFor(snap.TakenAt, names), Snapshot: snap}}
	before, err := s.before(names, snap.ClusterID)
	if err != nil {
		return Taken{}, err
	}
	known := map[string]File{}
	if before != nil {
		out.Since = before.Name
		for _, f := range before.Files {
			known[f.Path] = f
		}
	}

	m := &Manifest{Head: out.Head}
	done := int64(0)
	buf := make([]byte, ChunkBytes)
	for _, c := range content {
		f := File{Path: c.Path, SizeBytes: c.SizeBytes, Dir: c.Dir}
		if f.Dir {
			m.Files = append(m.Files, f)
			continue
		}
		info, err := source.Stat(path.Join(dir, c.Path))
		if err != nil {
			return Taken{}, err
		}
		f.Modified = info.Modified.UnixNano()
		if old, ok := known[c.Path]; ok && !o.ReadAll && old.SizeBytes == f.SizeBytes && old.Modified == f.Modified && s.hasAll(old) {
			f.Chunks = old.Chunks
			out.UnchangedFiles++
		} else if err := s.takeFile(ctx, source, path.Join(dir, c.Path), &f, buf, &out.NewBytes); err != nil {
			return Taken{}, err
		}
		m.Files = append(m.Files, f)
		if done += f.SizeBytes; o.Progress != nil {
			o.Progress(done, snap.SizeBytes)
		}
	}
	if err := s.settle(); err != nil {
		return Taken{}, err
	}
	b, err := m.encode()
	if err != nil {
		return Taken{}, err
	}
	if err := s.fs.MkdirAll(backupsDir); err != nil {
		return Taken{}, err
	}
	return out, writeFile(s.fs, manifestPath(m.Name), b)
}

// before returns the newest backup that can be read, or nil. All must be of the same log.
func (s *Store) before(names []string, clusterID string) (*Manifest, error) {
	for i := len(names) - 1; i >= 0; i-- {
		m, err := s.Load(names[i])
		if _, damaged := errors.AsType[*DamageError](err); damaged {
			continue // nothing is taken over from it
		}
		if err != nil {
			return nil, err
		}
		if m.ClusterID != clusterID {
			return nil, fmt.Errorf("%w: they have cluster id %s, and this one %s", ErrOtherLog, m.ClusterID, clusterID)
		}
		return m, nil
	}
	return nil, nil
}

// hasAll tells whether the chunks of a file are there.
func (s *Store) hasAll(f File) bool {
	for i, h := range f.Chunks {
		if !s.has(h, min(ChunkBytes, f.SizeBytes-int64(i)*ChunkBytes)) {
			return false
		}
	}
	return true
}

// takeFile stores what a file has up to its length in the snapshot.
func (s *Store) takeFile(ctx context.Context, source vfs.FS, name string, f *File, buf []byte, newBytes *int64) error {
	in, err := source.OpenRead(name)
	if err != nil {
		return err
	}
	defer in.Close()
	f.Chunks = make([]hash, 0, (f.SizeBytes+ChunkBytes-1)/ChunkBytes)
	for at := int64(0); at < f.SizeBytes; at += ChunkBytes {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		b := buf[:min(ChunkBytes, f.SizeBytes-at)]
		if n, err := in.ReadAt(b, at); n < len(b) {
			return fmt.Errorf("backup: %s ends at byte %d, it should have %d: %w", name, at+int64(n), f.SizeBytes, errors.Join(err, io.ErrUnexpectedEOF))
		}
		h, stored, err := s.put(b)
		if err != nil {
			return err
		}
		if stored {
			*newBytes += int64(len(b))
		}
		f.Chunks = append(f.Chunks, h)
	}
	return nil
}

// readContent reads which files a snapshot has.
func readContent(source vfs.FS, dir string) ([]engine.SnapshotFile, error) {
	b, err := vfs.ReadFile(source, path.Join(dir, engine.SnapshotContent))
	if err != nil {
		return nil, fmt.Errorf("backup: no whole snapshot: %w", err)
	}
	var content []engine.SnapshotFile
	dec := json.NewDecoder(bytes.NewReader(b))
	for dec.More() {
		var f engine.SnapshotFile
		if err := dec.Decode(&f); err != nil {
			return nil, fmt.Errorf("backup: %s: %w", engine.SnapshotContent, err)
		}
		if !fs.ValidPath(f.Path) || f.SizeBytes < 0 || f.Dir && f.SizeBytes > 0 {
			return nil, fmt.Errorf("backup: %s names %q", engine.SnapshotContent, f.Path)
		}
		content = append(content, f)
	}
	return content, nil
}

func isMissing(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// Pruned says what Prune removed.
type Pruned struct {
	Backups    []string `json:"backups"`
	FreedBytes int64    `json:"freed_bytes"`
}

// Prune removes all but the newest keep backups, and the chunks that no other needs. A backup whose manifest can't be
// read stays, and then no chunk is removed: it might be that one's.
func (s *Store) Prune(keep int) (Pruned, error) {
	var out Pruned
	names, err := s.Names()
	if err != nil || len(names) <= keep {
		return out, err
	}
	needed := map[hash]bool{}
	for _, name := range names[len(names)-keep:] {
		m, err := s.Load(name)
		if err != nil {
			return out, err
		}
		for _, f := range m.Files {
			for _, h := range f.Chunks {
				needed[h] = true
			}
		}
	}
	for _, name := range names[:len(names)-keep] {
		if err := s.fs.Remove(manifestPath(name)); err != nil {
			return out, err
		}
		out.Backups = append(out.Backups, name)
	}
	// The manifests are gone for good before the first of their chunks is.
	if err := s.fs.SyncDir(backupsDir); err != nil {
		return out, err
	}
	err = s.eachChunk(func(name string, info vfs.Info) error {
		if needed[hash(path.Base(name))] {
			return nil
		}
		out.FreedBytes += info.SizeBytes
		return s.fs.Remove(name)
	})
	return out, err
}

// eachChunk calls do for every file among the chunks, whatever its name.
func (s *Store) eachChunk(do func(name string, info vfs.Info) error) error {
	dirs, err := s.fs.List(chunksDir)
	if isMissing(err) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, d := range dirs {
		if !d.Dir {
			continue
		}
		infos, err := s.fs.List(path.Join(chunksDir, d.Name))
		if err != nil {
			return err
		}
		for _, i := range infos {
			if err := do(path.Join(chunksDir, d.Name, i.Name), i); err != nil {
				return err
			}
		}
	}
	return nil
}
