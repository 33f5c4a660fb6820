package vfs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// lockFile is the name of the lock file in a data directory. The process that holds an exclusive lock on the file owns
// the directory. The file contains the owner's process id in decimal. It stays when the owner ends, but the lock ends
// with the process.
const lockFile = "LOCK"

// errLocked is returned by lockWithoutWaiting if another lock on the file excludes the requested one.
var errLocked = errors.New("vfs: the file is locked")

// DirLock is the exclusive ownership of a data directory by this process. It is not safe for concurrent use.
type DirLock struct{ f *os.File }

// LockedError reports that a data directory has an owner: another process, or another DirLock or SharedLock in this
// process.
type LockedError struct {
	Dir string
	PID int // process id of the owner; 0 if it could not be read
}

// Error returns a message that names the directory and the owner's process id.
func (e *LockedError) Error() string {
	if e.PID == 0 {
		return fmt.Sprintf("%s is in use by another process", e.Dir)
	}
	return fmt.Sprintf("%s is in use by process %d", e.Dir, e.PID)
}

// Lock takes the exclusive ownership of dir, a real directory which must exist. It does not wait: if dir has an owner
// or a shared lock, the error is a *LockedError. The ownership ends with Release or when the process ends in any way.
// On systems without file locks the error matches errors.ErrUnsupported.
func Lock(dir string) (*DirLock, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	err = lockWithoutWaiting(f, true)
	if errors.Is(err, errLocked) {
		defer f.Close()
		return nil, &LockedError{Dir: dir, PID: readPID(f)}
	}
	if err == nil {
		err = f.Truncate(0)
	}
	if err == nil {
		_, err = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	return &DirLock{f: f}, nil
}

// Release ends the ownership. It does not remove the lock file: a process that has opened the file before the removal
// would lock a file that later processes do not find, and the directory could get two owners. Further calls do nothing
// and return nil.
func (l *DirLock) Release() error {
	if l.f == nil {
		return nil
	}
	err := l.f.Close()
	l.f = nil
	return err
}

// readPID returns the process id in a lock file, or 0 if there is none.
func readPID(f *os.File) int {
	var b [20]byte
	n, _ := f.ReadAt(b[:], 0)
	pid, err := strconv.Atoi(strings.TrimSpace(string(b[:n])))
	if err != nil {
		return 0
	}
	return pid
}
