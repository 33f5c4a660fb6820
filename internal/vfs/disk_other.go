//go:build !linux

package vfs

import "os"

// syncData makes the content durable; on Darwin os.File.Sync asks for F_FULLFSYNC, since a plain fsync stops at the
// drive's cache.
func syncData(f *os.File) error { return f.Sync() }

// writeOut leaves all to syncData.
func writeOut(*os.File, int64, int64, bool) error { return nil }

// reserve leaves the blocks to the zeros that Allocate writes.
func reserve(*os.File, int64) error { return nil }

// FreeBytes is how much room is left to us on the disk of a directory; false: that isn't known.
func FreeBytes(string) (int64, bool) { return 0, false }
