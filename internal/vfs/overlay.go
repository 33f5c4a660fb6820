package vfs

import (
	"errors"
	"io/fs"
	"path"
	"syscall"
	"time"
)

// Overlay is an FS that shows the files of another FS, its base, and can be changed like any FS, while the base is only
// read. Changes are kept in memory, in copies of the pages that were written to. An Overlay is for rehearsals, in which
// a broker or a repair works on a directory that must not change. The changes end with the process, so that Sync and
// SyncDir do nothing.
//
// The base must not change while an Overlay is in use. A directory of the base is read when it is first used, and a
// file when it is read.
type Overlay struct {
	tree[*overlayDir, *overlayFile]
}

// overlayNode is a node of an Overlay.
type overlayNode = node[*overlayDir, *overlayFile]

// overlayDir is a directory. The tree's mu guards it.
type overlayDir struct {
	base    FS
	name    string                  // name of the directory in base; "" if the base has no such directory
	entries map[string]*overlayNode // nil until list has read the directory in base
}

// NewOverlay returns an Overlay without changes over base.
func NewOverlay(base FS) *Overlay {
	o := &Overlay{}
	o.root = &overlayNode{dir: &overlayDir{base: base, name: "."}}
	return o
}

// list returns the entries of the directory. Its first call reads the directory in base.
func (d *overlayDir) list() (map[string]*overlayNode, error) {
	if d.entries != nil {
		return d.entries, nil
	}
	entries := map[string]*overlayNode{}
	if d.name != "" {
		infos, err := d.base.List(d.name)
		if err != nil {
			return nil, cause(err)
		}
		for _, i := range infos {
			below := path.Join(d.name, i.Name)
			if i.Dir {
				entries[i.Name] = &overlayNode{dir: &overlayDir{base: d.base, name: below}}
			} else {
				entries[i.Name] = &overlayNode{file: &overlayFile{
					below: d.base, name: below, visibleBytes: i.SizeBytes, sizeBytes: i.SizeBytes, modified: i.Modified,
				}}
			}
		}
	}
	d.entries = entries
	return entries, nil
}

// cause returns an error of base without its path, since the file may have another name in the Overlay.
func cause(err error) error {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return pe.Err
	}
	return err
}

func (d *overlayDir) addFile(name string) *overlayNode {
	n := &overlayNode{file: &overlayFile{modified: time.Now()}}
	d.entries[name] = n
	return n
}

func (d *overlayDir) addDir(name string, _ bool) *overlayNode {
	n := &overlayNode{dir: &overlayDir{base: d.base}}
	d.entries[name] = n
	return n
}

func (d *overlayDir) remove(name string) { delete(d.entries, name) }

func (d *overlayDir) move(n *overlayNode, name string, to *overlayDir, newName string) {
	delete(d.entries, name)
	to.entries[newName] = n
}

func (d *overlayDir) sync() {}

// Link implements [Linker].
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
	if err == nil && n.isDir() {
		err = syscall.EPERM
	}
	if err != nil {
		return pathError("link", oldName, err)
	}
	to, entries, err := o.findDir(path.Dir(newName))
	if err != nil {
		return pathError("link", newName, err)
	}
	if _, there := entries[path.Base(newName)]; there {
		return pathError("link", newName, syscall.EEXIST)
	}
	to.entries[path.Base(newName)] = n
	return nil
}
