package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"

	"tidings.dev/internal/datadir"
	"tidings.dev/internal/engine"
	"tidings.dev/internal/vfs"
)

// Options contains the parameters of Take. With the zero value, Take only reads files that have changed.
type Options struct {
	// ReadAll makes Take read all files, including those whose length and time of modification are the same as in the
	// previous backup.
	ReadAll bool
	// Progress is called after each file with the number of bytes taken so far and the total number. It may be nil.
	Progress func(done, total int64)
}

// Taken is the result of Take.
type Taken struct {
	Head
	NewBytes int64 `json:"new_bytes"` // size of the chunks that the store did not have before
	// UnchangedFiles is the number of files that were not read, because they have not changed since the previous
	// backup.
	UnchangedFiles int    `json:"unchanged_files"`
	Since          string `json:"since,omitempty"` // name of the previous backup; "" if there is none
}

// Take stores the snapshot in the directory dir of source as a new backup. When it returns nil, the whole backup is
// durable and Load finds it; before that Load does not find it. The error is ErrOtherLog, the cause of ctx, or one of
// the file systems.
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
	if err := s.syncChunks(); err != nil {
		return Taken{}, err
	}
	b, err := m.encode()
	if err != nil {
		return Taken{}, err
	}
	if err := s.fs.MkdirAll(backupsDir); err != nil {
		return Taken{}, err
	}
	return out, vfs.WriteFile(s.fs, manifestPath(m.Name), b)
}

// before returns the newest backup whose manifest can be read, or nil if there is none. The error matches ErrOtherLog
// if that backup is of a log with another cluster id.
func (s *Store) before(names []string, clusterID string) (*Manifest, error) {
	for i := len(names) - 1; i >= 0; i-- {
		m, err := s.Load(names[i])
		if _, damaged := errors.AsType[*DamageError](err); damaged {
			continue // a backup whose manifest cannot be read is of no use for this one
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

// hasAll reports whether the store has all chunks of a file.
func (s *Store) hasAll(f File) bool {
	for i, h := range f.Chunks {
		if !s.has(h, min(ChunkBytes, f.SizeBytes-int64(i)*ChunkBytes)) {
			return false
		}
	}
	return true
}

// takeFile stores the first f.SizeBytes of the file name of source in chunks, and sets f.Chunks to their hashes. It
// adds the size of the chunks that the store did not have before to newBytes. buf is scratch memory with the length
// ChunkBytes.
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

// readContent returns the list of a snapshot's files.
func readContent(source vfs.FS, dir string) ([]datadir.SnapshotFile, error) {
	b, err := vfs.ReadFile(source, path.Join(dir, datadir.SnapshotContent))
	if err != nil {
		return nil, fmt.Errorf("backup: no whole snapshot: %w", err)
	}
	content, err := datadir.DecodeSnapshotContent(b)
	if err != nil {
		return nil, fmt.Errorf("backup: %w", err)
	}
	return content, nil
}

func isMissing(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// Pruned is the result of Prune.
type Pruned struct {
	Backups    []string `json:"backups"`
	FreedBytes int64    `json:"freed_bytes"`
}

// Prune removes all backups except the newest keep ones, and then the chunks that no other backup needs. If the
// manifest of a backup to keep cannot be read, Prune returns the error and removes nothing, since that backup could
// need any chunk.
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
	// The removal of the manifests must be durable before the first of their chunks is removed.
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

// eachChunk calls do for every file in the directories of chunks, whatever its name, until do returns an error.
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
