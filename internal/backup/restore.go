package backup

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"

	"tidings.dev/internal/vfs"
)

// restoringFile marks a directory in which a restore was begun and hasn't ended: it holds nothing else than what came
// from a backup. Without FORMAT, which is written last, no broker opens it.
const restoringFile = "RESTORING"

// NotEmptyError refuses to restore over something.
type NotEmptyError struct{ Names []string } // at most a few

func (e *NotEmptyError) Error() string {
	return fmt.Sprintf("backup: the directory to restore to is not empty: there is %q", e.Names)
}

// Restore puts a backup into an empty directory, or one in which a restore was cut off. Every byte is checked against
// its checksum on the way; all is durable on return. The error is a *DamageError, *NotEmptyError or one of the file
// systems. progress may be nil.
func (s *Store) Restore(ctx context.Context, m *Manifest, into vfs.FS, progress func(done, total int64)) error {
	if err := clearTheWay(into); err != nil {
		return err
	}
	if err := writeFile(into, restoringFile, []byte(m.Name+"\n")); err != nil {
		return err
	}
	dirs := map[string]bool{".": true}
	done := int64(0)
	var format *File
	for i, f := range m.Files {
		if f.Path == directoryFormat {
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
		return &DamageError{File: manifestPath(m.Name), Reason: "it has no " + directoryFormat}
	}
	// From here on it is a data directory; the mark means nothing any more.
	var line []byte
	err := s.eachPart(ctx, *format, func(_ int64, b []byte) error { line = append(line, b...); return nil })
	if err != nil {
		return err
	}
	if err := writeFile(into, directoryFormat, line); err != nil {
		return err
	}
	if err := into.Remove(restoringFile); err != nil {
		return err
	}
	return into.SyncDir(".")
}

// directoryFormat is the file that makes a directory a data directory.
const directoryFormat = "FORMAT"

func clearTheWay(into vfs.FS) error {
	infos, err := into.List(".")
	if err != nil {
		return err
	}
	harmless := []string{"LOCK", "lost+found", restoringFile + temporarySuffix}
	has := func(name string) bool {
		return slices.ContainsFunc(infos, func(i vfs.Info) bool { return i.Name == name })
	}
	begun := has(restoringFile) && !has(directoryFormat)
	var foreign []string
	for _, i := range infos {
		switch {
		case slices.Contains(harmless, i.Name):
		case begun && i.Name != restoringFile: // its name goes last
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

func (s *Store) restoreFile(ctx context.Context, f File, into vfs.FS) error {
	out, err := into.Create(f.Path)
	if err != nil {
		return err
	}
	err = s.eachPart(ctx, f, func(at int64, b []byte) error {
		_, err := out.WriteAt(b, at)
		return err
	})
	if err == nil {
		err = out.Sync()
	}
	return errors.Join(err, out.Close())
}

// eachPart reads and checks the chunks of a file.
func (s *Store) eachPart(ctx context.Context, f File, do func(at int64, b []byte) error) error {
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
