package vfs

import (
	"io"
	"io/fs"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// overlayPageBytes is the size of a page, the unit in which an Overlay copies content that is written to.
const overlayPageBytes = 16 << 10

// overlayFile is the content of one file of an Overlay: the pages that were written to, in front of a file of the base.
//
// mu guards all fields below it. It is taken after the tree's mu. Invariants: visibleBytes <= sizeBytes; base is open
// if and only if users > 0 and below is not nil. A byte of the file is that of its page if pages has the page.
// Otherwise it is that of the base's file if its position is below visibleBytes, and zero if not.
type overlayFile struct {
	below FS     // the base; nil if it has no such file
	name  string // name of the file in below

	mu           sync.RWMutex
	visibleBytes int64 // how many bytes of the base's file can still be seen
	sizeBytes    int64
	pages        map[int64]*[overlayPageBytes]byte // by position / overlayPageBytes; nil if nothing was written
	modified     time.Time
	// base is the file of the base, open for reading.
	base  File
	users int // number of open handles
}

// open returns a new handle on the file. name is used in errors.
func (f *overlayFile) open(name string, readOnly bool) (File, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.base == nil && f.below != nil {
		base, err := f.below.OpenRead(f.name)
		if err != nil {
			return nil, pathError("open", name, cause(err))
		}
		f.base = base
	}
	f.users++
	return &overlayHandle{file: f, name: name, readOnly: readOnly}, nil
}

// release ends the use of the file by one handle, which calls it once. The last call closes the base's file.
func (f *overlayFile) release() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.users--
	if f.users > 0 || f.base == nil {
		return nil
	}
	err := f.base.Close()
	f.base = nil
	return err
}

func (f *overlayFile) info(name string) Info {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return Info{Name: name, SizeBytes: f.sizeBytes, Modified: f.modified}
}

// unlink does nothing: open handles stay usable, and no limit counts the bytes.
func (f *overlayFile) unlink() {}

func (f *overlayFile) readAt(p []byte, off int64) (int, error) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	p, eof := clip(p, off, f.sizeBytes)
	for n := 0; n < len(p); {
		at := off + int64(n)
		within := at % overlayPageBytes
		part := p[n:min(len(p), n+int(overlayPageBytes-within))]
		if page := f.pages[at/overlayPageBytes]; page != nil {
			copy(part, page[within:])
		} else {
			// One read covers all consecutive pages that were not written to.
			for end := n + len(part); end < len(p) && f.pages[(off+int64(end))/overlayPageBytes] == nil; {
				end = min(len(p), end+overlayPageBytes)
				part = p[n:end]
			}
			if err := f.readBelow(part, at); err != nil {
				return n, err
			}
		}
		n += len(part)
	}
	return len(p), eof
}

// readBelow fills p with the bytes of the base's file from off on, as far as they can be seen, and then with zeros.
// f.mu must be held.
func (f *overlayFile) readBelow(p []byte, off int64) error {
	seen := max(0, min(int64(len(p)), f.visibleBytes-off))
	clear(p[seen:])
	if seen == 0 {
		return nil
	}
	n, err := f.base.ReadAt(p[:seen], off)
	if int64(n) == seen {
		return nil
	}
	if err == nil || err == io.EOF {
		err = io.ErrUnexpectedEOF // the base's file was cut while the Overlay was in use
	}
	return err
}

func (f *overlayFile) writeAt(p []byte, off int64) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(p) == 0 {
		return 0, nil
	}
	f.modified = time.Now()
	for n := 0; n < len(p); {
		at := off + int64(n)
		page, err := f.writable(at / overlayPageBytes)
		if err != nil {
			return n, err
		}
		n += copy(page[at%overlayPageBytes:], p[n:])
		f.sizeBytes = max(f.sizeBytes, off+int64(n))
	}
	return len(p), nil
}

// writable returns page i for writing. At its first call for i it copies the page from the base. f.mu must be held.
func (f *overlayFile) writable(i int64) (*[overlayPageBytes]byte, error) {
	if page := f.pages[i]; page != nil {
		return page, nil
	}
	page := new([overlayPageBytes]byte)
	if err := f.readBelow(page[:], i*overlayPageBytes); err != nil {
		return nil, err
	}
	if f.pages == nil {
		f.pages = map[int64]*[overlayPageBytes]byte{}
	}
	f.pages[i] = page
	return page, nil
}

// truncate sets the length of the file. Bytes that it cuts off are zeros when the file is extended again.
func (f *overlayFile) truncate(sizeBytes int64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.modified = time.Now()
	f.visibleBytes = min(f.visibleBytes, sizeBytes)
	for i, page := range f.pages {
		switch first := i * overlayPageBytes; {
		case first >= sizeBytes:
			delete(f.pages, i)
		case first+overlayPageBytes > sizeBytes:
			clear(page[sizeBytes-first:])
		}
	}
	f.sizeBytes = sizeBytes
	return nil
}

// overlayHandle is an open file of an Overlay. Its methods are safe for concurrent use.
type overlayHandle struct {
	file     *overlayFile
	name     string
	readOnly bool
	closed   atomic.Bool
}

func (h *overlayHandle) ReadAt(p []byte, off int64) (int, error) {
	if err := h.check("read", off, false); err != nil {
		return 0, err
	}
	n, err := h.file.readAt(p, off)
	if err == io.EOF {
		return n, err
	}
	return n, pathError("read", h.name, err)
}

func (h *overlayHandle) WriteAt(p []byte, off int64) (int, error) {
	if err := h.check("write", off, true); err != nil {
		return 0, err
	}
	n, err := h.file.writeAt(p, off)
	return n, pathError("write", h.name, err)
}

func (h *overlayHandle) WriteParts(parts [][]byte, off int64, _ Hint) (int, error) {
	return h.WriteAt(slices.Concat(parts...), off)
}

func (h *overlayHandle) ReadUncached(sizeBytes int, off int64) ([]byte, error) {
	return readWhole(h, sizeBytes, off)
}

func (h *overlayHandle) Size() (int64, error) {
	if err := h.check("size", 0, false); err != nil {
		return 0, err
	}
	h.file.mu.RLock()
	defer h.file.mu.RUnlock()
	return h.file.sizeBytes, nil
}

func (h *overlayHandle) Truncate(sizeBytes int64) error {
	if err := h.check("truncate", sizeBytes, true); err != nil {
		return err
	}
	return pathError("truncate", h.name, h.file.truncate(sizeBytes))
}

func (h *overlayHandle) Allocate(sizeBytes int64) error {
	if err := h.check("allocate", sizeBytes, true); err != nil {
		return err
	}
	h.file.mu.Lock()
	defer h.file.mu.Unlock()
	h.file.sizeBytes = max(h.file.sizeBytes, sizeBytes)
	return nil
}

func (h *overlayHandle) Sync() error { return h.check("sync", 0, true) }

func (h *overlayHandle) WriteOut(from, _ int64, _ bool) error {
	return h.check("write out", from, true)
}

func (h *overlayHandle) Close() error {
	if h.closed.Swap(true) {
		return pathError("close", h.name, fs.ErrClosed)
	}
	return h.file.release()
}

// check returns an error if an operation at off is not possible: if the handle is closed, off is negative, or toWrite
// is true and the handle is for reading only.
func (h *overlayHandle) check(op string, off int64, toWrite bool) error {
	switch {
	case h.closed.Load():
		return pathError(op, h.name, fs.ErrClosed)
	case off < 0:
		return pathError(op, h.name, fs.ErrInvalid)
	case toWrite && h.readOnly:
		return pathError(op, h.name, syscall.EBADF)
	}
	return nil
}
