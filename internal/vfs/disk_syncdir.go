//go:build !windows

package vfs

import "os"

// syncDirectory makes the entries of an open directory durable.
func syncDirectory(dir *os.File) error { return dir.Sync() }

// classify returns err with errors that package syscall defines. On these systems err has them already.
func classify(err error) error { return err }
