package vfs

import (
	"io/fs"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	sectorBytes    = 512  // size of the unit that a disk writes as a whole or not at all
	memPageBytes   = 4096 // unit of copy-on-write
	sectorsPerPage = memPageBytes / sectorBytes
)

// memPage is a page of a file. A page in memContent.durable never changes, so that clones can share it. A nil *memPage
// stands for a page of zeros.
type memPage [memPageBytes]byte

// memContent is the content of one file in two states: as readers see it, and as it is durable. The two states share
// the pages that are equal.
//
// mu guards all fields below it. It is taken after the tree's mu. A page that is in both pages and durable at the same
// index is never written to, since writable copies it first. dirty contains each page that differs from its durable
// state.
type memContent struct {
	mem *Mem

	mu        sync.RWMutex
	sizeBytes int64
	pages     []*memPage // content as readers see it; its length is sizeBytes in pages, rounded up
	modified  time.Time
	counted   int64 // how many bytes of the file are counted in Mem.usedBytes
	unlinked  bool  // the file has no name any more, so that it is not counted

	durableBytes int64
	durable      []*memPage
	dirty        map[int]memDirty // the pages that differ, or may differ, from their durable state, by index
}

// memDirty describes how a page has come to differ from its durable state.
type memDirty struct {
	writes int // number of writes to the page since the last sync
	// between is the page as it was before one of these writes, or nil. A disk may have that state and not the last
	// one.
	between *memPage
}

func newMemContent(m *Mem) *memContent {
	return &memContent{mem: m, modified: time.Now(), dirty: map[int]memDirty{}}
}

// open returns an open file. The methods of the file hold the tree's mu for reading, so that PowerOff does not happen
// in the middle of one.
func (c *memContent) open(name string, readOnly bool) (File, error) {
	return &memFile{mem: c.mem, content: c, name: name, readOnly: readOnly}, nil
}

func (c *memContent) info(name string) Info {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return Info{Name: name, SizeBytes: c.sizeBytes, Modified: c.modified}
}

// readAt does what File.ReadAt does. The caller must hold the tree's mu.
func (c *memContent) readAt(p []byte, off int64) (int, error) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	p, eof := clip(p, off, c.sizeBytes)
	n := 0
	for n < len(p) {
		at := off + int64(n)
		i, within := int(at/memPageBytes), int(at%memPageBytes)
		part := p[n:min(len(p), n+memPageBytes-within)]
		if page := c.pages[i]; page != nil {
			copy(part, page[within:])
		} else {
			clear(part)
		}
		n += len(part)
	}
	return n, eof
}

// writeAt writes p at off and extends the file if necessary. If the limit of the Mem allows only a part of the write,
// writeAt writes that part and returns ENOSPC. The caller must hold the tree's mu.
func (c *memContent) writeAt(p []byte, off int64) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(p) == 0 {
		return 0, nil
	}
	var full error
	if end := off + int64(len(p)); end > c.sizeBytes {
		granted := c.reserve(end)
		if granted < end {
			p, full = p[:max(0, granted-off)], syscall.ENOSPC
		}
		// If not even the first byte fits, the file keeps its length.
		if len(p) > 0 {
			c.resize(off + int64(len(p)))
		}
		c.correctUsage()
	}
	n := 0
	for n < len(p) {
		at := off + int64(n)
		i, within := int(at/memPageBytes), int(at%memPageBytes)
		n += copy(c.writable(i)[within:], p[n:])
	}
	c.modified = time.Now()
	return n, full
}

// writable returns page i for writing. It first copies a page that is part of the durable state. c.mu must be held.
func (c *memContent) writable(i int) *memPage {
	page := c.pages[i]
	d, dirty := c.dirty[i]
	switch {
	case page == nil:
		page = new(memPage)
		c.pages[i] = page
	case i < len(c.durable) && c.durable[i] == page:
		copied := *page
		page = &copied
		c.pages[i] = page
	case dirty && d.writes&(d.writes-1) == 0:
		// The page is copied before the 2nd, 3rd, 5th, 9th, … write. That gives states in between, and costs little for
		// a page that is filled by many small writes.
		copied := *page
		d.between = &copied
	}
	d.writes++
	c.dirty[i] = d
	return page
}

// resize sets the length of the file. It drops pages beyond the new length, adds nil pages, and enters in dirty the
// pages that then differ from the durable state. c.mu must be held.
func (c *memContent) resize(sizeBytes int64) {
	pages := int((sizeBytes + memPageBytes - 1) / memPageBytes)
	if sizeBytes < c.sizeBytes {
		if within := sizeBytes % memPageBytes; within != 0 && c.pages[pages-1] != nil {
			clear(c.writable(pages - 1)[within:])
		}
		for i := pages; i < len(c.pages); i++ {
			if i < len(c.durable) && c.durable[i] != nil {
				c.dirty[i] = memDirty{writes: 1}
			} else {
				delete(c.dirty, i)
			}
		}
		clear(c.pages[pages:])
		c.pages = c.pages[:pages]
	}
	for len(c.pages) < pages {
		if missing := pages - len(c.pages); missing > cap(c.pages)-len(c.pages) {
			c.pages = append(make([]*memPage, 0, len(c.pages)+max(missing, len(c.pages)/2)), c.pages...)
		}
		c.pages = append(c.pages, nil)
	}
	c.sizeBytes = sizeBytes
	c.modified = time.Now()
}

func (c *memContent) truncate(sizeBytes int64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if sizeBytes < 0 {
		return syscall.EINVAL
	}
	defer c.correctUsage()
	if sizeBytes > c.sizeBytes && c.reserve(sizeBytes) < sizeBytes {
		return syscall.ENOSPC
	}
	c.resize(sizeBytes)
	return nil
}

func (c *memContent) allocate(sizeBytes int64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if sizeBytes <= c.sizeBytes {
		return nil
	}
	defer c.correctUsage()
	if c.reserve(sizeBytes) < sizeBytes {
		return syscall.ENOSPC
	}
	c.resize(sizeBytes)
	return nil
}

// sync makes the content and the length durable.
func (c *memContent) sync() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.durable) > len(c.pages) {
		clear(c.durable[len(c.pages):])
		c.durable = c.durable[:len(c.pages)]
	}
	if missing := len(c.pages) - len(c.durable); missing > 0 {
		c.durable = append(c.durable, make([]*memPage, missing)...)
	}
	for i := range c.dirty {
		if i < len(c.pages) {
			c.durable[i] = c.pages[i]
		}
	}
	clear(c.dirty)
	c.durableBytes = c.sizeBytes
}

// reserve counts the growth of the file to sizeBytes in Mem.usedBytes and returns the length that the limit allows,
// which is sizeBytes or less. The caller must call correctUsage after it has set the length. c.mu must be held.
func (c *memContent) reserve(sizeBytes int64) int64 {
	if c.unlinked {
		return sizeBytes
	}
	want := sizeBytes - c.sizeBytes
	limit := c.mem.limitBytes.Load()
	used := c.mem.usedBytes.Add(want)
	if limit == 0 || used <= limit {
		c.counted += want
		return sizeBytes
	}
	over := min(want, used-limit)
	c.mem.usedBytes.Add(-over)
	c.counted += want - over
	return sizeBytes - over
}

// correctUsage makes the number of bytes that are counted in Mem.usedBytes equal to the file's length. c.mu must be
// held.
func (c *memContent) correctUsage() {
	if c.unlinked {
		return
	}
	c.mem.usedBytes.Add(c.sizeBytes - c.counted)
	c.counted = c.sizeBytes
}

// unlink stops counting the file in Mem.usedBytes. It is called when the file has lost its name.
func (c *memContent) unlink() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.unlinked {
		return
	}
	c.unlinked = true
	c.mem.usedBytes.Add(-c.counted)
	c.counted = 0
}

// memFile is an open file of a Mem. Its methods are safe for concurrent use.
type memFile struct {
	mem      *Mem
	content  *memContent
	name     string
	readOnly bool
	closed   atomic.Bool
}

// enter takes the tree's mu for reading, for an operation on the content of the file; the caller must release it. If
// the file is closed, the power is off, or changes is true for a file that is open for reading only, enter returns an
// error and holds no lock.
func (f *memFile) enter(op string, changes bool) error {
	f.mem.mu.RLock()
	var err error
	switch {
	case f.closed.Load():
		err = fs.ErrClosed
	case f.mem.failure != nil:
		err = f.mem.failure
	case changes && f.readOnly:
		err = syscall.EBADF
	default:
		return nil
	}
	f.mem.mu.RUnlock()
	return pathError(op, f.name, err)
}

func (f *memFile) ReadAt(p []byte, off int64) (int, error) {
	if err := f.enter("read", false); err != nil {
		return 0, err
	}
	defer f.mem.mu.RUnlock()
	if off < 0 {
		return 0, pathError("read", f.name, syscall.EINVAL)
	}
	return f.content.readAt(p, off)
}

func (f *memFile) WriteAt(p []byte, off int64) (int, error) {
	if err := f.enter("write", true); err != nil {
		return 0, err
	}
	defer f.mem.mu.RUnlock()
	if off < 0 {
		return 0, pathError("write", f.name, syscall.EINVAL)
	}
	n, err := f.content.writeAt(p, off)
	return n, pathError("write", f.name, err)
}

// WriteParts implements File. The parts are one write: a power cut may keep any of its sectors, from any part.
func (f *memFile) WriteParts(parts [][]byte, off int64, _ Hint) (int, error) {
	return f.WriteAt(slices.Concat(parts...), off)
}

func (f *memFile) ReadUncached(sizeBytes int, off int64) ([]byte, error) {
	return readWhole(f, sizeBytes, off)
}

// Close implements File. It also works after PowerOff, since it changes nothing on the disk.
func (f *memFile) Close() error {
	if f.closed.Swap(true) {
		return pathError("close", f.name, fs.ErrClosed)
	}
	return nil
}

func (f *memFile) Size() (int64, error) {
	if err := f.enter("stat", false); err != nil {
		return 0, err
	}
	defer f.mem.mu.RUnlock()
	f.content.mu.RLock()
	defer f.content.mu.RUnlock()
	return f.content.sizeBytes, nil
}

func (f *memFile) Truncate(sizeBytes int64) error {
	if err := f.enter("truncate", true); err != nil {
		return err
	}
	defer f.mem.mu.RUnlock()
	return pathError("truncate", f.name, f.content.truncate(sizeBytes))
}

func (f *memFile) Allocate(sizeBytes int64) error {
	if err := f.enter("allocate", true); err != nil {
		return err
	}
	defer f.mem.mu.RUnlock()
	return pathError("allocate", f.name, f.content.allocate(sizeBytes))
}

// WriteOut implements File. It does nothing, because CrashClone may keep or lose unsynced content in any case.
func (f *memFile) WriteOut(from, sizeBytes int64, _ bool) error {
	if err := f.enter("write out", true); err != nil {
		return err
	}
	defer f.mem.mu.RUnlock()
	if from < 0 || sizeBytes < 0 {
		return pathError("write out", f.name, syscall.EINVAL)
	}
	return nil
}

func (f *memFile) Sync() error {
	if err := f.enter("sync", true); err != nil {
		return err
	}
	defer f.mem.mu.RUnlock()
	f.content.sync()
	return nil
}
