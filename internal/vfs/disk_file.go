package vfs

import (
	"io"
	"os"
	"syscall"
)

// diskFile is an open file of a disk.
type diskFile struct {
	f        *os.File
	name     string // as the caller gave it, for errors
	readOnly bool
	bypass   bypass // of the page cache
}

func (f *diskFile) ReadAt(p []byte, off int64) (int, error) {
	n, err := f.f.ReadAt(p, off)
	if err != nil && err != io.EOF {
		err = pathError("read", f.name, err)
	}
	return n, err
}

func (f *diskFile) ReadPast(sizeBytes int, off int64) ([]byte, error) {
	var b []byte
	var err error
	if off >= 0 && sizeBytes >= throughBytes {
		how := os.O_RDWR
		if f.readOnly {
			how = os.O_RDONLY
		}
		b, err = f.bypass.read(f.f, how, sizeBytes, off)
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
	case hint == WontRead && size >= throughBytes:
		n, err = f.bypass.write(f.f, parts, off)
	case hint == WillSync && size <= shortBytes && (off|int64(size))%sectorBytes == 0:
		n, err = f.bypass.writeShort(f.f, parts, size, off)
	default:
		n, err = writeVector(f.f, parts, off)
	}
	return n, pathError("write", f.name, err)
}

func (f *diskFile) Close() error {
	f.bypass.close()
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

// Allocate reserves the blocks, so that a full disk shows here, and then writes zeros from the old end on: blocks that
// are only reserved are marked as unwritten, and the first write to each would change metadata after all (measured:
// 184 instead of 100 µs for each sync of 4 KiB).
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
		// Blocks that were reserved before the disk ran full are given back.
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
	case sizeBytes == 0: // to the kernel it means "to the end"
		return nil
	}
	return pathError("write out", f.name, writeOut(f.f, from, sizeBytes, wait))
}

// zeros is what Allocate writes; nobody changes it.
var zeros [256 << 10]byte
