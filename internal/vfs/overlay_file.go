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

// overlayPageBytes is the unit in which an Overlay copies what is written to.
const overlayPageBytes = 16 << 10

// overlayFile is the content of one file of an Overlay: pages that were written, over the file below.
type overlayFile struct {
	below FS // nil: there is no file below
	name  string

	mu        sync.RWMutex
	shows     int64 // how many bytes of the file below can still be seen
	sizeBytes int64
	pages     map[int64]*[overlayPageBytes]byte
	modified  time.Time
	base      File // open while anybody has the file open
	users     int
}

// open returns a handle; name is for its errors. Caller holds the lock of the tree.
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

// release closes the file below with the last handle.
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

func (f *overlayFile) readAt(p []byte, off int64) (int, error) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if off >= f.sizeBytes {
		if len(p) == 0 {
			return 0, nil
		}
		return 0, io.EOF
	}
	short := int64(len(p)) > f.sizeBytes-off
	if short {
		p = p[:f.sizeBytes-off]
	}
	for n := 0; n < len(p); {
		at := off + int64(n)
		within := at % overlayPageBytes
		part := p[n:min(len(p), n+int(overlayPageBytes-within))]
		if page := f.pages[at/overlayPageBytes]; page != nil {
			copy(part, page[within:])
		} else {
			// As far as the pages that nobody wrote to go, one read does.
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
	if short {
		return len(p), io.EOF
	}
	return len(p), nil
}

// readBelow fills p with what shows of the file below, and zeros behind it. Caller holds mu.
func (f *overlayFile) readBelow(p []byte, off int64) error {
	seen := max(0, min(int64(len(p)), f.shows-off))
	clear(p[seen:])
	if seen == 0 {
		return nil
	}
	n, err := f.base.ReadAt(p[:seen], off)
	if int64(n) == seen {
		return nil
	}
	if err == nil || err == io.EOF {
		err = io.ErrUnexpectedEOF // the file below was cut meanwhile
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

// writable returns a page for writing, copied from below the first time. Caller holds mu.
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

// truncate sets the length; what is cut shows no more, and comes back as zeros.
func (f *overlayFile) truncate(sizeBytes int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.modified = time.Now()
	f.shows = min(f.shows, sizeBytes)
	for i, page := range f.pages {
		switch first := i * overlayPageBytes; {
		case first >= sizeBytes:
			delete(f.pages, i)
		case first+overlayPageBytes > sizeBytes:
			clear(page[sizeBytes-first:])
		}
	}
	f.sizeBytes = sizeBytes
}

// overlayHandle is an open file of an Overlay.
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

func (h *overlayHandle) ReadPast(sizeBytes int, off int64) ([]byte, error) {
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
	h.file.truncate(sizeBytes)
	return nil
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
