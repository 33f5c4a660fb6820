package journal

import (
	"time"

	"tidings.dev/internal/vfs"
)

// patientFS is a file system in which changes of names wait for a free file descriptor, for a few seconds at most.
// Several of them belong together when a file comes into use, so that none may fail for a cause that passes. To create
// or open a file does not wait: nothing has been changed at that time, and the journal refuses entries meanwhile.
type patientFS struct{ vfs.FS }

// Waits of a patientFS for a free file descriptor.
const (
	descriptorPause = 10 * time.Millisecond
	descriptorTries = 500
)

// patiently calls do until its error is another one than a lack of file descriptors, or for descriptorTries times.
func patiently(do func() error) error {
	for n := 1; ; n++ {
		err := do()
		if !vfs.IsNoDescriptors(err) || n == descriptorTries {
			return err
		}
		time.Sleep(descriptorPause)
	}
}

func (p patientFS) Remove(name string) error {
	return patiently(func() error { return p.FS.Remove(name) })
}

func (p patientFS) Rename(oldName, newName string) error {
	return patiently(func() error { return p.FS.Rename(oldName, newName) })
}

func (p patientFS) SyncDir(dir string) error {
	return patiently(func() error { return p.FS.SyncDir(dir) })
}
