package vfs

import (
	"errors"
	"io/fs"
	"path"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// ErrPowerCut is the cause of every error after PowerOff.
var ErrPowerCut = errors.New("the power is off")

// Mem is a tree of files in memory that knows, like a disk, what was made durable and what was not: CrashClone gives
// the tree that a power cut at this moment would leave. It is as strict as the interface allows, which is stricter
// than most file systems: syncing a file keeps neither its directory entry nor another file's content.
type Mem struct {
	// mu is held for reading by whatever touches the content of files, and for writing by whatever changes the tree
	// or must see all of it in one state (CrashClone, PowerOff).
	mu         sync.RWMutex
	root       *memNode
	off        bool         // the power is off
	limitBytes atomic.Int64 // 0: none
	usedBytes  atomic.Int64 // sum of the sizes of all linked files
	renames    uint64       // how many renames across directories there were: pairs their two halves
}

// NewMem returns an empty tree without a limit.
func NewMem() *Mem {
	return &Mem{root: newMemDir()}
}

// LimitBytes sets how many bytes all files may have together; writes beyond fail with ENOSPC after the part that
// fits. 0, as at first, is no limit. Holes made by Truncate count, directories don't.
func (m *Mem) LimitBytes(n int64) { m.limitBytes.Store(n) }

// UsedBytes returns the sum of the sizes of all files.
func (m *Mem) UsedBytes() int64 { return m.usedBytes.Load() }

// PowerOff makes every later operation fail with ErrPowerCut, on open files too, and changes nothing any more:
// CrashClone after it gives what the disk holds.
func (m *Mem) PowerOff() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.off = true
}

// memNode is a file or a directory, whatever names it has.
type memNode struct {
	dir  *memDir     // nil for a file
	file *memContent // nil for a directory
}

// memDir is a directory. Changes are applied to entries at once and to durable by SyncDir; until then they stand in
// pending, in order.
type memDir struct {
	entries map[string]*memNode
	durable map[string]*memNode
	pending []memDirOp
}

// memDirOp sets one name to a node, or removes it where node is nil. A rename within the directory is one operation:
// it removes oldName, too.
type memDirOp struct {
	name    string
	node    *memNode
	oldName string // "": none
	rename  uint64 // not 0: the other half, in another directory, has the same number
}

func newMemDir() *memNode {
	return &memNode{dir: &memDir{entries: map[string]*memNode{}, durable: map[string]*memNode{}}}
}

func (d *memDir) change(o memDirOp) {
	o.apply(d.entries)
	d.pending = append(d.pending, o)
}

func (o memDirOp) apply(entries map[string]*memNode) {
	if o.node == nil {
		delete(entries, o.name)
	} else {
		entries[o.name] = o.node
	}
	if o.oldName != "" {
		delete(entries, o.oldName)
	}
}

// setDurable sets a name now and for ever; what is pending for it is forgotten, what is pending for others stays so.
func (d *memDir) setDurable(name string, n *memNode) {
	kept := d.pending[:0]
	for _, o := range d.pending {
		if o.oldName == name {
			o.oldName = ""
		}
		if o.name == name {
			if o.oldName == "" {
				continue
			}
			o = memDirOp{name: o.oldName}
		}
		kept = append(kept, o)
	}
	d.pending = kept
	d.entries[name] = n
	d.durable[name] = n
}

// find returns the node of a checked name. Caller holds mu.
func (m *Mem) find(name string) (*memNode, error) {
	if m.off {
		return nil, ErrPowerCut
	}
	n := m.root
	if name == "." {
		return n, nil
	}
	for part := range strings.SplitSeq(name, "/") {
		if n.dir == nil {
			return nil, syscall.ENOTDIR
		}
		next, ok := n.dir.entries[part]
		if !ok {
			return nil, syscall.ENOENT
		}
		n = next
	}
	return n, nil
}

// findDir is find for a directory. Caller holds mu.
func (m *Mem) findDir(name string) (*memDir, error) {
	n, err := m.find(name)
	if err != nil {
		return nil, err
	}
	if n.dir == nil {
		return nil, syscall.ENOTDIR
	}
	return n.dir, nil
}

func (m *Mem) Create(name string) (File, error) {
	if err := checkEntry("create", name); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	d, err := m.findDir(path.Dir(name))
	if err != nil {
		return nil, pathError("create", name, err)
	}
	n, there := d.entries[path.Base(name)]
	switch {
	case !there:
		n = &memNode{file: newMemContent(m)}
		d.change(memDirOp{name: path.Base(name), node: n})
	case n.dir != nil:
		return nil, pathError("create", name, syscall.EISDIR)
	default:
		if err := n.file.truncate(0); err != nil {
			return nil, pathError("create", name, err)
		}
	}
	return &memFile{mem: m, content: n.file, name: name}, nil
}

func (m *Mem) Open(name string) (File, error) { return m.open(name, false) }

func (m *Mem) OpenRead(name string) (File, error) { return m.open(name, true) }

func (m *Mem) open(name string, readOnly bool) (File, error) {
	if err := checkName("open", name); err != nil {
		return nil, err
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	n, err := m.find(name)
	if err == nil && n.dir != nil {
		err = syscall.EISDIR
	}
	if err != nil {
		return nil, pathError("open", name, err)
	}
	return &memFile{mem: m, content: n.file, name: name, readOnly: readOnly}, nil
}

func (m *Mem) Remove(name string) error {
	if err := checkEntry("remove", name); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.find(name)
	if err == nil && n.dir != nil && len(n.dir.entries) > 0 {
		err = syscall.ENOTEMPTY
	}
	if err != nil {
		return pathError("remove", name, err)
	}
	d, _ := m.findDir(path.Dir(name))
	d.change(memDirOp{name: path.Base(name)})
	if n.file != nil {
		n.file.unlink()
	}
	return nil
}

func (m *Mem) RemoveAll(name string) error {
	if err := checkEntry("remove", name); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.find(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return pathError("remove", name, err)
	}
	removeTree(n)
	d, _ := m.findDir(path.Dir(name))
	d.change(memDirOp{name: path.Base(name)})
	return nil
}

// removeTree removes what is below n, in order of name, so that a seed replays, and unlinks n.
func removeTree(n *memNode) {
	if n.file != nil {
		n.file.unlink()
		return
	}
	for _, name := range sortedNames(n.dir.entries) {
		removeTree(n.dir.entries[name])
		n.dir.change(memDirOp{name: name})
	}
}

func (m *Mem) Rename(oldName, newName string) error {
	if err := checkEntry("rename", oldName); err != nil {
		return err
	}
	if err := checkEntry("rename", newName); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.rename(oldName, newName); err != nil {
		return pathError("rename", oldName, err)
	}
	return nil
}

func (m *Mem) rename(oldName, newName string) error {
	n, err := m.find(oldName)
	if err != nil {
		return err
	}
	to, err := m.findDir(path.Dir(newName))
	if err != nil {
		return err
	}
	if n.dir != nil && strings.HasPrefix(newName, oldName+"/") {
		return syscall.EINVAL
	}
	oldBase, newBase := path.Base(oldName), path.Base(newName)
	if target, there := to.entries[newBase]; there {
		switch {
		case target == n:
			return nil
		case n.dir == nil && target.dir != nil:
			return syscall.EISDIR
		case n.dir != nil && target.dir == nil:
			return syscall.ENOTDIR
		case target.dir != nil && len(target.dir.entries) > 0:
			return syscall.ENOTEMPTY
		case target.file != nil:
			target.file.unlink()
		}
	}
	from, _ := m.findDir(path.Dir(oldName))
	if from == to {
		from.change(memDirOp{name: newBase, node: n, oldName: oldBase})
		return nil
	}
	m.renames++
	from.change(memDirOp{name: oldBase, rename: m.renames})
	to.change(memDirOp{name: newBase, node: n, rename: m.renames})
	return nil
}

func (m *Mem) MkdirAll(name string) error {
	if err := checkName("mkdir", name); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.off {
		return pathError("mkdir", name, ErrPowerCut)
	}
	if name == "." {
		return nil
	}
	d := m.root.dir
	for part := range strings.SplitSeq(name, "/") {
		n, there := d.entries[part]
		if !there {
			n = newMemDir()
			d.setDurable(part, n)
		} else if n.dir == nil {
			return pathError("mkdir", name, syscall.ENOTDIR)
		}
		d = n.dir
	}
	return nil
}

func (m *Mem) List(dir string) ([]Info, error) {
	if err := checkName("list", dir); err != nil {
		return nil, err
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	d, err := m.findDir(dir)
	if err != nil {
		return nil, pathError("list", dir, err)
	}
	infos := make([]Info, 0, len(d.entries))
	for _, name := range sortedNames(d.entries) {
		infos = append(infos, d.entries[name].info(name))
	}
	return infos, nil
}

func (m *Mem) Stat(name string) (Info, error) {
	if err := checkName("stat", name); err != nil {
		return Info{}, err
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	n, err := m.find(name)
	if err != nil {
		return Info{}, pathError("stat", name, err)
	}
	return n.info(path.Base(name)), nil
}

func (m *Mem) SyncDir(dir string) error {
	if err := checkName("syncdir", dir); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	d, err := m.findDir(dir)
	if err != nil {
		return pathError("syncdir", dir, err)
	}
	for _, o := range d.pending {
		o.apply(d.durable)
	}
	d.pending = nil
	return nil
}

func (n *memNode) info(name string) Info {
	if n.dir != nil {
		return Info{Name: name, Dir: true, Modified: time.Time{}}
	}
	n.file.mu.RLock()
	defer n.file.mu.RUnlock()
	return Info{Name: name, SizeBytes: n.file.sizeBytes, Modified: n.file.modified}
}

func sortedNames(entries map[string]*memNode) []string {
	names := make([]string, 0, len(entries))
	for name := range entries {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}
