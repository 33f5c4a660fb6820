package vfs

import (
	"errors"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// syncData makes the content and the length of the file durable, and no other metadata.
func syncData(f *os.File) error {
	return control(f, func(fd int) error { return syscall.Fdatasync(fd) })
}

// reserve allocates the blocks of the file up to sizeBytes without changing its content. It returns nil if the file
// system does not support that; Allocate then gets the blocks by writing zeros.
func reserve(f *os.File, sizeBytes int64) error {
	err := control(f, func(fd int) error { return syscall.Fallocate(fd, 0, 0, sizeBytes) })
	if errors.Is(err, syscall.EOPNOTSUPP) || errors.Is(err, syscall.ENOSYS) {
		return nil
	}
	return err
}

// writeOut starts to write a range of dirty pages to the disk. If wait is true, it waits until they are written and
// returns their error; since Linux 4.17 a later fdatasync with the same descriptor does not return that error again.
// writeOut returns nil if the file system does not support it.
func writeOut(f *os.File, from, sizeBytes int64, wait bool) error {
	flags := unix.SYNC_FILE_RANGE_WRITE
	if wait {
		flags |= unix.SYNC_FILE_RANGE_WAIT_BEFORE | unix.SYNC_FILE_RANGE_WAIT_AFTER
	}
	err := control(f, func(fd int) error { return unix.SyncFileRange(fd, from, sizeBytes, flags) })
	if errors.Is(err, syscall.EOPNOTSUPP) || errors.Is(err, syscall.ENOSYS) {
		return nil
	}
	return err
}

// pageBytes is the size of a page of the page cache.
var pageBytes = uint64(os.Getpagesize())

// allCached returns nil if the whole range is in the page cache, EAGAIN if a part of it is not, and another error if
// the kernel does not support the question (before Linux 6.5).
func allCached(fd, sizeBytes int, off int64) error {
	within := unix.CachestatRange{Off: uint64(off), Len: uint64(sizeBytes)}
	var found unix.Cachestat_t
	err := unix.Cachestat(uint(fd), &within, &found, 0)
	if err == nil && found.Cache < uint64(off+int64(sizeBytes)-1)/pageBytes-uint64(off)/pageBytes+1 {
		return unix.EAGAIN
	}
	return err
}

// control calls do with the descriptor of f, which cannot be closed during the call. It calls do again as long as do
// returns EINTR.
func control(f *os.File, do func(fd int) error) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = conn.Control(func(fd uintptr) {
		for {
			if failed = do(int(fd)); failed != syscall.EINTR {
				return
			}
		}
	})
	if err != nil {
		return fs.ErrClosed // Control has no other reason to fail, and its own error matches no sentinel
	}
	return failed
}

// FreeBytes returns how many bytes an unprivileged process can still write to the disk that contains the directory dir.
// It returns false if that is not known.
func FreeBytes(dir string) (int64, bool) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return 0, false
	}
	return int64(s.Bavail) * int64(s.Bsize), true
}
