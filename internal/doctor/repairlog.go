package doctor

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"syscall"

	"tidings.dev/internal/datadir"
	"tidings.dev/internal/vfs"
)

// LostDir is the directory to which repairs move the files that they take away. Each repair has its own directory in
// it, in which every file has the path that it had in the data directory:
//
//	lost/20260722T101530Z/journal/0000000000000007.journal
//	lost/20260722T101530Z/topics/<id>/0/00000000000000000000.log
//	lost/20260722T101530Z/new/…       the staging directory: new files, until they are moved to their places
//	lost/20260722T101530Z/REPAIR      the record of a repair under way; REPAIRED once it has ended
const LostDir = "lost"

const (
	stagingDir = "new"
	recordFile = "REPAIR"
	doneFile   = "REPAIRED"
)

// repairRecord lists the moves of a repair. It is written to a file, so that a repair that was interrupted can be
// finished. Names are relative to the data directory. All files in Aside are moved away, and these moves are durable,
// before the first file in Place is moved in. A file that was moved in is no longer in the staging directory.
type repairRecord struct {
	Aside []string `json:"aside"` // files that are moved to the repair's directory
	Place []string `json:"place"` // files that are moved from the staging directory to their places
	Make  []string `json:"make"`  // directories that are created
}

// pendingRepair returns the name of the record of an interrupted repair, or "" if there is none.
func pendingRepair(fsys vfs.FS) (string, error) {
	infos, err := fsys.List(LostDir)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	for _, i := range infos {
		name := path.Join(LostDir, i.Name, recordFile)
		if _, err := fsys.Stat(name); err == nil {
			return name, nil
		}
	}
	return "", nil
}

// carryOut carries out a record. kept is the repair's directory below LostDir. Its staging directory must contain all
// new files, and they must be durable. Each of the following steps is durable before the next one begins:
//
//  1. FORMAT is moved to kept: from here to step 5 no broker opens the directory.
//  2. The record is written.
//  3. Aside, then Place, then Make.
//  4. The record is renamed.
//  5. FORMAT is written.
//
// After an interruption before step 2 or after step 4, the directory has neither FORMAT nor a record of a repair under
// way; the next repair writes FORMAT. After an interruption in between, the next repair finds the record and resumes.
func carryOut(fsys vfs.FS, kept string, r repairRecord) error {
	err := fsys.Rename(datadir.FormatFile, path.Join(kept, datadir.FormatFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := syncDirs(fsys, kept, LostDir, "."); err != nil {
		return err
	}
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if err := vfs.WriteFile(fsys, path.Join(kept, recordFile), append(b, '\n')); err != nil {
		return err
	}
	return finish(fsys, kept, r)
}

// resume finishes an interrupted repair.
func resume(fsys vfs.FS, recordName string) error {
	line, err := vfs.ReadFile(fsys, recordName)
	if err != nil {
		return err
	}
	var r repairRecord
	if err := json.Unmarshal(line, &r); err != nil {
		return fmt.Errorf("%s: %w", recordName, err)
	}
	return finish(fsys, path.Dir(recordName), r)
}

// finish performs the steps 3 to 5 of carryOut, or those of them that are not done yet.
func finish(fsys vfs.FS, kept string, r repairRecord) error {
	m := mover{fs: fsys}
	staged := func(name string) string { return path.Join(kept, stagingDir, name) }
	for _, name := range r.Aside {
		movedIn := slices.Contains(r.Place, name) && !exists(fsys, staged(name))
		if movedIn || !exists(fsys, name) {
			continue
		}
		to := path.Join(kept, name)
		for n := 1; exists(fsys, to); n++ { // after a power cut a file can have both its old and its new name
			to = fmt.Sprintf("%s~%d", path.Join(kept, name), n)
		}
		if err := m.move(name, to); err != nil {
			return err
		}
	}
	// The moves must be durable before other files get the old names.
	if err := m.sync(); err != nil {
		return err
	}
	for _, name := range r.Place {
		if exists(fsys, staged(name)) {
			if err := m.move(staged(name), name); err != nil {
				return err
			}
		}
	}
	for _, name := range r.Make {
		if err := fsys.MkdirAll(name); err != nil {
			return err
		}
	}
	if err := m.sync(); err != nil {
		return err
	}
	if err := fsys.RemoveAll(path.Join(kept, stagingDir)); err != nil {
		return err
	}
	if err := fsys.Rename(path.Join(kept, recordFile), path.Join(kept, doneFile)); err != nil {
		return err
	}
	if err := syncDirs(fsys, kept); err != nil {
		return err
	}
	return vfs.WriteFile(fsys, datadir.FormatFile, []byte(datadir.FormatLine+"\n"))
}

// mover renames files and keeps a list of the directories that must be synced afterwards.
type mover struct {
	fs       vfs.FS
	to, from []string // directories in which names were added, and in which names were removed
}

func (m *mover) move(from, to string) error {
	if err := m.fs.MkdirAll(path.Dir(to)); err != nil {
		return err
	}
	m.to, m.from = append(m.to, path.Dir(to)), append(m.from, path.Dir(from))
	return m.fs.Rename(from, to)
}

// sync makes all moves so far durable. It syncs the directories with new names before those with removed names, so that
// after a power cut a file has both names or one, but never none.
func (m *mover) sync() error {
	done := map[string]bool{}
	for _, dir := range append(m.to, m.from...) {
		if done[dir] || !exists(m.fs, dir) { // the directory itself was moved
			continue
		}
		if err := m.fs.SyncDir(dir); err != nil {
			return err
		}
		done[dir] = true
	}
	m.to, m.from = nil, nil
	return nil
}

func exists(fsys vfs.FS, name string) bool {
	_, err := fsys.Stat(name)
	return err == nil
}

func syncDirs(fsys vfs.FS, dirs ...string) error {
	for _, dir := range dirs {
		if err := fsys.SyncDir(dir); err != nil {
			return err
		}
	}
	return nil
}
