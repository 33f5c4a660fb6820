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

// maxVector is how many parts go into one system call; the kernel takes 1,024.
const maxVector = 256

var vectors = sync.Pool{New: func() any { return new([maxVector]syscall.Iovec) }}

// writeVector writes the parts by pwritev, without joining them.
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
		// The kernel may take less than all: go on behind that.
		for r = rest; n > 0; {
			n -= len(r.next(n))
		}
	}
}

func pwritev(fd int, vector []syscall.Iovec, off int64) (int, error) {
	// The position goes in two halves where a register has 32 bits; the second is not looked at where it has 64.
	low, high := uintptr(off), uintptr(uint64(off)>>(strconv.IntSize/2)>>(strconv.IntSize/2))
	n, _, errno := syscall.Syscall6(syscall.SYS_PWRITEV, uintptr(fd), uintptr(unsafe.Pointer(&vector[0])), uintptr(len(vector)), low, high, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// What passes by the page cache (docs/adr/0007-segments-past-the-page-cache.md, 0011-short-commits-past-the-page-cache.md).
// The kernel wants position, length and memory of such a write aligned to the disk's sectors; a page suits all.
const (
	throughBytes = 256 << 10 // less is better written through the page cache,
	shortBytes   = 64 << 10  // unless it is this short and synced at once
	bypassAlign  = 4 << 10
	bypassBytes  = 1 << 20 // of one write: a sync of another file may have to wait for one
)

// bypassBuffer is page-aligned memory that writes are gathered in.
type bypassBuffer struct{ b []byte }

var bypassBuffers = sync.Pool{New: func() any {
	return &bypassBuffer{alignedMemory(bypassBytes)}
}}

// bypass is a second descriptor of a file, opened with O_DIRECT at the first large write or read. The zero value is ready.
type bypass struct {
	mu     sync.Mutex
	f      *os.File
	failed bool // the file system can't, or has refused once
}

// write writes the parts: whole pages by direct I/O, the few bytes before and behind them as any others. Where direct
// I/O isn't offered all goes through the page cache.
func (b *bypass) write(f *os.File, parts [][]byte, off int64) (written int, err error) {
	direct := b.open(f, os.O_RDWR)
	if direct == nil {
		return writeVector(f, parts, off)
	}
	buffer := bypassBuffers.Get().(*bypassBuffer)
	defer bypassBuffers.Put(buffer)
	r, total := partsReader{parts: parts}, partsBytes(parts)
	for written < total {
		at, to, size := off+int64(written), direct, total-written
		switch before := int(-at & (bypassAlign - 1)); {
		case before > 0:
			to, size = f, min(before, size)
		case size < bypassAlign:
			to = f
		default:
			size = min(size, bypassBytes) &^ (bypassAlign - 1)
		}
		piece := buffer.b[:size]
		r.fill(piece)
		n, err := to.WriteAt(piece, at)
		if n == 0 && to == direct && errors.Is(err, syscall.EINVAL) {
			b.refuse()
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

var shortBuffers = sync.Pool{New: func() any {
	return &bypassBuffer{alignedMemory(shortBytes)}
}}

// writeShort writes the parts, which are whole sectors, by one direct write where that is offered.
func (b *bypass) writeShort(f *os.File, parts [][]byte, sizeBytes int, off int64) (int, error) {
	direct := b.open(f, os.O_RDWR)
	if direct == nil {
		return writeVector(f, parts, off)
	}
	buffer := shortBuffers.Get().(*bypassBuffer)
	defer shortBuffers.Put(buffer)
	sectors := buffer.b[:sizeBytes]
	r := partsReader{parts: parts}
	r.fill(sectors)
	n, err := direct.WriteAt(sectors, off)
	if n == 0 && errors.Is(err, syscall.EINVAL) { // the disk has larger sectors
		b.refuse()
		return f.WriteAt(sectors, off)
	}
	return n, err
}

// open returns the second descriptor, or nil. It leads to the same file, whatever its name is by now, and is opened as the
// first was, always the same way: os.O_RDWR or os.O_RDONLY.
func (b *bypass) open(f *os.File, how int) *os.File {
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

// refuse ends direct I/O on the file; who has the descriptor still may use it.
func (b *bypass) refuse() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.failed = true
	if b.f != nil {
		b.f.Close()
		b.f = nil
	}
}

// close gives the second descriptor back. What was written by it was written, so that there is nothing to be told.
func (b *bypass) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.f != nil {
		b.f.Close()
		b.f = nil
	}
	b.failed = true
}
