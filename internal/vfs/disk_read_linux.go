package vfs

import (
	"errors"
	"io"
	"os"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// pieceBytes is how much one system call reads past the page cache: pieces of one read are under way at once, since a
// disk that is asked for one thing at a time is idle in between.
const pieceBytes = 1 << 20

// read reads what the page cache has from there, and otherwise by direct I/O, without a copy, in whole pages from around
// it. Where direct I/O isn't offered all goes through the page cache.
func (b *bypass) read(f *os.File, how, sizeBytes int, off int64) ([]byte, error) {
	skip := int(off & (bypassAlign - 1))
	pages := alignedMemory((skip + sizeBytes + bypassAlign - 1) &^ (bypassAlign - 1))
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
		b.refuse()
		return readWhole(f, sizeBytes, off)
	case err != nil:
		return nil, err
	case got < skip+sizeBytes:
		return asked[:max(0, got-skip)], io.EOF
	}
	return asked, nil
}

// alignedMemory returns memory that direct I/O can be done to.
func alignedMemory(sizeBytes int) []byte {
	b := make([]byte, sizeBytes+bypassAlign)
	skip := -int(uintptr(unsafe.Pointer(&b[0]))) & (bypassAlign - 1)
	return b[skip : skip+sizeBytes : skip+sizeBytes]
}

// readCached reads if all of it is in the page cache. Linux 6.5 and later are asked first, since there an attempt to read
// what isn't has the kernel read ahead: all of a file would come by the cache after all.
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

// readPieces reads to the end of p or of the file, and says how much that was.
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

// readPiece reads with as few calls as the kernel allows. A call that ends elsewhere than at a page has met the end of the
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
		if got += n; n == 0 || n%bypassAlign != 0 {
			break
		}
	}
	return got, nil
}
