package vfs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// SharedLock is a lock that keeps brokers out of a data directory while the directory is read. It is not safe for
// concurrent use.
type SharedLock struct {
	dir string
	f   *os.File // the lock file; nil if the directory has none, since LockShared creates no file
}

// LockShared locks dir, a real directory, for reading. It writes nothing to dir and does not wait: if dir has an owner,
// the error is a *LockedError. A directory can have several shared locks. If dir has no lock file, it is not locked,
// and Release reports whether a broker has opened it meanwhile.
func LockShared(dir string) (*SharedLock, error) {
	f, err := os.Open(filepath.Join(dir, lockFile))
	if errors.Is(err, fs.ErrNotExist) {
		return &SharedLock{dir: dir}, nil
	}
	if err != nil {
		return nil, err
	}
	err = lockWithoutWaiting(f, false)
	if errors.Is(err, errLocked) {
		defer f.Close()
		return nil, &LockedError{Dir: dir, PID: readPID(f)}
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s for reading: %w", dir, err)
	}
	return &SharedLock{dir: dir, f: f}, nil
}

// Release ends the lock. It must be called once. An error may mean that a broker has opened the directory meanwhile, so
// that the bytes that were read may belong to different states of the directory.
func (l *SharedLock) Release() error {
	if l.f != nil {
		err := l.f.Close()
		l.f = nil
		return err
	}
	if _, err := os.Stat(filepath.Join(l.dir, lockFile)); err == nil {
		return fmt.Errorf("%s was opened by a broker while it was being read", l.dir)
	}
	return nil
}
