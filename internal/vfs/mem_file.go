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

const (
	sectorBytes    = 512  // what a disk writes whole or not at all
	memPageBytes   = 4096 // the unit of copy-on-write
	sectorsPerPage = memPageBytes / sectorBytes
)

// memPage is a page of content. One that stands in memContent.durable never changes again, so that crash clones share
// it; nil instead of a page is zeros.
type memPage [memPageBytes]byte

// memContent is the content of one file, in two states that share what is equal: as readers see it, and as it is sure
// to be after a power cut.
type memContent struct {
	mem *Mem

	mu        sync.RWMutex
	sizeBytes int64
	pages     []*memPage // what readers see; len is sizeBytes in pages, rounded up
	modified  time.Time
	counted   int64 // bytes of it that count against the limit of the tree
	unlinked  bool  // no name left: counts no more

	durableBytes int64
	durable      []*memPage
	dirty        map[int]memDirty // the pages that differ from durable, or may
}

// memDirty tells how a page came to differ from its durable state.
type memDirty struct {
	writes int
	// between is the page as it was some writes ago: a disk may have been given that state and not the last.
	between *memPage
}

func newMemContent(m *Mem) *memContent {
	return &memContent{mem: m, modified: time.Now(), dirty: map[int]memDirty{}}
}

// readAt fills p from off; the caller has the lock of the tree.
func (c *memContent) readAt(p []byte, off int64) (int, error) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if off >= c.sizeBytes {
		if len(p) == 0 {
			return 0, nil
		}
		return 0, io.EOF
	}
	short := int64(len(p)) > c.sizeBytes-off
	if short {
		p = p[:c.sizeBytes-off]
	}
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
	if short {
		return n, io.EOF
	}
	return n, nil
}

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
		// Where not even the first byte fits, the file stays as it is.
		if len(p) > 0 {
			c.resize(off + int64(len(p)))
		}
		c.settle()
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

// writable returns page i for writing, copied where the durable state has it.
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
		// Kept before the 2nd, 3rd, 5th, 9th… write: enough to have states between, at a cost that stays small
		// where a page is filled by many small writes.
		copied := *page
		d.between = &copied
	}
	d.writes++
	c.dirty[i] = d
	return page
}

// resize sets the length; pages beyond are dropped, new ones are zeros, and whatever comes to differ is dirty.
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
	defer c.settle()
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
	defer c.settle()
	if c.reserve(sizeBytes) < sizeBytes {
		return syscall.ENOSPC
	}
	c.resize(sizeBytes)
	return nil
}

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

// reserve counts growth to sizeBytes against the limit and returns the length that is granted, which settle then
// corrects to what was used. Caller holds mu.
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

// settle makes what is counted against the limit equal to the size. Caller holds mu.
func (c *memContent) settle() {
	if c.unlinked {
		return
	}
	c.mem.usedBytes.Add(c.sizeBytes - c.counted)
	c.counted = c.sizeBytes
}

// unlink takes the file out of the count when its name is gone.
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

// memFile is an open file of a Mem.
type memFile struct {
	mem      *Mem
	content  *memContent
	name     string
	readOnly bool
	closed   atomic.Bool
}

// enter takes the lock of the tree for an operation on content, or says why there can be none.
func (f *memFile) enter(op string, changes bool) error {
	f.mem.mu.RLock()
	var err error
	switch {
	case f.closed.Load():
		err = fs.ErrClosed
	case f.mem.off:
		err = ErrPowerCut
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

// WriteParts is one write: a power cut may keep any sectors of it, whatever part they are of.
func (f *memFile) WriteParts(parts [][]byte, off int64, _ Hint) (int, error) {
	return f.WriteAt(slices.Concat(parts...), off)
}

func (f *memFile) ReadPast(sizeBytes int, off int64) ([]byte, error) {
	return readWhole(f, sizeBytes, off)
}

// Close works with the power off, too: it changes nothing on the disk.
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

// WriteOut does nothing: a power cut keeps any part of what is unsynced as it is.
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
