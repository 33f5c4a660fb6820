package vfs

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
)

// OpKind is a kind of operation: the method of FS or File that is called.
type OpKind uint8

// The kinds of operations. WriteParts is an OpWriteAt and ReadUncached is an OpReadAt. Close has no kind, because no
// caller does anything about its error.
const (
	OpCreate OpKind = iota + 1
	OpOpen
	OpOpenRead
	OpRemove
	OpRemoveAll
	OpRename
	OpMkdirAll
	OpMkdir
	OpList
	OpStat
	OpSyncDir
	OpReadAt
	OpWriteAt
	OpSize
	OpTruncate
	OpAllocate
	OpSync
	OpWriteOut
	opKinds
)

var opNames = [opKinds]string{OpCreate: "create", OpOpen: "open", OpOpenRead: "openread", OpRemove: "remove",
	OpRemoveAll: "removeall", OpRename: "rename", OpMkdirAll: "mkdirall", OpMkdir: "mkdir", OpList: "list", OpStat: "stat",
	OpSyncDir: "syncdir", OpReadAt: "readat", OpWriteAt: "writeat", OpSize: "size", OpTruncate: "truncate",
	OpAllocate: "allocate", OpSync: "sync", OpWriteOut: "writeout"}

// String returns the lower-case name of the method.
func (k OpKind) String() string {
	if k >= opKinds || opNames[k] == "" {
		return fmt.Sprintf("op(%d)", uint8(k))
	}
	return opNames[k]
}

// Changes reports whether operations of the kind k change what is stored, send it to the disk, or make it durable.
func (k OpKind) Changes() bool {
	switch k {
	case OpOpen, OpOpenRead, OpList, OpStat, OpReadAt, OpSize:
		return false
	}
	return true
}

// Op describes an operation that is about to be performed. It is the argument of a fault function.
type Op struct {
	Kind  OpKind
	Name  string // name of the file or directory; the old name if Kind is OpRename
	Nth   int64  // number of the operation among all operations of the Faulty, beginning with 1
	Bytes int    // length in bytes of a read, a write, or the range of an OpWriteOut; 0 for other kinds
}

// String returns number, kind and name of the operation, for the messages of failed tests.
func (o Op) String() string { return fmt.Sprintf("%d %s %s", o.Nth, o.Kind, o.Name) }

// ShortWrite is an error that a fault function may return for an OpWriteAt. The first WrittenBytes bytes are then
// written, and the write fails with the ShortWrite.
type ShortWrite struct {
	WrittenBytes int
	Cause        error
}

// Error returns a description with the number of bytes and the cause.
func (e *ShortWrite) Error() string {
	return fmt.Sprintf("short write of %d bytes: %v", e.WrittenBytes, e.Cause)
}

// Unwrap returns the cause.
func (e *ShortWrite) Unwrap() error { return e.Cause }

// Faulty is an FS in front of another FS. Before each operation it calls a fault function, and if that returns an
// error, the operation fails with it. A failed operation is not performed, except for the first part of a ShortWrite.
type Faulty struct {
	fs    FS
	fault func(Op) error
	count atomic.Int64
}

// NewFaulty returns a Faulty in front of fs. fault is called before each operation, and concurrently if operations are
// concurrent. If it returns nil, the operation is performed. Otherwise the operation fails with that error, wrapped in
// an *fs.PathError. If fault is nil, all operations are performed.
func NewFaulty(fs FS, fault func(Op) error) *Faulty {
	if fault == nil {
		fault = func(Op) error { return nil }
	}
	return &Faulty{fs: fs, fault: fault}
}

// FailNth returns a fault function that returns err for the nth operation, counted from 1, and nil for all others.
func FailNth(nth int64, err error) func(Op) error {
	return func(o Op) error {
		if o.Nth == nth {
			return err
		}
		return nil
	}
}

// Count returns the number of operations so far, including failed ones.
func (f *Faulty) Count() int64 { return f.count.Load() }

// ask counts an operation and calls the fault function. It returns the error with which the operation must fail, or
// nil.
func (f *Faulty) ask(kind OpKind, name string, bytes int) error {
	err := f.fault(Op{Kind: kind, Name: name, Nth: f.count.Add(1), Bytes: bytes})
	return pathError(kind.String(), name, err)
}

func (f *Faulty) Create(name string) (File, error)   { return f.open(OpCreate, name, f.fs.Create) }
func (f *Faulty) Open(name string) (File, error)     { return f.open(OpOpen, name, f.fs.Open) }
func (f *Faulty) OpenRead(name string) (File, error) { return f.open(OpOpenRead, name, f.fs.OpenRead) }

func (f *Faulty) open(kind OpKind, name string, open func(string) (File, error)) (File, error) {
	if err := f.ask(kind, name, 0); err != nil {
		return nil, err
	}
	file, err := open(name)
	if err != nil {
		return nil, err
	}
	return &faultyFile{faulty: f, file: file, name: name}, nil
}

func (f *Faulty) Remove(name string) error {
	if err := f.ask(OpRemove, name, 0); err != nil {
		return err
	}
	return f.fs.Remove(name)
}

func (f *Faulty) RemoveAll(name string) error {
	if err := f.ask(OpRemoveAll, name, 0); err != nil {
		return err
	}
	return f.fs.RemoveAll(name)
}

func (f *Faulty) Rename(oldName, newName string) error {
	if err := f.ask(OpRename, oldName, 0); err != nil {
		return err
	}
	return f.fs.Rename(oldName, newName)
}

func (f *Faulty) MkdirAll(name string) error {
	if err := f.ask(OpMkdirAll, name, 0); err != nil {
		return err
	}
	return f.fs.MkdirAll(name)
}

func (f *Faulty) Mkdir(name string) error {
	if err := f.ask(OpMkdir, name, 0); err != nil {
		return err
	}
	return f.fs.Mkdir(name)
}

func (f *Faulty) List(dir string) ([]Info, error) {
	if err := f.ask(OpList, dir, 0); err != nil {
		return nil, err
	}
	return f.fs.List(dir)
}

func (f *Faulty) Stat(name string) (Info, error) {
	if err := f.ask(OpStat, name, 0); err != nil {
		return Info{}, err
	}
	return f.fs.Stat(name)
}

func (f *Faulty) SyncDir(dir string) error {
	if err := f.ask(OpSyncDir, dir, 0); err != nil {
		return err
	}
	return f.fs.SyncDir(dir)
}

// faultyFile is an open file of a Faulty.
type faultyFile struct {
	faulty *Faulty
	file   File
	name   string
}

func (f *faultyFile) ReadAt(p []byte, off int64) (int, error) {
	if err := f.faulty.ask(OpReadAt, f.name, len(p)); err != nil {
		return 0, err
	}
	return f.file.ReadAt(p, off)
}

func (f *faultyFile) WriteAt(p []byte, off int64) (int, error) {
	return f.WriteParts([][]byte{p}, off, NoHint)
}

func (f *faultyFile) WriteParts(parts [][]byte, off int64, hint Hint) (int, error) {
	sizeBytes := partsBytes(parts)
	err := f.faulty.ask(OpWriteAt, f.name, sizeBytes)
	if short, ok := errors.AsType[*ShortWrite](err); ok && short.WrittenBytes < sizeBytes {
		n, failed := f.file.WriteAt(slices.Concat(parts...)[:short.WrittenBytes], off)
		if failed != nil {
			return n, failed
		}
		return n, err
	}
	if err != nil {
		return 0, err
	}
	return f.file.WriteParts(parts, off, hint)
}

func (f *faultyFile) ReadUncached(sizeBytes int, off int64) ([]byte, error) {
	if err := f.faulty.ask(OpReadAt, f.name, sizeBytes); err != nil {
		return nil, err
	}
	return f.file.ReadUncached(sizeBytes, off)
}

func (f *faultyFile) Close() error { return f.file.Close() }

func (f *faultyFile) Size() (int64, error) {
	if err := f.faulty.ask(OpSize, f.name, 0); err != nil {
		return 0, err
	}
	return f.file.Size()
}

func (f *faultyFile) Truncate(sizeBytes int64) error {
	if err := f.faulty.ask(OpTruncate, f.name, 0); err != nil {
		return err
	}
	return f.file.Truncate(sizeBytes)
}

func (f *faultyFile) Allocate(sizeBytes int64) error {
	if err := f.faulty.ask(OpAllocate, f.name, 0); err != nil {
		return err
	}
	return f.file.Allocate(sizeBytes)
}

func (f *faultyFile) Sync() error {
	if err := f.faulty.ask(OpSync, f.name, 0); err != nil {
		return err
	}
	return f.file.Sync()
}

func (f *faultyFile) WriteOut(from, sizeBytes int64, wait bool) error {
	if err := f.faulty.ask(OpWriteOut, f.name, int(sizeBytes)); err != nil {
		return err
	}
	return f.file.WriteOut(from, sizeBytes, wait)
}
