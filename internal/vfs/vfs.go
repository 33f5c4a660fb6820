// Package vfs defines the file system interface [FS], through which the storage packages use files, and its
// implementations. An FS has one root directory. Names are slash-separated paths relative to it.
//
// [Disk] returns an FS whose files are in a real directory. [Mem] keeps files in memory and can derive what a power cut
// would leave of them. [Overlay] shows the files of another FS and keeps changes in memory. [Faulty] and [Wrap] are in
// front of another FS: the first fails chosen operations, the second replaces open files. One test suite, TestFS, runs
// on all five.
package vfs

import (
	"io"
	"time"
)

// FS is a tree of files below one directory. All methods are safe for concurrent use. Errors are *fs.PathError values
// that match the errors of the standard library, such as fs.ErrNotExist, fs.ErrExist and syscall.ENOSPC.
type FS interface {
	// Create creates an empty file with mode 0600, or empties an existing file, and opens it for reading and writing.
	// The directory entry is durable only after SyncDir of the file's directory.
	Create(name string) (File, error)
	// Open opens an existing file for reading and writing.
	Open(name string) (File, error)
	// OpenRead opens an existing file for reading only. Methods of the File that change or sync it fail.
	OpenRead(name string) (File, error)
	// Remove removes a file or an empty directory. The removal is durable after SyncDir of its directory.
	Remove(name string) error
	// RemoveAll removes a file, or a directory with everything in it. If name does not exist, it returns nil.
	RemoveAll(name string) error
	// Rename renames oldName to newName and atomically replaces newName if it exists. The change is durable after
	// SyncDir of both directories.
	Rename(oldName, newName string) error
	// MkdirAll creates a directory and its missing parents with mode 0700 and makes their entries durable.
	MkdirAll(name string) error
	// Mkdir creates a directory with mode 0700 in a directory that exists. Its entry is durable after SyncDir of that
	// directory, so that many directories can be made durable at once.
	Mkdir(name string) error
	// List returns the entries of a directory in the order of names.
	List(dir string) ([]Info, error)
	// Stat returns the Info of a file or directory.
	Stat(name string) (Info, error)
	// SyncDir makes the entries of a directory durable.
	SyncDir(dir string) error
}

// File is an open file. ReadAt, WriteAt and WriteParts may be called concurrently on different ranges.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	// WriteParts writes the parts one after the other at off and returns the number of bytes written. It does not
	// change the parts. hint may change how the bytes reach the disk; it changes neither what is read afterwards nor
	// what is durable.
	WriteParts(parts [][]byte, off int64, hint Hint) (int, error)
	// ReadUncached reads sizeBytes bytes from off on and returns them in memory that belongs to the caller. If it
	// returns fewer bytes, it also returns an error, which is io.EOF at the end of the file. It is for bytes that are
	// not read again soon: bytes that are not in the page cache may be read past it, and a large read may be split into
	// concurrent pieces.
	ReadUncached(sizeBytes int, off int64) ([]byte, error)
	// Size returns the current length of the file in bytes.
	Size() (int64, error)
	// Truncate sets the length of the file in bytes. It cuts the file or extends it with zeros.
	Truncate(sizeBytes int64) error
	// Allocate makes sure that the first sizeBytes bytes of the file exist and have blocks on the disk, so that later
	// writes and syncs within them change no metadata. New bytes are zeros. Allocate never shortens a file.
	Allocate(sizeBytes int64) error
	// Sync makes the content of the file durable (fdatasync). After an error the state of the content is unknown, and a
	// second Sync may wrongly succeed, so it must not be tried.
	Sync() error
	// WriteOut starts to send the bytes written to [from, from+sizeBytes) to the disk, so that a later Sync has less to
	// do. If wait is true, it blocks until the disk has them. It makes nothing durable, and it may do nothing. An error
	// means the same as an error of Sync, and a later Sync may not report it again.
	WriteOut(from, sizeBytes int64, wait bool) error
}

// Hint tells WriteParts what is expected to follow a write.
type Hint uint8

const (
	NoHint   Hint = iota // no expectation: the write goes to the page cache
	WontRead             // the bytes are not read soon: a large write may bypass the page cache
	WillSync             // a Sync and similar writes follow: a short write of whole sectors may bypass the page cache
)

// Info describes a file or directory. Name is its base name.
type Info struct {
	Name      string
	SizeBytes int64 // 0 for directories
	Dir       bool
	// Modified is the time of the last change of the content. It is the zero time for directories of a Mem or Overlay.
	Modified time.Time
}
