//go:build unix

package vfs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// DirWatch is the right to read a data directory that nobody changes: a broker that is started meanwhile is refused.
type DirWatch struct {
	dir string
	f   *os.File // nil: there was no lock file, and nothing is written to make one
}

// Watch takes a real directory for reading, without writing anything to it: *LockedError if somebody owns it. Several
// may watch one directory. Where no lock file is there, a broker can't be kept out; Release tells if one came.
func Watch(dir string) (*DirWatch, error) {
	f, err := os.Open(filepath.Join(dir, lockFile))
	if errors.Is(err, fs.ErrNotExist) {
		return &DirWatch{dir: dir}, nil
	}
	if err != nil {
		return nil, err
	}
	for {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB)
		if err != syscall.EINTR {
			break
		}
	}
	if errors.Is(err, syscall.EWOULDBLOCK) {
		defer f.Close()
		return nil, &LockedError{Dir: dir, PID: readPID(f)}
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("watch %s: %w", dir, err)
	}
	return &DirWatch{dir: dir, f: f}, nil
}

// Release ends the watch. The error says that somebody has had the directory meanwhile, so that what was read of it
// proves nothing.
func (w *DirWatch) Release() error {
	if w.f != nil {
		err := w.f.Close()
		w.f = nil
		return err
	}
	if _, err := os.Stat(filepath.Join(w.dir, lockFile)); err == nil {
		return fmt.Errorf("%s was opened by a broker while it was being read", w.dir)
	}
	return nil
}
