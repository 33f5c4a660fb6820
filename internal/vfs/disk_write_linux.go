package vfs

import (
	"errors"
	"io"
	"os"
	"strconv"
	"sync"
	"syscall"
	"unsafe"
)

// maxVector is the largest number of parts that one system call gets. The kernel would accept 1,024.
const maxVector = 256

// vectors is a pool of arguments for pwritev.
var vectors = sync.Pool{New: func() any { return new([maxVector]syscall.Iovec) }}

// writeVector writes the parts at off by pwritev, without joining them. It returns the number of bytes written.
func writeVector(f *os.File, parts [][]byte, off int64) (written int, err error) {
	if len(parts) == 1 {
		return f.WriteAt(parts[0], off)
	}
	vector := vectors.Get().(*[maxVector]syscall.Iovec)
	defer func() {
		clear(vector[:])
		vectors.Put(vector)
	}()
	r := partsReader{parts: parts}
	for {
		rest, count := r, 0
		for count < maxVector {
			p := r.next(1 << 30)
			if p == nil {
				break
			}
			vector[count].Base = &p[0]
			vector[count].SetLen(len(p))
			count++
		}
		if count == 0 {
			return written, nil
		}
		n := 0
		err := control(f, func(fd int) (err error) {
			n, err = pwritev(fd, vector[:count], off+int64(written))
			return err
		})
		if err != nil {
			return written, err
		}
		if n == 0 {
			return written, io.ErrShortWrite
		}
		written += n
		// The kernel may have written only a part of the vector.
		for r = rest; n > 0; {
			n -= len(r.next(n))
		}
	}
}

// pwritev writes the buffers of vector at off by one system call, and returns the number of bytes written.
func pwritev(fd int, vector []syscall.Iovec, off int64) (int, error) {
	// On a system with 32-bit registers the kernel takes the offset in two halves. With 64-bit registers it ignores the
	// second argument.
	low, high := uintptr(off), uintptr(uint64(off)>>(strconv.IntSize/2)>>(strconv.IntSize/2))
	n, _, errno := syscall.Syscall6(syscall.SYS_PWRITEV, uintptr(fd), uintptr(unsafe.Pointer(&vector[0])), uintptr(len(vector)), low, high, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// These constants control which reads and writes bypass the page cache (docs/adr/0007-segments-past-the-page-cache.md,
// docs/adr/0011-short-commits-past-the-page-cache.md). For direct I/O the kernel requires that position, length and
// memory are aligned to the disk's sectors. Pages are aligned to all sector sizes.
const (
	// largeBytes is the size from which on reads and writes bypass the page cache.
	largeBytes = 256 << 10
	// shortBytes is the size up to which a write that is synced at once bypasses the page cache.
	shortBytes = 64 << 10
	// directAlign is the size of a page.
	directAlign = 4 << 10
	// directWriteBytes is the size of the largest direct write. A sync of another file may have to wait for that
	// amount.
	directWriteBytes = 1 << 20
)

// alignedBuffer is page-aligned memory into which the parts of a write are copied.
type alignedBuffer struct{ b []byte }

// directBuffers is a pool of buffers of directWriteBytes each.
var directBuffers = sync.Pool{New: func() any {
	return &alignedBuffer{alignedMemory(directWriteBytes)}
}}

// directFile is a second descriptor of a file, which the first large read or write opens with O_DIRECT. The zero value
// is ready for use. mu guards f and failed. f is nil if it is not open yet, and after failed is set.
type directFile struct {
	mu     sync.Mutex
	f      *os.File
	failed bool // the file system has no direct I/O or has refused it once, or the file is closed
}

// write writes the parts at off and returns the number of bytes written. It writes whole pages by direct I/O, and the
// bytes before and after them through the page cache. If the file system has no direct I/O, it writes everything
// through the page cache.
func (b *directFile) write(f *os.File, parts [][]byte, off int64) (written int, err error) {
	direct := b.open(f, os.O_RDWR)
	if direct == nil {
		return writeVector(f, parts, off)
	}
	buffer := directBuffers.Get().(*alignedBuffer)
	defer directBuffers.Put(buffer)
	r, total := partsReader{parts: parts}, partsBytes(parts)
	for written < total {
		at, to, size := off+int64(written), direct, total-written
		switch before := int(-at & (directAlign - 1)); {
		case before > 0:
			to, size = f, min(before, size)
		case size < directAlign:
			to = f
		default:
			size = min(size, directWriteBytes) &^ (directAlign - 1)
		}
		piece := buffer.b[:size]
		r.fill(piece)
		n, err := to.WriteAt(piece, at)
		if n == 0 && to == direct && errors.Is(err, syscall.EINVAL) {
			b.disable()
			direct = f
			n, err = f.WriteAt(piece, at)
		}
		written += n
		if err != nil {
			return written, err
		}
	}
	return written, nil
}

// shortBuffers is a pool of buffers of shortBytes each.
var shortBuffers = sync.Pool{New: func() any {
	return &alignedBuffer{alignedMemory(shortBytes)}
}}

// writeShort writes the parts by one direct write, if the file system has direct I/O. Together they are sizeBytes long,
// a whole number of sectors and at most shortBytes.
func (b *directFile) writeShort(f *os.File, parts [][]byte, sizeBytes int, off int64) (int, error) {
	direct := b.open(f, os.O_RDWR)
	if direct == nil {
		return writeVector(f, parts, off)
	}
	buffer := shortBuffers.Get().(*alignedBuffer)
	defer shortBuffers.Put(buffer)
	sectors := buffer.b[:sizeBytes]
	r := partsReader{parts: parts}
	r.fill(sectors)
	n, err := direct.WriteAt(sectors, off)
	if n == 0 && errors.Is(err, syscall.EINVAL) { // the disk has larger sectors than 512 bytes
		b.disable()
		return f.WriteAt(sectors, off)
	}
	return n, err
}

// open returns the second descriptor of f, or nil if the file system has no direct I/O. It opens the descriptor at its
// first call, through /proc, so that it refers to the same file even if f was renamed. how must be the same in each
// call: os.O_RDWR or os.O_RDONLY, as f was opened.
func (b *directFile) open(f *os.File, how int) *os.File {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.f != nil || b.failed {
		return b.f
	}
	err := control(f, func(fd int) (err error) {
		b.f, err = os.OpenFile("/proc/self/fd/"+strconv.Itoa(fd), how|syscall.O_DIRECT, 0)
		return err
	})
	if err != nil {
		b.f, b.failed = nil, true
	}
	return b.f
}

// disable ends direct I/O on the file. It is called when the file system has refused it.
func (b *directFile) disable() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.failed = true
	if b.f != nil {
		b.f.Close()
		b.f = nil
	}
}

// close closes the second descriptor. It ignores an error, since each write has returned its own errors.
func (b *directFile) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.f != nil {
		b.f.Close()
		b.f = nil
	}
	b.failed = true
}
