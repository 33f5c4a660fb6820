package doctor

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"

	"tidings.dev/internal/engine"
	"tidings.dev/internal/vfs"
)

// LostDir is where a repair keeps what it takes out of the way. Everything of one repair stands in one directory, under
// the name that it had:
//
//	lost/20260722T101530Z/journal/0000000000000007.journal
//	lost/20260722T101530Z/topics/<id>/0/00000000000000000000.log
//	lost/20260722T101530Z/new/…       what is to take its place, until it does
//	lost/20260722T101530Z/REPAIR      the record of a repair under way; REPAIRED once it has ended
const LostDir = "lost"

const (
	stagingDir = "new"
	recordFile = "REPAIR"
	doneFile   = "REPAIRED"
)

// record says what a repair does, so that one that was cut off can be ended. Names are those in the data directory. All
// asides are done, durably, before the first place; what has been placed is gone from the staging directory.
type record struct {
	Aside []string `json:"aside"`
	Place []string `json:"place"`
	Make  []string `json:"make"` // directories
}

// pendingRepair returns the record of a repair that was cut off, or "".
func pendingRepair(fsys vfs.FS) (string, error) {
	infos, err := fsys.List(LostDir)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errNotDir) {
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

// commit carries a record out. In between no broker opens the directory: its FORMAT is away from before the first step
// until after the last. kept is the repair's directory below LostDir.
//
//  1. What is new stands in the staging directory, durable.
//  2. FORMAT is moved to kept.
//  3. The record is written.
//  4. Asides, then places.
//  5. The record is renamed.
//  6. FORMAT is written.
//
// A cut before 3 or after 5 leaves a directory without FORMAT and without a record: the next repair writes it.
func commit(fsys vfs.FS, kept string, r record) error {
	err := fsys.Rename(engine.FormatFile, path.Join(kept, engine.FormatFile))
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
	if err := writeDurably(fsys, path.Join(kept, recordFile), append(b, '\n')); err != nil {
		return err
	}
	return carryOut(fsys, kept, r)
}

// resume ends a repair that was cut off.
func resume(fsys vfs.FS, recordName string) error {
	line, err := vfs.ReadFile(fsys, recordName)
	if err != nil {
		return err
	}
	var r record
	if err := json.Unmarshal(line, &r); err != nil {
		return fmt.Errorf("%s: %w", recordName, err)
	}
	return carryOut(fsys, path.Dir(recordName), r)
}

func carryOut(fsys vfs.FS, kept string, r record) error {
	m := mover{fs: fsys}
	staged := func(name string) string { return path.Join(kept, stagingDir, name) }
	for _, name := range r.Aside {
		placed := slices.Contains(r.Place, name) && !exists(fsys, staged(name))
		if placed || !exists(fsys, name) {
			continue
		}
		to := path.Join(kept, name)
		for n := 1; exists(fsys, to); n++ { // a power cut can leave a file under both of its names
			to = fmt.Sprintf("%s~%d", path.Join(kept, name), n)
		}
		if err := m.move(name, to); err != nil {
			return err
		}
	}
	// What is out of the way must be so for good before anything takes its name.
	if err := m.settle(); err != nil {
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
	if err := m.settle(); err != nil {
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
	return writeDurably(fsys, engine.FormatFile, []byte(engine.FormatLine+"\n"))
}

// mover renames, and makes that durable: new names before old ones are gone.
type mover struct {
	fs       vfs.FS
	to, from []string // directories that are not durable
}

func (m *mover) move(from, to string) error {
	if err := m.fs.MkdirAll(path.Dir(to)); err != nil {
		return err
	}
	m.to, m.from = append(m.to, path.Dir(to)), append(m.from, path.Dir(from))
	return m.fs.Rename(from, to)
}

func (m *mover) settle() error {
	done := map[string]bool{}
	for _, dir := range append(m.to, m.from...) {
		if done[dir] || !exists(m.fs, dir) { // it was moved as a whole
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

// writeDurably makes a file appear with all its content, or not at all.
func writeDurably(fsys vfs.FS, name string, content []byte) error {
	f, err := fsys.Create(name + ".new")
	if err != nil {
		return err
	}
	if _, err = f.WriteAt(content, 0); err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := fsys.Rename(name+".new", name); err != nil {
		return err
	}
	return fsys.SyncDir(path.Dir(name))
}
