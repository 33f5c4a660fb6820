package vfs

import (
	"io"
	"os"
	"syscall"
)

// diskFile is an open file of an FS that Disk has returned.
type diskFile struct {
	f        *os.File
	name     string // name that was passed to the FS, for errors
	readOnly bool
	direct   directFile // for reads and writes that bypass the page cache
}

func (f *diskFile) ReadAt(p []byte, off int64) (int, error) {
	n, err := f.f.ReadAt(p, off)
	if err != nil && err != io.EOF {
		err = pathError("read", f.name, err)
	}
	return n, err
}

func (f *diskFile) ReadUncached(sizeBytes int, off int64) ([]byte, error) {
	var b []byte
	var err error
	if off >= 0 && sizeBytes >= largeBytes {
		how := os.O_RDWR
		if f.readOnly {
			how = os.O_RDONLY
		}
		b, err = f.direct.read(f.f, how, sizeBytes, off)
	} else {
		b, err = readWhole(f.f, sizeBytes, off)
	}
	if err != nil && err != io.EOF {
		err = pathError("read", f.name, err)
	}
	return b, err
}

func (f *diskFile) WriteAt(p []byte, off int64) (int, error) {
	if f.readOnly {
		return 0, pathError("write", f.name, syscall.EBADF)
	}
	n, err := f.f.WriteAt(p, off)
	return n, pathError("write", f.name, err)
}

func (f *diskFile) WriteParts(parts [][]byte, off int64, hint Hint) (int, error) {
	if f.readOnly {
		return 0, pathError("write", f.name, syscall.EBADF)
	}
	if off < 0 {
		return 0, pathError("write", f.name, syscall.EINVAL)
	}
	var n int
	var err error
	size := partsBytes(parts)
	switch {
	case hint == WontRead && size >= largeBytes:
		n, err = f.direct.write(f.f, parts, off)
	case hint == WillSync && size <= shortBytes && (off|int64(size))%sectorBytes == 0:
		n, err = f.direct.writeShort(f.f, parts, size, off)
	default:
		n, err = writeVector(f.f, parts, off)
	}
	return n, pathError("write", f.name, err)
}

func (f *diskFile) Close() error {
	f.direct.close()
	return pathError("close", f.name, f.f.Close())
}

func (f *diskFile) Size() (int64, error) {
	info, err := f.f.Stat()
	if err != nil {
		return 0, pathError("stat", f.name, err)
	}
	return info.Size(), nil
}

func (f *diskFile) Truncate(sizeBytes int64) error {
	if f.readOnly {
		return pathError("truncate", f.name, syscall.EBADF)
	}
	return pathError("truncate", f.name, f.f.Truncate(sizeBytes))
}

// Allocate implements File. It reserves the blocks, so that a full disk is an error at this point, and then writes
// zeros after the old end of the file. Blocks that are only reserved are marked as unwritten, and the first write to
// each would change metadata. With the zeros a write and sync of 4 KiB took 100 µs when measured, and without them 184
// µs.
func (f *diskFile) Allocate(sizeBytes int64) error {
	if f.readOnly {
		return pathError("allocate", f.name, syscall.EBADF)
	}
	old, err := f.Size()
	if err != nil {
		return err
	}
	if sizeBytes <= old {
		return nil
	}
	if err := reserve(f.f, sizeBytes); err != nil {
		// The blocks that were reserved before the disk was full are given back.
		_ = f.f.Truncate(old)
		return pathError("allocate", f.name, err)
	}
	for at := old; at < sizeBytes; {
		n, err := f.f.WriteAt(zeros[:min(int64(len(zeros)), sizeBytes-at)], at)
		if err != nil {
			return pathError("allocate", f.name, err)
		}
		at += int64(n)
	}
	return nil
}

func (f *diskFile) Sync() error {
	if f.readOnly {
		return pathError("sync", f.name, syscall.EBADF)
	}
	return pathError("sync", f.name, syncData(f.f))
}

func (f *diskFile) WriteOut(from, sizeBytes int64, wait bool) error {
	switch {
	case f.readOnly:
		return pathError("write out", f.name, syscall.EBADF)
	case from < 0 || sizeBytes < 0:
		return pathError("write out", f.name, syscall.EINVAL)
	case sizeBytes == 0: // the kernel would take 0 to mean the rest of the file
		return nil
	}
	return pathError("write out", f.name, writeOut(f.f, from, sizeBytes, wait))
}

// zeros are the bytes that Allocate writes. They must not be changed.
var zeros [256 << 10]byte
