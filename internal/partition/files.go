package partition

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"tidings.dev/internal/vfs"
)

// FileCache keeps a limited number of segment and index files open for many logs. When it needs space, it closes the
// file that was not used for the longest time, so that the files of idle logs make place for those of busy ones. It is
// safe for concurrent use.
//
// mu guards byKey and the ring that begins at recent. Every cached file is in both. len(byKey) <= limit, except for a
// moment in add. An open file that is not in the cache is closed by its last user. A dirty file is synced before it is
// closed, unless its log is closed.
type FileCache struct {
	limit int
	// minStoredBytes is the size of the smallest run of batches that is sent from its file. For fewer bytes the system
	// call costs more than it saves.
	minStoredBytes int64

	mu     sync.Mutex
	byKey  map[fileKey]*openFile
	recent openFile // head of the ring: recent.next was used last, recent.prev was not used for the longest time
}

// fileKey identifies a segment or index file, without the cost of building its path.
type fileKey struct {
	log  *Log
	name SegmentName
	kind fileKind
}

// fileKind distinguishes the two files of a segment.
type fileKind uint8

const (
	segmentFile fileKind = iota
	indexFile
)

// path returns the file's name, with the log's directory.
func (k fileKey) path() string {
	return k.log.dir + "/" + fileName(k.name, k.kind)
}

// fileName returns the name of a file within its log's directory: the base offset in 20 digits, the generation if
// compaction has written the segment, and the extension.
func fileName(name SegmentName, kind fileKind) string {
	ext := [...]string{"log", "index"}[kind]
	if name.Generation == 0 {
		return fmt.Sprintf("%020d.%s", name.Base, ext)
	}
	return fmt.Sprintf("%020d.%d.%s", name.Base, name.Generation, ext)
}

// openFile is an open file with a count of its users. files.mu guards users, cached, dirty, prev and next; the other
// fields are safe for concurrent use.
type openFile struct {
	vfs.File
	files      *FileCache
	key        fileKey
	prev, next *openFile
	users      int
	cached     bool        // the file is in files.byKey and in the ring
	dirty      bool        // the file was written to since its last sync
	verified   atomic.Bool // the file's content is known to be that of its segment
	checked    byteRanges  // the bytes in the page cache whose checksums were verified since the file was opened
}

// NewFileCache returns a cache for at most limit open files; a limit below 2 counts as 2. If all files in the cache are
// in use, a reader opens its file outside the cache.
func NewFileCache(limit int) *FileCache {
	f := &FileCache{limit: max(limit, 2), minStoredBytes: 64 << 10, byKey: make(map[fileKey]*openFile)}
	f.recent.prev, f.recent.next = &f.recent, &f.recent
	return f
}

// sharedFiles is the cache of all logs whose Config.Files is nil.
var sharedFiles = NewFileCache(256)

// create creates an empty file, or empties an existing one, and returns it open and in use. The caller must call
// release. No other goroutine may use the same key during the call.
func (f *FileCache) create(key fileKey) (*openFile, error) {
	f.drop(func(k fileKey) bool { return k == key })
	file, err := f.open(key.log.fs.Create, key, true)
	if err != nil {
		return nil, err
	}
	return f.add(key, file, true)
}

// acquire returns the open file with a key, in use. The caller must call release. If toWrite is true, acquire may wait
// until a dirty file of another log is synced to make place in the cache. If it is false, acquire does not wait for
// that.
func (f *FileCache) acquire(key fileKey, toWrite bool) (*openFile, error) {
	f.mu.Lock()
	if o := f.byKey[key]; o != nil {
		o.users++
		f.touch(o)
		f.mu.Unlock()
		return o, nil
	}
	f.mu.Unlock()

	file, err := f.open(key.log.fs.Open, key, toWrite)
	if err != nil {
		return nil, err
	}
	return f.add(key, file, toWrite)
}

// open calls how, which opens or creates a file. While no file descriptor is free, it closes files of the cache that are
// not in use, and tries again. If toWrite is true, these may be dirty files, which are synced first.
func (f *FileCache) open(how func(string) (vfs.File, error), key fileKey, toWrite bool) (vfs.File, error) {
	for {
		file, err := how(key.path())
		if !vfs.IsNoDescriptors(err) {
			return file, err
		}
		f.mu.Lock()
		victim := f.victim(toWrite)
		if victim == nil {
			f.mu.Unlock()
			return nil, err
		}
		if victim.dirty {
			victim.users++
			f.mu.Unlock()
			victim.syncAndRelease() // and then it is clean
			continue
		}
		f.remove(victim)
		f.mu.Unlock()
		_ = victim.File.Close() // the file was clean, so that no data is lost even if Close fails
	}
}

// add puts a file that was just opened into the cache, if there is space, and returns it in use. If another goroutine
// has added the same file meanwhile, it closes file and returns that goroutine's openFile.
func (f *FileCache) add(key fileKey, file vfs.File, toWrite bool) (*openFile, error) {
	for {
		f.mu.Lock()
		if o := f.byKey[key]; o != nil { // another goroutine has opened the file first
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
				// The file was clean, so that no data is lost even if Close fails.
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
		victim.syncAndRelease()
	}
}

// victim returns the file that should be closed to make place for another: among the unused files, the clean one that
// was not used for the longest time. If there is none and toWrite is true, it returns the dirty one that was not used
// for the longest time. It returns nil if there is no such file. f.mu must be held.
func (f *FileCache) victim(toWrite bool) *openFile {
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

// syncAndRelease syncs a dirty file, so that it may be closed, and releases it. Without the sync, the operating system
// could meet an error when it writes the data after the close, and would perhaps never report it. A failed sync fences
// the log.
func (o *openFile) syncAndRelease() {
	o.files.mu.Lock()
	o.dirty = false
	o.files.mu.Unlock()
	if err := o.Sync(); err != nil {
		o.key.log.fail(err)
	}
	// The file was synced or its log is fenced, so that an error of release adds nothing.
	_ = o.release()
}

// wrote marks the file as dirty, so that it is synced before it is closed. It must be called before the write.
func (o *openFile) wrote() {
	o.files.mu.Lock()
	o.dirty = true
	o.files.mu.Unlock()
}

// synced marks the file as clean. Nothing may have been written to it since the sync began.
func (o *openFile) synced() {
	o.files.mu.Lock()
	o.dirty = false
	o.files.mu.Unlock()
}

// release ends one use of the file. If the file is not in the cache and has no other user, release closes it, and syncs
// it before if it is dirty and its log is open.
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

// drop removes the files whose keys match from the cache. It closes those that are not in use. The others are closed by
// their last user.
func (f *FileCache) drop(match func(fileKey) bool) error {
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

// touch makes o the most recently used file of the ring. f.mu must be held.
func (f *FileCache) touch(o *openFile) {
	if o.next != nil {
		o.prev.next, o.next.prev = o.next, o.prev
	}
	o.prev, o.next = &f.recent, f.recent.next
	o.prev.next, o.next.prev = o, o
}

// remove removes o from byKey and from the ring; it does not close it. f.mu must be held.
func (f *FileCache) remove(o *openFile) {
	o.prev.next, o.next.prev = o.next, o.prev
	o.prev, o.next, o.cached = nil, nil, false
	delete(f.byKey, o.key)
}
