//go:build !linux

package vfs

import (
	"os"
	"slices"
)

// syncData makes the content durable; on Darwin os.File.Sync asks for F_FULLFSYNC, since a plain fsync stops at the
// drive's cache.
func syncData(f *os.File) error { return f.Sync() }

// writeOut leaves all to syncData.
func writeOut(*os.File, int64, int64, bool) error { return nil }

// reserve leaves the blocks to the zeros that Allocate writes.
func reserve(*os.File, int64) error { return nil }

// FreeBytes is how much room is left to us on the disk of a directory; false: that isn't known.
func FreeBytes(string) (int64, bool) { return 0, false }

// writeVector joins the parts: there is no system call for more than one that all systems have.
func writeVector(f *os.File, parts [][]byte, off int64) (int, error) {
	if len(parts) == 1 {
		return f.WriteAt(parts[0], off)
	}
	return f.WriteAt(slices.Concat(parts...), off)
}

// What would pass by the page cache, where that were offered.
const (
	throughBytes = 256 << 10
	shortBytes   = 64 << 10
)

// bypass offers nothing.
type bypass struct{}

func (*bypass) write(f *os.File, parts [][]byte, off int64) (int, error) {
	return writeVector(f, parts, off)
}

func (*bypass) writeShort(f *os.File, parts [][]byte, _ int, off int64) (int, error) {
	return writeVector(f, parts, off)
}

func (*bypass) read(f *os.File, _, sizeBytes int, off int64) ([]byte, error) {
	return readWhole(f, sizeBytes, off)
}

func (*bypass) close() {}
