package vfs

import (
	"errors"
	"io"
	"os"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// pieceBytes is the largest number of bytes that one system call reads past the page cache. The pieces of one read are
// requested
const pieceBytes = 1 << 20

// read implements File.ReadUncached. how is the mode in which f is open, os.O_RDWR or os.O_RDONLY. If the whole range
// is in the page cache, read reads it from there. Otherwise it reads the whole pages that contain the range by direct
// I/O, without a copy. If the file system has no direct I/O, it reads through the page cache.
func (b *directFile) read(f *os.File, how, sizeBytes int, off int64) ([]byte, error) {
	skip := int(off & (directAlign - 1))
	pages := alignedMemory((skip + sizeBytes + directAlign - 1) &^ (directAlign - 1))
	asked := pages[skip : skip+sizeBytes : skip+sizeBytes]
	if readCached(f, asked, off) {
		return asked, nil
	}
	direct := b.open(f, how)
	if direct == nil {
		return readWhole(f, sizeBytes, off)
	}
	got, err := readPieces(direct, pages, off-int64(skip))
	switch {
	case errors.Is(err, unix.EINVAL):
		b.disable()
		return readWhole(f, sizeBytes, off)
	case err != nil:
		return nil, err
	case got < skip+sizeBytes:
		return asked[:max(0, got-skip)], io.EOF
	}
	return asked, nil
}

// alignedMemory returns memory that begins at a page boundary, as direct I/O requires.
func alignedMemory(sizeBytes int) []byte {
	b := make([]byte, sizeBytes+directAlign)
	skip := -int(uintptr(unsafe.Pointer(&b[0]))) & (directAlign - 1)
	return b[skip : skip+sizeBytes : skip+sizeBytes]
}

// readCached fills p and returns true if the whole range is in the page cache. On Linux 6.5 and later it first asks the
// kernel whether it is: there an attempt to read bytes that are not cached starts the kernel's read-ahead, which would
// bring the whole file into the page cache.
func readCached(f *os.File, p []byte, off int64) bool {
	n := 0
	err := control(f, func(fd int) (err error) {
		if allCached(fd, len(p), off) == unix.EAGAIN {
			return unix.EAGAIN
		}
		n, err = unix.Preadv2(fd, [][]byte{p}, off, unix.RWF_NOWAIT)
		return err
	})
	return err == nil && n == len(p)
}

// readPieces reads until p is full or the file ends, and returns the number of bytes read.
func readPieces(f *os.File, p []byte, off int64) (int, error) {
	count := (len(p) + pieceBytes - 1) / pieceBytes
	sizes, errs := make([]int, count), make([]error, count)
	var pieces sync.WaitGroup
	for i := range count {
		pieces.Go(func() {
			at := i * pieceBytes
			sizes[i], errs[i] = readPiece(f, p[at:min(at+pieceBytes, len(p))], off+int64(at))
		})
	}
	pieces.Wait()
	got := 0
	for i, n := range sizes {
		if errs[i] != nil {
			return got, errs[i]
		}
		if got += n; n < pieceBytes {
			break
		}
	}
	return got, nil
}

// readPiece reads until p is full or the file ends. A system call that ends inside a page has reached the end of the
// file.
func readPiece(f *os.File, p []byte, off int64) (got int, err error) {
	for got < len(p) {
		n := 0
		err := control(f, func(fd int) (err error) {
			n, err = unix.Pread(fd, p[got:], off+int64(got))
			return err
		})
		if err != nil {
			return got, err
		}
		if got += n; n == 0 || n%directAlign != 0 {
			break
		}
	}
	return got, nil
}
