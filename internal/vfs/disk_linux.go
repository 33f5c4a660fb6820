package vfs

import (
	"errors"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// syncData makes the content and the size durable, and no other metadata.
func syncData(f *os.File) error {
	return control(f, func(fd int) error { return syscall.Fdatasync(fd) })
}

// reserve gives the file blocks up to sizeBytes without changing what it contains. A file system that can't is no
// error: the zeros that follow do it.
func reserve(f *os.File, sizeBytes int64) error {
	err := control(f, func(fd int) error { return syscall.Fallocate(fd, 0, 0, sizeBytes) })
	if errors.Is(err, syscall.EOPNOTSUPP) || errors.Is(err, syscall.ENOSYS) {
		return nil
	}
	return err
}

// sync_file_range(2). Waiting takes WAIT_BEFORE too: a page that is being written already is not written again by WRITE.
const (
	rangeWaitBefore = 1
	rangeWrite      = 2
	rangeWaitAfter  = 4
)

// writeOut starts writing dirty pages, and waits for them. The wait reports an error of theirs and, since Linux 4.17,
// takes it from what a later fdatasync of the descriptor tells. A file system that can't leaves all to syncData.
func writeOut(f *os.File, from, sizeBytes int64, wait bool) error {
	flags := rangeWrite
	if wait {
		flags |= rangeWaitBefore | rangeWaitAfter
	}
	err := control(f, func(fd int) error { return syscall.SyncFileRange(fd, from, sizeBytes, flags) })
	if errors.Is(err, syscall.EOPNOTSUPP) || errors.Is(err, syscall.ENOSYS) {
		return nil
	}
	return err
}

// pageBytes is the size of a page of the page cache.
var pageBytes = uint64(os.Getpagesize())

// allCached is EAGAIN if a part of the range is not in the page cache, and another error where that can't be asked.
func allCached(fd, sizeBytes int, off int64) error {
	within := unix.CachestatRange{Off: uint64(off), Len: uint64(sizeBytes)}
	var found unix.Cachestat_t
	err := unix.Cachestat(uint(fd), &within, &found, 0)
	if err == nil && found.Cache < uint64(off+int64(sizeBytes)-1)/pageBytes-uint64(off)/pageBytes+1 {
		return unix.EAGAIN
	}
	return err
}

// control calls do with the descriptor, which can't be closed and reused meanwhile, again as long as a signal
// interrupts it.
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
		return fs.ErrClosed // Control fails for no other reason, and its own error matches nothing
	}
	return failed
}

// FreeBytes is how much room is left to us on the disk of a directory; false: that isn't known.
func FreeBytes(dir string) (int64, bool) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return 0, false
	}
	return int64(s.Bavail) * s.Bsize, true
}
