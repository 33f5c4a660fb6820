// Package vfs is the only way the storage rooms touch files. An FS is rooted at one directory; names are
// slash-separated paths below it. Three implementations pass one suite: Disk (on os.Root), Mem (which can lose
// power) and Faulty (which fails the operations it is told to fail).
package vfs

import (
	"io"
	"time"
)

// FS is a tree of files below one directory. All methods are safe for concurrent use. Errors match the standard
// library's: fs.ErrNotExist, fs.ErrExist, syscall.ENOSPC and so on, wrapped in *fs.PathError.
type FS interface {
	// Create makes an empty file, or empties the one that is there, open for reading and writing (mode 0600). The
	// directory entry is durable only after SyncDir of its directory.
	Create(name string) (File, error)
	// Open opens an existing file for reading and writing.
	Open(name string) (File, error)
	// OpenRead opens an existing file for reading only; WriteAt, Truncate, Allocate and Sync on it fail.
	OpenRead(name string) (File, error)
	// Remove removes a file or an empty directory; durable after SyncDir of the parent.
	Remove(name string) error
	// RemoveAll removes a tree; a name that is not there is no error.
	RemoveAll(name string) error
	// Rename replaces newName by oldName atomically; durable after SyncDir of both parents.
	Rename(oldName, newName string) error
	// MkdirAll makes a directory and its missing parents (mode 0700) and makes their entries durable.
	MkdirAll(name string) error
	// List returns the entries of a directory in order of name.
	List(dir string) ([]Info, error)
	// Stat describes one name.
	Stat(name string) (Info, error)
	// SyncDir makes the entries of a directory durable.
	SyncDir(dir string) error
}

// File is one open file. ReadAt and the two ways to write may be called concurrently on different ranges.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	// WriteParts writes the parts one after the other, as WriteAt writes them joined. They are not changed. The hint may let
	// them take another way to the disk.
	WriteParts(parts [][]byte, off int64, hint Hint) (int, error)
	// ReadPast reads as ReadAt does, into memory that is the caller's from then on; fewer bytes than asked for come with
	// io.EOF. Nobody is expected to read them again soon: what the page cache does not have may be read past it, large
	// reads in several pieces at once.
	ReadPast(sizeBytes int, off int64) ([]byte, error)
	// Size returns the current length in bytes.
	Size() (int64, error)
	// Truncate sets the length in bytes, cutting or extending with zeros.
	Truncate(sizeBytes int64) error
	// Allocate makes sure that the first sizeBytes bytes exist and have blocks, so that a later write and sync within
	// them changes no metadata. It never shortens a file.
	Allocate(sizeBytes int64) error
	// Sync makes the content durable (fdatasync). After an error the content is in an unknown state: never retry.
	Sync() error
	// WriteOut has the disk take what was written to [from, from+sizeBytes), so that Sync has less left to do at once;
	// with wait it returns when the disk has it, else when it was asked. Nothing is durable by that. It may do nothing.
	// An error is like one of Sync, which may not tell it again.
	WriteOut(from, sizeBytes int64, wait bool) error
}

// Hint says what is expected to come after a write.
type Hint uint8

const (
	NoHint   Hint = iota // the write goes to the page cache
	WontRead             // nobody reads it soon: a large one may pass by the page cache
	WillSync             // a Sync follows, and more of the same: a short one of whole sectors may pass by the page cache
)

// Info describes one entry. Name is the base name.
type Info struct {
	Name      string
	SizeBytes int64 // 0 for directories
	Dir       bool
	Modified  time.Time
}
