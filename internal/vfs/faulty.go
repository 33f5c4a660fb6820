package vfs

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
)

// OpKind says which method of FS or File an operation is.
type OpKind uint8

// The kinds of operations. Close is none of them: nothing depends on its answer.
const (
	OpCreate OpKind = iota + 1
	OpOpen
	OpOpenRead
	OpRemove
	OpRemoveAll
	OpRename
	OpMkdirAll
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
	OpRemoveAll: "removeall", OpRename: "rename", OpMkdirAll: "mkdirall", OpList: "list", OpStat: "stat",
	OpSyncDir: "syncdir", OpReadAt: "readat", OpWriteAt: "writeat", OpSize: "size", OpTruncate: "truncate",
	OpAllocate: "allocate", OpSync: "sync", OpWriteOut: "writeout"}

// String returns the lower-case name of the method.
func (k OpKind) String() string {
	if k >= opKinds || opNames[k] == "" {
		return fmt.Sprintf("op(%d)", uint8(k))
	}
	return opNames[k]
}

// Changes tells whether operations of the kind change what is stored, or send it to the disk, or make it durable.
func (k OpKind) Changes() bool {
	switch k {
	case OpOpen, OpOpenRead, OpList, OpStat, OpReadAt, OpSize:
		return false
	}
	return true
}

// Op is one operation about to be performed.
type Op struct {
	Kind  OpKind
	Name  string // of the file or directory; for a rename, the old name
	Nth   int64  // which operation this is of all on the Faulty, from 1
	Bytes int    // the length of the buffer of a read or write, or of what is written out; else 0
}

// String is for logs of failed tests.
func (o Op) String() string { return fmt.Sprintf("%d %s %s", o.Nth, o.Kind, o.Name) }

// ShortWrite, given as the outcome of a write, lets the first WrittenBytes bytes pass and then fails it with Cause.
type ShortWrite struct {
	WrittenBytes int
	Cause        error
}

// Error describes the fault.
func (e *ShortWrite) Error() string {
	return fmt.Sprintf("short write of %d bytes: %v", e.WrittenBytes, e.Cause)
}

// Unwrap returns the cause.
func (e *ShortWrite) Unwrap() error { return e.Cause }

// Faulty is an FS that asks before each operation whether it shall fail. A failed operation is not performed, except
// for the first part of a ShortWrite.
type Faulty struct {
	fs    FS
	fault func(Op) error
	count atomic.Int64
}

// NewFaulty wraps fs. fault is called before each operation, concurrently where the operations are; nil lets the
// operation pass, an error fails it, wrapped in *fs.PathError. A nil fault passes everything.
func NewFaulty(fs FS, fault func(Op) error) *Faulty {
	if fault == nil {
		fault = func(Op) error { return nil }
	}
	return &Faulty{fs: fs, fault: fault}
}

// FailNth fails the nth operation, counted from 1, with err, and lets all others pass.
func FailNth(nth int64, err error) func(Op) error {
	return func(o Op) error {
		if o.Nth == nth {
			return err
		}
		return nil
	}
}

// Count returns how many operations there were so far, failed ones included.
func (f *Faulty) Count() int64 { return f.count.Load() }

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

func (f *faultyFile) ReadPast(sizeBytes int, off int64) ([]byte, error) {
	if err := f.faulty.ask(OpReadAt, f.name, sizeBytes); err != nil {
		return nil, err
	}
	return f.file.ReadPast(sizeBytes, off)
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
