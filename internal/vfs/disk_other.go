//go:build !linux

package vfs

import (
	"os"
	"slices"
)

// syncData makes the content of the file durable. On Darwin os.File.Sync uses F_FULLFSYNC, since fsync does not flush
// the cache of the drive there.
func syncData(f *os.File) error { return f.Sync() }

// writeOut does nothing on this system. syncData writes everything.
func writeOut(*os.File, int64, int64, bool) error { return nil }

// reserve does nothing on this system. Allocate gets the blocks by writing zeros.
func reserve(*os.File, int64) error { return nil }

// FreeBytes returns false, since the number of free bytes is not known on this system.
func FreeBytes(string) (int64, bool) { return 0, false }

// writeVector joins the parts and writes them at off. Not all systems have a call that writes several buffers.
func writeVector(f *os.File, parts [][]byte, off int64) (int, error) {
	if len(parts) == 1 {
		return f.WriteAt(parts[0], off)
	}
	return f.WriteAt(slices.Concat(parts...), off)
}

// These are the sizes by which diskFile chooses direct I/O. directFile uses the page cache for them on this system.
const (
	largeBytes = 256 << 10
	shortBytes = 64 << 10
)

// directFile reads and writes through the page cache on this system. On Linux it uses direct I/O.
type directFile struct{}

func (*directFile) write(f *os.File, parts [][]byte, off int64) (int, error) {
	return writeVector(f, parts, off)
}

func (*directFile) writeShort(f *os.File, parts [][]byte, _ int, off int64) (int, error) {
	return writeVector(f, parts, off)
}

func (*directFile) read(f *os.File, _, sizeBytes int, off int64) ([]byte, error) {
	return readWhole(f, sizeBytes, off)
}

func (*directFile) close() {}
