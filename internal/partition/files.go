package partition

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"tidings.dev/internal/vfs"
)

// Files keeps a bounded number of segment and index files open on behalf of many logs. A log that is idle loses its
// files to those that aren't. Safe for concurrent use.
type Files struct {
	limit       int
	leastStored int64 // a shorter run of batches is not sent from its file: it isn't worth a system call of its own

	mu     sync.Mutex
	byKey  map[fileKey]*openFile
	recent openFile // ring of the cached files: recent.next is the one used last, recent.prev the one to go first
}

// fileKey names a file without building its path.
type fileKey struct {
	log  *Log
	name SegmentName
	kind fileKind
}

type fileKind uint8

const (
	segmentFile fileKind = iota
	indexFile
)

func (k fileKey) path() string {
	return k.log.dir + "/" + fileName(k.name, k.kind)
}

// fileName is the base offset in 20 digits, and from the first compaction on the generation.
func fileName(name SegmentName, kind fileKind) string {
	ext := [...]string{"log", "index"}[kind]
	if name.Generation == 0 {
		return fmt.Sprintf("%020d.%s", name.Base, ext)
	}
	return fmt.Sprintf("%020d.%d.%s", name.Base, name.Generation, ext)
}

// openFile is an open file with its users counted.
type openFile struct {
	vfs.File
	files      *Files
	key        fileKey
	prev, next *openFile
	users      int
	cached     bool        // in byKey and in the ring
	dirty      bool        // written since its last sync
	vouched    atomic.Bool // it is known to be the segment's own
	checked    spans       // whose checksums were found right in what the page cache has of it
}

// NewFiles returns a cache of at most limit open files (at least 2). Reads that find every place taken by a file in
// use open theirs for the one read.
func NewFiles(limit int) *Files {
	f := &Files{limit: max(limit, 2), leastStored: 64 << 10, byKey: make(map[fileKey]*openFile)}
	f.recent.prev, f.recent.next = &f.recent, &f.recent
	return f
}

// sharedFiles serves logs whose Config names no Files.
var sharedFiles = NewFiles(256)

// create makes an empty file, for writing. The caller knows that nobody else uses the key.
func (f *Files) create(key fileKey) (*openFile, error) {
	f.drop(func(k fileKey) bool { return k == key })
	file, err := key.log.fs.Create(key.path())
	if err != nil {
		return nil, err
	}
	return f.add(key, file, true)
}

// acquire returns the open file; give it back with release. A writer may wait for another log's dirty file to be
// synced, so that there is room; a reader never does.
func (f *Files) acquire(key fileKey, toWrite bool) (*openFile, error) {
	f.mu.Lock()
	if o := f.byKey[key]; o != nil {
		o.users++
		f.touch(o)
		f.mu.Unlock()
		return o, nil
	}
	f.mu.Unlock()

	file, err := key.log.fs.Open(key.path())
	if err != nil {
		return nil, err
	}
	return f.add(key, file, toWrite)
}

// add puts a file that was just opened into the cache, if there is room.
func (f *Files) add(key fileKey, file vfs.File, toWrite bool) (*openFile, error) {
	for {
		f.mu.Lock()
		if o := f.byKey[key]; o != nil { // somebody was faster
			o.users++
			f.touch(o)
			f.mu.Unlock()
			return o, file.Close()
		}
		var victim *openFile
		if len(f.byKey) >= f.limit {
			victim = f.victim(toWrite)
		}
		if len(f.byKey) < f.limit || victim != nil && !victim.dirty {
			o := &openFile{File: file, files: f, key: key, users: 1}
			if !key.log.closed.Load() {
				o.cached = true
				f.byKey[key] = o
				f.touch(o)
			}
			if len(f.byKey) > f.limit {
				f.remove(victim)
			} else {
				victim = nil
			}
			f.mu.Unlock()
			if victim != nil {
				// The file was clean: closing it can lose nothing.
				_ = victim.File.Close()
			}
			return o, nil
		}
		if victim == nil {
			f.mu.Unlock()
			return &openFile{File: file, files: f, key: key, users: 1}, nil
		}
		victim.users++
		f.mu.Unlock()
		victim.settle()
	}
}

// victim chooses the file to close: the one used longest ago that nobody uses now, a clean one first. A dirty one is
// only chosen for a writer. With f.mu held.
func (f *Files) victim(toWrite bool) *openFile {
	var dirty *openFile
	for o := f.recent.prev; o != &f.recent; o = o.prev {
		switch {
		case o.users > 0:
		case !o.dirty:
			return o
		case toWrite && dirty == nil:
			dirty = o
		}
	}
	return dirty
}

// settle syncs a dirty file so that it may be closed, and releases it. Closing it dirty would be allowed, but an error
// of the writeback between close and the next open may never reach us.
func (o *openFile) settle() {
	o.files.mu.Lock()
	o.dirty = false
	o.files.mu.Unlock()
	if err := o.Sync(); err != nil {
		o.key.log.fail(err)
	}
	// It was synced or its log is fenced: the close has nothing to add.
	_ = o.release()
}

// wrote marks the file as written to: it won't be closed before it was synced.
func (o *openFile) wrote() {
	o.files.mu.Lock()
	o.dirty = true
	o.files.mu.Unlock()
}

// synced marks the file as clean again. Nothing may have been written since the sync began.
func (o *openFile) synced() {
	o.files.mu.Lock()
	o.dirty = false
	o.files.mu.Unlock()
}

// release gives a file back. The last user of a file outside the cache closes it, synced if it was dirty and its log
// still lives.
func (o *openFile) release() error {
	o.files.mu.Lock()
	o.users--
	last := o.users == 0 && !o.cached
	toSync := last && o.dirty && !o.key.log.closed.Load()
	o.files.mu.Unlock()
	if !last {
		return nil
	}
	if toSync {
		if err := o.Sync(); err != nil {
			o.key.log.fail(err)
		}
	}
	return o.File.Close()
}

// drop closes the files whose keys match, at once or after their last user.
func (f *Files) drop(match func(fileKey) bool) error {
	var closing []*openFile
	f.mu.Lock()
	for key, o := range f.byKey {
		if match(key) {
			f.remove(o)
			if o.users == 0 {
				closing = append(closing, o)
			}
		}
	}
	f.mu.Unlock()
	var errs []error
	for _, o := range closing {
		errs = append(errs, o.File.Close())
	}
	return errors.Join(errs...)
}

// touch makes o the file used last. With f.mu held.
func (f *Files) touch(o *openFile) {
	if o.next != nil {
		o.prev.next, o.next.prev = o.next, o.prev
	}
	o.prev, o.next = &f.recent, f.recent.next
	o.prev.next, o.next.prev = o, o
}

// remove takes o out of the cache. With f.mu held.
func (f *Files) remove(o *openFile) {
	o.prev.next, o.next.prev = o.next, o.prev
	o.prev, o.next, o.cached = nil, nil, false
	delete(f.byKey, o.key)
}
