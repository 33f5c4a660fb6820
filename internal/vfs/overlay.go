package vfs

import (
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Overlay is a tree that looks like another and can be changed as any FS can, while the other is only ever read: what is
// written stays in memory, copied page by page. It serves rehearsals: what would a broker do with this directory? Nothing
// of it survives the process, so Sync and SyncDir have nothing to do.
//
// The tree below must not change meanwhile. Directories are read when they are first looked at, files when they are read.
type Overlay struct {
	base FS

	mu   sync.RWMutex // guards the tree; files have locks of their own
	root *overlayNode
}

// overlayNode is a file or a directory, whatever names it has.
type overlayNode struct {
	dir  *overlayDir
	file *overlayFile
}

// overlayDir is a directory. entries is nil until it was looked at.
type overlayDir struct {
	base    string // the directory below; "": there is none
	entries map[string]*overlayNode
}

// NewOverlay returns a tree that looks like base.
func NewOverlay(base FS) *Overlay {
	return &Overlay{base: base, root: &overlayNode{dir: &overlayDir{base: "."}}}
}

// load reads a directory from below, once. Caller holds mu for writing.
func (o *Overlay) load(d *overlayDir) error {
	if d.entries != nil {
		return nil
	}
	entries := map[string]*overlayNode{}
	if d.base != "" {
		infos, err := o.base.List(d.base)
		if err != nil {
			return cause(err)
		}
		for _, i := range infos {
			below := path.Join(d.base, i.Name)
			if i.Dir {
				entries[i.Name] = &overlayNode{dir: &overlayDir{base: below}}
			} else {
				entries[i.Name] = &overlayNode{file: &overlayFile{
					below: o.base, name: below, shows: i.SizeBytes, sizeBytes: i.SizeBytes, modified: i.Modified,
				}}
			}
		}
	}
	d.entries = entries
	return nil
}

// cause takes the path of the tree below out of an error: the caller knows another one.
func cause(err error) error {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return pe.Err
	}
	return err
}

// find returns the node of a checked name. Caller holds mu for writing.
func (o *Overlay) find(name string) (*overlayNode, error) {
	n := o.root
	if name == "." {
		return n, o.load(n.dir)
	}
	for part := range strings.SplitSeq(name, "/") {
		if n.dir == nil {
			return nil, syscall.ENOTDIR
		}
		if err := o.load(n.dir); err != nil {
			return nil, err
		}
		next, ok := n.dir.entries[part]
		if !ok {
			return nil, syscall.ENOENT
		}
		n = next
	}
	if n.dir != nil {
		return n, o.load(n.dir)
	}
	return n, nil
}

// findDir is find for a directory.
func (o *Overlay) findDir(name string) (*overlayDir, error) {
	n, err := o.find(name)
	if err != nil {
		return nil, err
	}
	if n.dir == nil {
		return nil, syscall.ENOTDIR
	}
	return n.dir, nil
}

func (o *Overlay) Create(name string) (File, error) {
	if err := checkEntry("create", name); err != nil {
		return nil, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	d, err := o.findDir(path.Dir(name))
	if err != nil {
		return nil, pathError("create", name, err)
	}
	n, there := d.entries[path.Base(name)]
	switch {
	case !there:
		n = &overlayNode{file: &overlayFile{modified: time.Now()}}
		d.entries[path.Base(name)] = n
	case n.dir != nil:
		return nil, pathError("create", name, syscall.EISDIR)
	default:
		n.file.truncate(0)
	}
	return n.file.open(name, false)
}

func (o *Overlay) Open(name string) (File, error) { return o.open(name, false) }

func (o *Overlay) OpenRead(name string) (File, error) { return o.open(name, true) }

func (o *Overlay) open(name string, readOnly bool) (File, error) {
	if err := checkName("open", name); err != nil {
		return nil, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	n, err := o.find(name)
	if err == nil && n.dir != nil {
		err = syscall.EISDIR
	}
	if err != nil {
		return nil, pathError("open", name, err)
	}
	return n.file.open(name, readOnly)
}

func (o *Overlay) Remove(name string) error {
	if err := checkEntry("remove", name); err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	n, err := o.find(name)
	if err == nil && n.dir != nil && len(n.dir.entries) > 0 {
		err = syscall.ENOTEMPTY
	}
	if err != nil {
		return pathError("remove", name, err)
	}
	return o.forget(name)
}

func (o *Overlay) RemoveAll(name string) error {
	if err := checkEntry("remove", name); err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	_, err := o.find(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return pathError("remove", name, err)
	}
	return o.forget(name)
}

// forget takes a name, which is there, out of its directory.
func (o *Overlay) forget(name string) error {
	d, err := o.findDir(path.Dir(name))
	if err != nil {
		return pathError("remove", name, err)
	}
	delete(d.entries, path.Base(name))
	return nil
}

func (o *Overlay) Rename(oldName, newName string) error {
	if err := checkEntry("rename", oldName); err != nil {
		return err
	}
	if err := checkEntry("rename", newName); err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return pathError("rename", oldName, o.rename(oldName, newName))
}

func (o *Overlay) rename(oldName, newName string) error {
	n, err := o.find(oldName)
	if err != nil {
		return err
	}
	to, err := o.findDir(path.Dir(newName))
	if err != nil {
		return err
	}
	if n.dir != nil && strings.HasPrefix(newName, oldName+"/") {
		return syscall.EINVAL
	}
	if target, there := to.entries[path.Base(newName)]; there {
		if target.dir != nil {
			if err := o.load(target.dir); err != nil {
				return err
			}
		}
		switch {
		case target == n:
			return nil
		case n.dir == nil && target.dir != nil:
			return syscall.EISDIR
		case n.dir != nil && target.dir == nil:
			return syscall.ENOTDIR
		case target.dir != nil && len(target.dir.entries) > 0:
			return syscall.ENOTEMPTY
		}
	}
	from, err := o.findDir(path.Dir(oldName))
	if err != nil {
		return err
	}
	delete(from.entries, path.Base(oldName))
	to.entries[path.Base(newName)] = n
	return nil
}

// Link gives a file a second name: see Linker.
func (o *Overlay) Link(oldName, newName string) error {
	if err := checkEntry("link", oldName); err != nil {
		return err
	}
	if err := checkEntry("link", newName); err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	n, err := o.find(oldName)
	if err == nil && n.dir != nil {
		err = syscall.EPERM
	}
	if err != nil {
		return pathError("link", oldName, err)
	}
	to, err := o.findDir(path.Dir(newName))
	if err != nil {
		return pathError("link", newName, err)
	}
	if _, there := to.entries[path.Base(newName)]; there {
		return pathError("link", newName, syscall.EEXIST)
	}
	to.entries[path.Base(newName)] = n
	return nil
}

func (o *Overlay) MkdirAll(name string) error {
	if err := checkName("mkdir", name); err != nil {
		return err
	}
	if name == "." {
		return nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	d := o.root.dir
	for part := range strings.SplitSeq(name, "/") {
		if err := o.load(d); err != nil {
			return pathError("mkdir", name, err)
		}
		n, there := d.entries[part]
		if !there {
			n = &overlayNode{dir: &overlayDir{entries: map[string]*overlayNode{}}}
			d.entries[part] = n
		} else if n.dir == nil {
			return pathError("mkdir", name, syscall.ENOTDIR)
		}
		d = n.dir
	}
	return nil
}

func (o *Overlay) List(dir string) ([]Info, error) {
	if err := checkName("list", dir); err != nil {
		return nil, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	d, err := o.findDir(dir)
	if err != nil {
		return nil, pathError("list", dir, err)
	}
	infos := make([]Info, 0, len(d.entries))
	for name, n := range d.entries {
		infos = append(infos, n.info(name))
	}
	slices.SortFunc(infos, func(a, b Info) int { return strings.Compare(a.Name, b.Name) })
	return infos, nil
}

func (o *Overlay) Stat(name string) (Info, error) {
	if err := checkName("stat", name); err != nil {
		return Info{}, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	n, err := o.find(name)
	if err != nil {
		return Info{}, pathError("stat", name, err)
	}
	return n.info(path.Base(name)), nil
}

func (o *Overlay) SyncDir(dir string) error {
	if err := checkName("syncdir", dir); err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	_, err := o.findDir(dir)
	return pathError("syncdir", dir, err)
}

func (n *overlayNode) info(name string) Info {
	if n.dir != nil {
		return Info{Name: name, Dir: true}
	}
	n.file.mu.RLock()
	defer n.file.mu.RUnlock()
	return Info{Name: name, SizeBytes: n.file.sizeBytes, Modified: n.file.modified}
}
