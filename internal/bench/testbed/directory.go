package testbed

import (
	"os"
	"path/filepath"

	"tidings.dev/internal/bench"
)

// Directory has the directories in which a benchmark keeps its files. The caller must close it.
type Directory struct {
	// Data is the data directory of a broker. It is temporary unless a directory was given.
	Data string
	// Scratch is a directory on the same file system for files with which the disk itself is measured. It is not
	// within Data because a data directory must have no other files.
	Scratch string

	temporary string // removed by Close
}

// OpenDirectory makes the directories. If data is "", both are temporary directories in $TMPDIR. Otherwise Data is
// data, which Close keeps, and Scratch is data with the suffix ".bench", which Close removes.
func OpenDirectory(data string) (*Directory, error) {
	d := &Directory{Data: data, Scratch: data + ".bench"}
	d.temporary = d.Scratch
	if data == "" {
		temporary, err := os.MkdirTemp("", "tidings-bench-")
		if err != nil {
			return nil, err
		}
		d.temporary, d.Data, d.Scratch = temporary, filepath.Join(temporary, "data"), filepath.Join(temporary, "scratch")
	}
	return d, os.MkdirAll(d.Scratch, 0o700)
}

// InMemory reports whether the directories are on a tmpfs, where syncs cost nothing.
func (d *Directory) InMemory() bool { return fileSystem(d.Scratch) == "tmpfs" }

// Target describes the directory as the target of a report. If the data directory does not exist, FileSystem is
// empty.
func (d *Directory) Target(kind string) bench.Target {
	t := bench.Target{Kind: kind, Data: d.Data, FileSystem: fileSystem(d.Data)}
	if full, err := filepath.Abs(d.Data); err == nil {
		t.Data = full
	}
	return t
}

// Close removes the directories that are temporary.
func (d *Directory) Close() error { return os.RemoveAll(d.temporary) }
