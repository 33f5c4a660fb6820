package vfs

import (
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"
)

// tree implements FS for [Mem] and [Overlay], which embed it. It keeps the names of files and directories in memory.
// Its type parameters are the directories (D) and the files (F), in which the two differ.
type tree[D treeDir[D, F], F treeFile] struct {
	// mu guards the tree: root, every directory below it, and failure. The methods of FS hold it for writing, since
	// even a look at a directory may load it. Operations on the content of an open file hold it for reading if they
	// must not overlap with a change of the tree. Content has its own locks, which are taken after mu.
	mu      sync.RWMutex
	root    *node[D, F]
	failure error // if not nil, every operation fails with this error
}

// node is a file or a directory, independent of its names. Exactly one of its fields is set.
type node[D comparable, F any] struct {
	dir  D
	file F
}

// isDir reports whether the node is a directory.
func (n *node[D, F]) isDir() bool {
	var none D
	return n.dir != none
}

// treeDir is the interface of a tree's directories. Callers of its methods must hold the tree's mu for writing.
type treeDir[D comparable, F any] interface {
	comparable
	// list returns the entries, which the caller must not change. Its error contains no path.
	list() (map[string]*node[D, F], error)
	// addFile adds an empty file, and addDir adds an empty directory, whose entry is durable at once if durable is true.
	// The name must be free, and list must have succeeded before.
	addFile(name string) *node[D, F]
	addDir(name string, durable bool) *node[D, F]
	// remove removes a name, which must exist.
	remove(name string)
	// move renames n, which has the name name in this directory, to newName in the directory to. It replaces the entry
	// newName if there is one.
	move(n *node[D, F], name string, to D, newName string)
	// sync makes the entries of the directory durable.
	sync()
}

// treeFile is the interface of a tree's files. Callers of its methods must hold the tree's mu for writing.
type treeFile interface {
	comparable
	// open returns a new open File. name is used in errors.
	open(name string, readOnly bool) (File, error)
	// truncate sets the length. Its error contains no path.
	truncate(sizeBytes int64) error
	// unlink is called when a name of the file is removed.
	unlink()
	// info returns the Info of the file, with name as its base name.
	info(name string) Info
}

// find returns the node with a name, which must satisfy checkName. t.mu must be held for writing.
func (t *tree[D, F]) find(name string) (*node[D, F], error) {
	if t.failure != nil {
		return nil, t.failure
	}
	n := t.root
	if name == "." {
		return n, nil
	}
	for part := range strings.SplitSeq(name, "/") {
		if !n.isDir() {
			return nil, syscall.ENOTDIR
		}
		entries, err := n.dir.list()
		if err != nil {
			return nil, err
		}
		next, ok := entries[part]
		if !ok {
			return nil, syscall.ENOENT
		}
		n = next
	}
	return n, nil
}

// findDir returns the directory with a name, and its entries. t.mu must be held for writing.
func (t *tree[D, F]) findDir(name string) (dir D, entries map[string]*node[D, F], err error) {
	n, err := t.find(name)
	if err != nil {
		return dir, nil, err
	}
	if !n.isDir() {
		return dir, nil, syscall.ENOTDIR
	}
	entries, err = n.dir.list()
	return n.dir, entries, err
}

func (t *tree[D, F]) Create(name string) (File, error) {
	if err := checkEntry("create", name); err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	dir, entries, err := t.findDir(path.Dir(name))
	if err != nil {
		return nil, pathError("create", name, err)
	}
	n, there := entries[path.Base(name)]
	switch {
	case !there:
		n = dir.addFile(path.Base(name))
	case n.isDir():
		return nil, pathError("create", name, syscall.EISDIR)
	default:
		if err := n.file.truncate(0); err != nil {
			return nil, pathError("create", name, err)
		}
	}
	return n.file.open(name, false)
}

func (t *tree[D, F]) Open(name string) (File, error) { return t.open(name, false) }

func (t *tree[D, F]) OpenRead(name string) (File, error) { return t.open(name, true) }

func (t *tree[D, F]) open(name string, readOnly bool) (File, error) {
	if err := checkName("open", name); err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	n, err := t.find(name)
	if err == nil && n.isDir() {
		err = syscall.EISDIR
	}
	if err != nil {
		return nil, pathError("open", name, err)
	}
	return n.file.open(name, readOnly)
}

func (t *tree[D, F]) Remove(name string) error {
	if err := checkEntry("remove", name); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	n, err := t.find(name)
	if err == nil && n.isDir() {
		err = wantEmpty(n)
	}
	if err == nil {
		err = t.remove(n, name)
	}
	return pathError("remove", name, err)
}

func (t *tree[D, F]) RemoveAll(name string) error {
	if err := checkEntry("remove", name); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	n, err := t.find(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = removeBelow(n)
	}
	if err == nil {
		err = t.remove(n, name)
	}
	return pathError("remove", name, err)
}

// removeBelow removes everything in a directory, in the order of names, so that tests with a seed can be repeated. If n
// is a file, it does nothing.
func removeBelow[D treeDir[D, F], F treeFile](n *node[D, F]) error {
	if !n.isDir() {
		return nil
	}
	entries, err := n.dir.list()
	if err != nil {
		return err
	}
	for _, name := range sortedNames(entries) {
		child := entries[name]
		if err := removeBelow(child); err != nil {
			return err
		}
		if !child.isDir() {
			child.file.unlink()
		}
		n.dir.remove(name)
	}
	return nil
}

// remove removes the name of n, which must be a file or an empty directory, from its directory. t.mu must be held for
// writing.
func (t *tree[D, F]) remove(n *node[D, F], name string) error {
	dir, _, err := t.findDir(path.Dir(name))
	if err != nil {
		return err
	}
	dir.remove(path.Base(name))
	if !n.isDir() {
		n.file.unlink()
	}
	return nil
}

// wantEmpty returns ENOTEMPTY if the directory n has entries.
func wantEmpty[D treeDir[D, F], F treeFile](n *node[D, F]) error {
	entries, err := n.dir.list()
	if err == nil && len(entries) > 0 {
		err = syscall.ENOTEMPTY
	}
	return err
}

func (t *tree[D, F]) Rename(oldName, newName string) error {
	if err := checkEntry("rename", oldName); err != nil {
		return err
	}
	if err := checkEntry("rename", newName); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return pathError("rename", oldName, t.rename(oldName, newName))
}

// rename does what Rename does, with names that were checked. t.mu must be held for writing.
func (t *tree[D, F]) rename(oldName, newName string) error {
	n, err := t.find(oldName)
	if err != nil {
		return err
	}
	to, entries, err := t.findDir(path.Dir(newName))
	if err != nil {
		return err
	}
	if n.isDir() && strings.HasPrefix(newName, oldName+"/") {
		return syscall.EINVAL
	}
	from, _, err := t.findDir(path.Dir(oldName))
	if err != nil {
		return err
	}
	if target, there := entries[path.Base(newName)]; there {
		if target == n {
			return nil
		}
		if err := checkReplace(n, target); err != nil {
			return err
		}
		if !target.isDir() {
			target.file.unlink()
		}
	}
	from.move(n, path.Base(oldName), to, path.Base(newName))
	return nil
}

// checkReplace returns why a rename may not replace target by n. It returns nil if both are files, or if both are
// directories and target is empty.
func checkReplace[D treeDir[D, F], F treeFile](n, target *node[D, F]) error {
	switch {
	case !n.isDir() && target.isDir():
		return syscall.EISDIR
	case n.isDir() && !target.isDir():
		return syscall.ENOTDIR
	case target.isDir():
		return wantEmpty(target)
	}
	return nil
}

func (t *tree[D, F]) MkdirAll(name string) error {
	if err := checkName("mkdir", name); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return pathError("mkdir", name, t.mkdirAll(name))
}

// mkdirAll does what MkdirAll does, with a name that was checked. t.mu must be held for writing.
func (t *tree[D, F]) mkdirAll(name string) error {
	if t.failure != nil || name == "." {
		return t.failure
	}
	n := t.root
	for part := range strings.SplitSeq(name, "/") {
		entries, err := n.dir.list()
		if err != nil {
			return err
		}
		next, there := entries[part]
		if !there {
			next = n.dir.addDir(part, true)
		} else if !next.isDir() {
			return syscall.ENOTDIR
		}
		n = next
	}
	return nil
}

func (t *tree[D, F]) Mkdir(name string) error {
	if err := checkEntry("mkdir", name); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	dir, entries, err := t.findDir(path.Dir(name))
	if _, there := entries[path.Base(name)]; err == nil && there {
		err = syscall.EEXIST
	}
	if err != nil {
		return pathError("mkdir", name, err)
	}
	dir.addDir(path.Base(name), false)
	return nil
}

func (t *tree[D, F]) List(dir string) ([]Info, error) {
	if err := checkName("list", dir); err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	_, entries, err := t.findDir(dir)
	if err != nil {
		return nil, pathError("list", dir, err)
	}
	infos := make([]Info, 0, len(entries))
	for _, name := range sortedNames(entries) {
		infos = append(infos, describe(entries[name], name))
	}
	return infos, nil
}

func (t *tree[D, F]) Stat(name string) (Info, error) {
	if err := checkName("stat", name); err != nil {
		return Info{}, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	n, err := t.find(name)
	if err != nil {
		return Info{}, pathError("stat", name, err)
	}
	return describe(n, path.Base(name)), nil
}

func (t *tree[D, F]) SyncDir(dir string) error {
	if err := checkName("syncdir", dir); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	d, _, err := t.findDir(dir)
	if err == nil {
		d.sync()
	}
	return pathError("syncdir", dir, err)
}

// describe returns the Info of n, with name as its base name.
func describe[D treeDir[D, F], F treeFile](n *node[D, F], name string) Info {
	if n.isDir() {
		return Info{Name: name, Dir: true}
	}
	return n.file.info(name)
}

// sortedNames returns the keys of entries in ascending order.
func sortedNames[N any](entries map[string]N) []string {
	names := make([]string, 0, len(entries))
	for name := range entries {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
