package backup

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"

	"tidings.dev/internal/datadir"
	"tidings.dev/internal/vfs"
)

// restoringFile is the name of a file that exists in a directory while a restore is under way or after it was
// interrupted. Everything else in the directory then came from a backup. FORMAT is written last, and without it no
// broker opens the directory.
const restoringFile = "RESTORING"

// NotEmptyError means that the directory into which a backup should be restored is not empty. Names are the first names
// in it, in order.
type NotEmptyError struct{ Names []string } // at most five

func (e *NotEmptyError) Error() string {
	return fmt.Sprintf("backup: the directory to restore to is not empty: there is %q", e.Names)
}

// Restore writes a backup to an empty directory, or to one in which a restore was interrupted. It verifies the checksum
// of every byte. When it returns nil, everything is durable. After an error no broker can open the directory, and
// another Restore begins from the start. The error is a *DamageError, a *NotEmptyError, the cause of ctx, or one of the
// file systems. If progress is not nil, it is called after each file with the number of bytes written so far and the
// total number.
func (s *Store) Restore(ctx context.Context, m *Manifest, into vfs.FS, progress func(done, total int64)) error {
	if err := clearInterrupted(into); err != nil {
		return err
	}
	if err := vfs.WriteFile(into, restoringFile, []byte(m.Name+"\n")); err != nil {
		return err
	}
	dirs := map[string]bool{".": true}
	done := int64(0)
	var format *File
	for i, f := range m.Files {
		if f.Path == datadir.FormatFile {
			format = &m.Files[i]
			continue
		}
		dir := path.Dir(f.Path)
		if f.Dir {
			dir = f.Path
		}
		if !dirs[dir] {
			if err := into.MkdirAll(dir); err != nil {
				return err
			}
			dirs[dir] = true
		}
		if f.Dir {
			continue
		}
		if err := s.restoreFile(ctx, f, into); err != nil {
			return err
		}
		if done += f.SizeBytes; progress != nil {
			progress(done, m.SizeBytes)
		}
	}
	for dir := range dirs {
		if err := into.SyncDir(dir); err != nil {
			return err
		}
	}
	if format == nil {
		return &DamageError{File: manifestPath(m.Name), Reason: "it has no " + datadir.FormatFile}
	}
	// With FORMAT the directory is a data directory, and restoringFile has no meaning any more.
	var line []byte
	err := s.eachChunkOf(ctx, *format, func(_ int64, b []byte) error { line = append(line, b...); return nil })
	if err != nil {
		return err
	}
	if err := vfs.WriteFile(into, datadir.FormatFile, line); err != nil {
		return err
	}
	if err := into.Remove(restoringFile); err != nil {
		return err
	}
	return into.SyncDir(".")
}

// clearInterrupted removes the files of an interrupted restore. If the directory contains any others, it returns a
// *NotEmptyError.
func clearInterrupted(into vfs.FS) error {
	infos, err := into.List(".")
	if err != nil {
		return err
	}
	harmless := []string{"LOCK", "lost+found", restoringFile + vfs.TemporarySuffix}
	has := func(name string) bool {
		return slices.ContainsFunc(infos, func(i vfs.Info) bool { return i.Name == name })
	}
	begun := has(restoringFile) && !has(datadir.FormatFile)
	var foreign []string
	for _, i := range infos {
		switch {
		case slices.Contains(harmless, i.Name):
		case begun && i.Name != restoringFile: // restoringFile is removed last
			if err := into.RemoveAll(i.Name); err != nil {
				return err
			}
		case !begun && len(foreign) < 5:
			foreign = append(foreign, i.Name)
		}
	}
	if len(foreign) > 0 {
		return &NotEmptyError{foreign}
	}
	return nil
}

// restoreFile writes one file and syncs it. The caller must sync the directory.
func (s *Store) restoreFile(ctx context.Context, f File, into vfs.FS) error {
	out, err := into.Create(f.Path)
	if err != nil {
		return err
	}
	err = s.eachChunkOf(ctx, f, func(at int64, b []byte) error {
		_, err := out.WriteAt(b, at)
		return err
	})
	if err == nil {
		err = out.Sync()
	}
	return errors.Join(err, out.Close())
}

// eachChunkOf reads and verifies the chunks of a file and calls do with each chunk and its position in the file, until
// do returns an error or ctx ends.
func (s *Store) eachChunkOf(ctx context.Context, f File, do func(at int64, b []byte) error) error {
	for i, h := range f.Chunks {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		at := int64(i) * ChunkBytes
		b, err := s.get(h)
		if damage, ok := errors.AsType[*DamageError](err); ok {
			damage.Needed = append(damage.Needed, f.Path)
		}
		if err != nil {
			return err
		}
		if want := min(ChunkBytes, f.SizeBytes-at); int64(len(b)) != want {
			return &DamageError{File: h.path(), Reason: fmt.Sprintf("it has %d bytes where %s needs %d", len(b), f.Path, want), Needed: []string{f.Path}}
		}
		if err := do(at, b); err != nil {
			return err
		}
	}
	return nil
}
