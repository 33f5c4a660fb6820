package vfs

import (
	"errors"
	"sync/atomic"
)

// ErrPowerCut is the cause of the errors of all operations on a Mem after PowerOff.
var ErrPowerCut = errors.New("the power is off")

// Mem is an FS in memory, for tests of power cuts. Like a disk it distinguishes what is durable from what is not:
// CrashClone returns the tree that a power cut at this moment could leave. It keeps no more than the interface FS
// promises, which is less than most file systems keep: syncing a file makes neither its directory entry nor another
// file's content durable.
//
// Operations on the content of files hold tree.mu for reading. Operations that change the tree, or that must see the
// whole tree in one state (CrashClone, PowerOff), hold it for writing.
type Mem struct {
	tree[*memDir, *memContent]
	limitBytes atomic.Int64 // upper bound of usedBytes; 0 means no limit
	usedBytes  atomic.Int64 // sum of the sizes of all files that have a name
	renames    uint64       // number of renames across directories, from which memDirOp.rename is taken; mu guards it
}

// NewMem returns an empty Mem without a limit.
func NewMem() *Mem {
	m := &Mem{}
	m.root = newMemDir(m)
	return m
}

// LimitBytes sets how many bytes all files together may have. A write beyond that writes the part that fits and fails
// with ENOSPC. 0, the initial value, means no limit. Holes that Truncate has made count; directories do not.
func (m *Mem) LimitBytes(n int64) { m.limitBytes.Store(n) }

// UsedBytes returns the sum of the sizes in bytes of all files.
func (m *Mem) UsedBytes() int64 { return m.usedBytes.Load() }

// PowerOff makes every later operation fail with ErrPowerCut, also on files that are open. Nothing changes any more, so
// that CrashClone returns what a power cut at the moment of PowerOff could leave.
func (m *Mem) PowerOff() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.failure = ErrPowerCut
}

// memNode is a node of a Mem.
type memNode = node[*memDir, *memContent]

// memDir is a directory. A change is applied to entries at once, and to durable by sync. Until then it is in pending,
// which is in the order of the changes. The tree's mu guards a memDir.
type memDir struct {
	mem     *Mem
	entries map[string]*memNode
	durable map[string]*memNode
	pending []memDirOp
}

// memDirOp is a change of one name in a directory: the name gets a node, or is removed if node is nil. For a rename
// within a directory a single memDirOp also removes oldName.
type memDirOp struct {
	name    string
	node    *memNode
	oldName string // "" if no name is removed
	// rename is the number of a rename across directories, whose other half in the other directory has the same number; 0 for other
	// changes
	rename uint64
}

// newMemDir returns an empty directory of m.
func newMemDir(m *Mem) *memNode {
	return &memNode{dir: &memDir{mem: m, entries: map[string]*memNode{}, durable: map[string]*memNode{}}}
}

// change applies o to entries and adds it to pending: a power cut before the next sync may lose it.
func (d *memDir) change(o memDirOp) {
	o.apply(d.entries)
	d.pending = append(d.pending, o)
}

// apply performs the change o on a map of entries.
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

func (d *memDir) list() (map[string]*memNode, error) { return d.entries, nil }

func (d *memDir) addFile(name string) *memNode {
	n := &memNode{file: newMemContent(d.mem)}
	d.change(memDirOp{name: name, node: n})
	return n
}

func (d *memDir) addDir(name string, durable bool) *memNode {
	n := newMemDir(d.mem)
	if durable {
		d.setDurable(name, n)
	} else {
		d.change(memDirOp{name: name, node: n})
	}
	return n
}

// setDurable gives a name a node and makes that durable at once. Pending changes of that name are dropped. Pending
// changes of other names stay pending.
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

func (d *memDir) remove(name string) { d.change(memDirOp{name: name}) }

func (d *memDir) move(n *memNode, name string, to *memDir, newName string) {
	if d == to {
		d.change(memDirOp{name: newName, node: n, oldName: name})
		return
	}
	d.mem.renames++
	d.change(memDirOp{name: name, rename: d.mem.renames})
	to.change(memDirOp{name: newName, node: n, rename: d.mem.renames})
}

func (d *memDir) sync() {
	for _, o := range d.pending {
		o.apply(d.durable)
	}
	d.pending = nil
}
