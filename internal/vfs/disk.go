package vfs

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"sort"
	"syscall"
)

// Disk returns the FS of dir, a real directory, which Disk creates with mode 0700 if it does not exist. Names cannot
// leave dir by ".." or by symbolic links, because the FS uses os.Root. The result also implements io.Closer. Its Close
// closes the descriptor of the directory, after which open files stay usable.
func Disk(dir string) (FS, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	d := &disk{root: root, spare: make(chan *os.File, spareDescriptors)}
	for range spareDescriptors {
		d.refill()
	}
	return d, nil
}

// disk is the FS that Disk returns.
//
// spare holds open files for nothing but their descriptors. Every operation on a name within a directory opens that
// directory for a moment. When no descriptor is free, it uses one of these, so that files can still be renamed and
// removed, and directories be synced, in a process that has used up its descriptors otherwise. Open and Create do not:
// they would keep the descriptor.
type disk struct {
	root  *os.Root
	spare chan *os.File
}

// spareDescriptors is the number of descriptors that a disk holds in reserve.
const spareDescriptors = 4

// Close closes the descriptor of the root directory, and those in reserve.
func (d *disk) Close() error {
	for range spareDescriptors {
		select {
		case f := <-d.spare:
			f.Close() // nothing was written to it
		default:
		}
	}
	return d.root.Close()
}

// refill opens a descriptor for the reserve, if it can be opened.
func (d *disk) refill() {
	f, err := d.root.Open(".")
	if err != nil {
		return
	}
	select {
	case d.spare <- f:
	default:
		f.Close()
	}
}

// briefly calls do, which opens no file but for the time of the call. While no descriptor is free, it calls do again
// with one from the reserve.
func (d *disk) briefly(do func() error) error {
	err := do()
	for used := 0; ; used++ {
		if IsNoDescriptors(err) {
			select {
			case f := <-d.spare:
				f.Close()
				err = do()
				continue
			default:
			}
		}
		for range used {
			d.refill()
		}
		return err
	}
}

func (d *disk) Create(name string) (File, error) {
	return d.open("create", name, os.O_RDWR|os.O_CREATE|os.O_TRUNC)
}

func (d *disk) Open(name string) (File, error) { return d.open("open", name, os.O_RDWR) }

func (d *disk) OpenRead(name string) (File, error) { return d.open("open", name, os.O_RDONLY) }

func (d *disk) open(op, name string, flags int) (File, error) {
	if err := checkName(op, name); err != nil {
		return nil, err
	}
	f, err := d.root.OpenFile(name, flags, 0o600)
	if err != nil {
		return nil, pathError(op, name, err)
	}
	readOnly := flags&(os.O_RDWR|os.O_WRONLY) == 0
	if readOnly {
		// The kernel refuses to open a directory for writing, but not for reading.
		info, err := f.Stat()
		if err == nil && info.IsDir() {
			err = syscall.EISDIR
		}
		if err != nil {
			f.Close()
			return nil, pathError(op, name, err)
		}
	}
	return &diskFile{f: f, name: name, readOnly: readOnly}, nil
}

func (d *disk) Remove(name string) error {
	if err := checkEntry("remove", name); err != nil {
		return err
	}
	return pathError("remove", name, d.briefly(func() error { return d.root.Remove(name) }))
}

func (d *disk) RemoveAll(name string) error {
	if err := checkEntry("remove", name); err != nil {
		return err
	}
	return pathError("remove", name, d.briefly(func() error { return d.root.RemoveAll(name) }))
}

func (d *disk) Rename(oldName, newName string) error {
	if err := checkEntry("rename", oldName); err != nil {
		return err
	}
	if err := checkEntry("rename", newName); err != nil {
		return err
	}
	return pathError("rename", oldName, d.briefly(func() error { return d.root.Rename(oldName, newName) }))
}

func (d *disk) MkdirAll(name string) error {
	if err := checkName("mkdir", name); err != nil {
		return err
	}
	if name == "." {
		return nil
	}
	if err := d.briefly(func() error { return d.root.MkdirAll(name, 0o700) }); err != nil {
		return pathError("mkdir", name, err)
	}
	// Every parent is synced even if no directory was created: a process that was killed before its own sync may have
	// created one. To sync a directory without changes costs microseconds.
	for dir := path.Dir(name); ; dir = path.Dir(dir) {
		if err := d.SyncDir(dir); err != nil {
			return err
		}
		if dir == "." {
			return nil
		}
	}
}

func (d *disk) Mkdir(name string) error {
	if err := checkEntry("mkdir", name); err != nil {
		return err
	}
	return pathError("mkdir", name, d.briefly(func() error { return d.root.Mkdir(name, 0o700) }))
}

func (d *disk) List(dir string) ([]Info, error) {
	if err := checkName("list", dir); err != nil {
		return nil, err
	}
	var infos []Info
	err := d.briefly(func() (err error) {
		infos, err = d.list(dir)
		return err
	})
	if err != nil {
		return nil, pathError("list", dir, err)
	}
	sort.Slice(infos, func(a, b int) bool { return infos[a].Name < infos[b].Name })
	return infos, nil
}

// list returns the entries of a directory, in any order.
func (d *disk) list(dir string) ([]Info, error) {
	f, err := d.root.Open(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	entries, err := f.ReadDir(-1)
	if err != nil {
		return nil, err
	}
	infos := make([]Info, 0, len(entries))
	for _, e := range entries {
		i, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue // the file was removed after the directory was read
		}
		if err != nil {
			return nil, err
		}
		infos = append(infos, diskInfo(i))
	}
	return infos, nil
}

func (d *disk) Stat(name string) (Info, error) {
	if err := checkName("stat", name); err != nil {
		return Info{}, err
	}
	var i fs.FileInfo
	err := d.briefly(func() (err error) {
		i, err = d.root.Stat(name)
		return err
	})
	if err != nil {
		return Info{}, pathError("stat", name, err)
	}
	return diskInfo(i), nil
}

func (d *disk) SyncDir(dir string) error {
	if err := checkName("syncdir", dir); err != nil {
		return err
	}
	return pathError("syncdir", dir, d.briefly(func() error {
		f, err := d.root.Open(dir)
		if err != nil {
			return err
		}
		defer f.Close()
		info, err := f.Stat()
		if err == nil && !info.IsDir() {
			err = syscall.ENOTDIR
		}
		if err == nil {
			err = syncDirectory(f)
		}
		return err
	}))
}

// diskInfo returns the Info of an os.FileInfo.
func diskInfo(i fs.FileInfo) Info {
	info := Info{Name: i.Name(), Dir: i.IsDir(), Modified: i.ModTime()}
	if !info.Dir {
		info.SizeBytes = i.Size()
	}
	return info
}

// checkName returns an error that matches fs.ErrInvalid if name is not a relative, clean, slash-separated path.
func checkName(op, name string) error {
	if !fs.ValidPath(name) {
		return &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	return nil
}

// checkEntry does what checkName does and also refuses the root, ".". It is for operations on an entry of a directory.
func checkEntry(op, name string) error {
	if name == "." {
		return &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	return checkName(op, name)
}

// pathError returns err as an *fs.PathError with the given operation and name, in place of any name that err has. It
// returns nil for nil.
func pathError(op, name string, err error) error {
	if err == nil {
		return nil
	}
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		err = pe.Err
	} else if le, ok := errors.AsType[*os.LinkError](err); ok {
		err = le.Err
	} else if se, ok := errors.AsType[*os.SyscallError](err); ok {
		err = se.Err
	}
	return &fs.PathError{Op: op, Path: name, Err: classify(err)}
}
