package vfs

import (
	"errors"
	"fmt"
	"path"
)

// TemporarySuffix is the end of the name of a file that WriteFile has not renamed yet. After a crash such a file has no
// meaning and may be removed.
const TemporarySuffix = ".new"

// ErrSyncDir is matched by the error of WriteFile if its last step, the sync of the directory, has failed. It is then
// unknown whether the name has reached the disk, so that the failure is serious even if its cause is a full disk.
var ErrSyncDir = errors.New("vfs: a directory was not synced")

// WriteFile atomically creates or replaces the file with a name: it writes name+TemporarySuffix, syncs that file,
// renames it to name, and syncs the directory. When it returns nil, content and name are durable. If it fails before
// the rename, name is unchanged and the temporary file is removed. It blocks for two syncs. The directory must exist.
func WriteFile(fsys FS, name string, content []byte) error {
	if err := WriteFileUnsynced(fsys, name, content); err != nil {
		return err
	}
	if err := fsys.SyncDir(path.Dir(name)); err != nil {
		return fmt.Errorf("%w: %w", ErrSyncDir, err)
	}
	return nil
}

// WriteFileUnsynced does what WriteFile does, but does not sync the directory: the content is durable, and the name is
// durable after the caller has called SyncDir for the directory. It is for callers that write many files to few
// directories.
func WriteFileUnsynced(fsys FS, name string, content []byte) error {
	temporary := name + TemporarySuffix
	f, err := fsys.Create(temporary)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(content, 0)
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, fsys.Remove(temporary)) // a full disk needs its space
	}
	return fsys.Rename(temporary, name)
}
