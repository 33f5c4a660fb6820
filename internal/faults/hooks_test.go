package faults

import (
	"fmt"
	"os"
	"path"
	"slices"
	"strings"
	"sync/atomic"

	"tidings.dev/internal/vfs"
)

// hook is a point of the program where it is killed, named by what it is about to do, or has just done, to which file.
type hook struct {
	name  string
	kind  vfs.OpKind
	on    func(name string) bool
	often bool // every commit reaches it: the process dies at a late one
}

// The names of files are those of docs/format/directory.md.
func inJournal(name string) bool { return path.Dir(name) == "journal" }
func isJournal(name string) bool { return inJournal(name) && strings.HasSuffix(name, ".journal") }
func isSegment(name string) bool {
	return strings.HasPrefix(name, "topics/") && strings.HasSuffix(name, ".log")
}
func isIndex(name string) bool      { return strings.HasSuffix(name, ".index") }
func isCheckpoint(name string) bool { return strings.HasPrefix(name, "checkpoint-") }
func isTopics(name string) bool     { return strings.HasPrefix(name, "topics/") }
func isRoot(name string) bool       { return name == "." }

var hooks = []hook{
	{"journal write", vfs.OpWriteAt, inJournal, true}, // files in use may have been opened under a spare's name
	{"journal sync", vfs.OpSync, inJournal, true},
	{"journal file made", vfs.OpAllocate, inJournal, false},
	{"journal rename", vfs.OpRename, inJournal, false},
	{"journal directory sync", vfs.OpSyncDir, func(name string) bool { return name == "journal" }, false},
	{"segment made", vfs.OpCreate, isSegment, false},
	{"segment write", vfs.OpWriteAt, isSegment, false},
	{"segment sync", vfs.OpSync, isSegment, false},
	{"segment removed", vfs.OpRemove, isSegment, false},
	{"index write", vfs.OpWriteAt, isIndex, false},
	{"partition made", vfs.OpMkdir, isTopics, false},
	{"partition directory sync", vfs.OpSyncDir, isTopics, false},
	{"topic removed", vfs.OpRemoveAll, isTopics, false},
	{"checkpoint made", vfs.OpCreate, isCheckpoint, false},
	{"checkpoint write", vfs.OpWriteAt, isCheckpoint, false},
	{"checkpoint sync", vfs.OpSync, isCheckpoint, false},
	{"checkpoint rename", vfs.OpRename, isCheckpoint, false},
	{"checkpoint directory sync", vfs.OpSyncDir, isRoot, false},
	{"old checkpoint removed", vfs.OpRemove, isCheckpoint, false},
}

// killPoint is when the process dies, in relation to the operation of a hook.
type killPoint string

const (
	before killPoint = "before"
	within killPoint = "within" // half of a write is done
	after  killPoint = "after"
)

// killPoints returns those that the hook has.
func (h hook) killPoints() []killPoint {
	if h.kind == vfs.OpWriteAt {
		return []killPoint{before, within, after}
	}
	return []killPoint{before, after}
}

func hookNamed(name string) hook {
	for _, h := range hooks {
		if h.name == name {
			return h
		}
	}
	panic(fmt.Sprintf("no hook %q", name))
}

// killFS kills its own process the nth time that a hook is reached.
type killFS struct {
	vfs.FS
	hook hook
	when killPoint
	left atomic.Int64
}

func newKillFS(fs vfs.FS, h hook, when killPoint, nth int64) *killFS {
	k := &killFS{FS: fs, hook: h, when: when}
	k.left.Store(nth)
	return k
}

// isReached counts an operation and reports whether the process must die at it.
func (k *killFS) isReached(kind vfs.OpKind, name string) bool {
	return kind == k.hook.kind && k.hook.on(name) && k.left.Add(-1) == 0
}

func die() {
	if self, err := os.FindProcess(os.Getpid()); err == nil {
		self.Kill()
	}
	select {} // the signal is on its way
}

func (k *killFS) around(kind vfs.OpKind, name string, do func() error) error {
	fatal := k.isReached(kind, name)
	if fatal && k.when == before {
		die()
	}
	err := do()
	if fatal {
		die()
	}
	return err
}

func (k *killFS) Create(name string) (f vfs.File, err error) {
	err = k.around(vfs.OpCreate, name, func() error { f, err = k.FS.Create(name); return err })
	return k.file(f, name, err)
}

func (k *killFS) Open(name string) (vfs.File, error) {
	f, err := k.FS.Open(name)
	return k.file(f, name, err)
}

func (k *killFS) file(f vfs.File, name string, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return &killFile{f, k, name}, nil
}

func (k *killFS) Remove(name string) error {
	return k.around(vfs.OpRemove, name, func() error { return k.FS.Remove(name) })
}

func (k *killFS) RemoveAll(name string) error {
	return k.around(vfs.OpRemoveAll, name, func() error { return k.FS.RemoveAll(name) })
}

func (k *killFS) Rename(oldName, newName string) error {
	return k.around(vfs.OpRename, oldName, func() error { return k.FS.Rename(oldName, newName) })
}

func (k *killFS) MkdirAll(name string) error {
	return k.around(vfs.OpMkdirAll, name, func() error { return k.FS.MkdirAll(name) })
}

func (k *killFS) Mkdir(name string) error {
	return k.around(vfs.OpMkdir, name, func() error { return k.FS.Mkdir(name) })
}

func (k *killFS) SyncDir(dir string) error {
	return k.around(vfs.OpSyncDir, dir, func() error { return k.FS.SyncDir(dir) })
}

// killFile is an open file of a killFS.
type killFile struct {
	vfs.File
	fs   *killFS
	name string
}

func (f *killFile) WriteAt(p []byte, off int64) (int, error) {
	return f.around(func() { f.File.WriteAt(p[:len(p)/2], off) }, func() (int, error) { return f.File.WriteAt(p, off) })
}

func (f *killFile) WriteParts(parts [][]byte, off int64, hint vfs.Hint) (int, error) {
	return f.around(func() {
		joined := slices.Concat(parts...)
		f.File.WriteParts([][]byte{joined[:len(joined)/2]}, off, hint)
	}, func() (int, error) { return f.File.WriteParts(parts, off, hint) })
}

// around does a write. If the process must die at it, none, half or all of the write is done before.
func (f *killFile) around(half func(), whole func() (int, error)) (int, error) {
	if !f.fs.isReached(vfs.OpWriteAt, f.name) {
		return whole()
	}
	switch f.fs.when {
	case within:
		half()
	case after:
		whole()
	}
	die()
	return 0, nil
}

func (f *killFile) Allocate(sizeBytes int64) error {
	return f.fs.around(vfs.OpAllocate, f.name, func() error { return f.File.Allocate(sizeBytes) })
}

func (f *killFile) Sync() error {
	return f.fs.around(vfs.OpSync, f.name, f.File.Sync)
}
