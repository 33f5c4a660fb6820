package partition

import (
	"errors"
	"sync"

	"tidings.dev/internal/batch"
	"tidings.dev/internal/vfs"
)

// writeBytes is the largest number of bytes that one write to a segment contains, unless a single batch is larger.
const writeBytes = 4 << 20

// pendingWrite contains the batches of one write to a segment.
type pendingWrite struct {
	views     []batch.View
	parts     [][]byte // the same bytes as in views, as the argument of WriteParts
	sizeBytes int64
}

// clear removes all batches and keeps the slices' memory.
func (r *pendingWrite) clear() {
	clear(r.views)
	clear(r.parts)
	r.views, r.parts, r.sizeBytes = r.views[:0], r.parts[:0], 0
}

// pendingWrites is a pool of *pendingWrite.
var pendingWrites = sync.Pool{New: func() any { return new(pendingWrite) }}

// Flush writes the batches that are in memory only to segment files, without making them durable. Batches that are
// appended during the call may be left out. It does I/O. After a failed write the unwritten batches stay in memory, and
// a later Flush writes them to the same place. After a failed sync, Flush always fails, with an error that matches
// ErrSync.
func (l *Log) Flush() error {
	l.io.Lock()
	defer l.io.Unlock()
	return l.flush()
}

// flush does what Flush does. l.io must be held.
func (l *Log) flush() error {
	r := pendingWrites.Get().(*pendingWrite)
	defer func() {
		r.clear()
		pendingWrites.Put(r)
	}()
	for end := l.End(); ; {
		seg, fresh, err := l.gather(r, end)
		if err != nil || len(r.views) == 0 {
			return err
		}
		if fresh {
			if err := l.closeActive(); err != nil {
				return err
			}
		}
		err = l.write(seg, fresh, r)
		if damage, ok := errors.AsType[*CorruptError](err); ok {
			l.abandonSegment(seg, damage)
			continue
		}
		if err != nil {
			return err
		}
		l.publish(seg, fresh, r)
	}
}

// gather collects in r the unwritten batches below end that one write to one segment can contain. r is empty if there
// are none. seg is the last segment of the log, or a new one that is not in the log yet; fresh reports which. l.io must
// be held.
func (l *Log) gather(r *pendingWrite, end int64) (seg *segment, fresh bool, err error) {
	r.clear()

	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.failed != nil {
		return nil, false, l.failed
	}
	if l.closed.Load() {
		return nil, false, ErrClosed
	}
	waiting := l.tail.unwritten()
	if len(waiting) == 0 || waiting[0].BaseOffset() >= end {
		return nil, false, nil
	}
	if n := len(l.segments); n > 0 && l.segments[n-1].accepts(waiting[0].View, l.config) {
		seg = l.segments[n-1]
	} else {
		seg, fresh = &segment{SegmentState: newSegment(waiting[0].BaseOffset(), 0)}, true
	}
	grown := *seg
	for i := range waiting {
		v := waiting[i].View
		if len(r.views) > 0 && (r.sizeBytes+int64(len(v)) > writeBytes || !grown.accepts(v, l.config)) {
			break
		}
		if grown.SizeBytes == 0 {
			grown.FirstTimestamp = v.FirstTimestamp()
		}
		grown.SizeBytes += int64(len(v))
		r.sizeBytes += int64(len(v))
		r.views, r.parts = append(r.views, v), append(r.parts, v)
	}
	return seg, fresh, nil
}

// closeActive closes the last segment, so that no more batches are added to it, and completes its index. l.io must be
// held.
func (l *Log) closeActive() error {
	l.mu.Lock()
	var active *segment
	if n := len(l.segments); n > 0 {
		active = l.segments[n-1]
		active.full = true
	}
	l.mu.Unlock()
	if active == nil {
		return nil
	}
	return l.writeIndex(active)
}

// abandonSegment closes a segment whose file turned out to be damaged, so that unwritten batches go to a new segment.
func (l *Log) abandonSegment(seg *segment, damage *CorruptError) {
	l.mu.Lock()
	defer l.mu.Unlock()
	seg.full, seg.damage = true, damage
}

// write writes the batches of r to a segment's file, after those that are in it already. Readers do not use these bytes
// before publish. l.io must be held.
func (l *Log) write(seg *segment, fresh bool, r *pendingWrite) error {
	f, err := l.openToWrite(fileKey{l, seg.SegmentName, segmentFile}, fresh)
	if err != nil {
		return err
	}
	if err := l.verifyIdentity(f, seg); err != nil {
		return errors.Join(err, f.release())
	}
	f.wrote() // marked before the write, so that the file is synced if it leaves the cache meanwhile
	// The file is written past the page cache. Readers of the newest records get these batches from memory, and later
	// readers read large pieces at the speed of the disk. To allocate a page of the page cache for each page of a busy
	// log would cost more than all other work of an append (docs/adr/0007-segments-past-the-page-cache.md).
	_, err = f.WriteParts(r.parts, seg.SizeBytes, vfs.WontRead)
	// An error of release adds nothing: the file stays in the cache and dirty, or release has synced it.
	_ = f.release()
	return err
}

// openToWrite opens a file of the log for writing. If fresh is true, it creates the file or empties an existing one;
// the file's name is then durable after the next sync of the directory. The caller must call release. l.io must be
// held.
func (l *Log) openToWrite(key fileKey, fresh bool) (*openFile, error) {
	if !fresh {
		return l.files.acquire(key, true)
	}
	l.dirDirty = true
	return l.files.create(key)
}

// publish adds the batches of r, which were written to the file of seg, to seg, so that readers and the next write see
// them. l.io must be held.
func (l *Log) publish(seg *segment, fresh bool, r *pendingWrite) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, v := range r.views {
		seg.add(v, l.config.IndexIntervalBytes)
	}
	if fresh {
		l.segments = append(l.segments[:len(l.segments):len(l.segments)], seg)
	}
	l.tail.wrote(len(r.views), r.sizeBytes)
	l.written = r.views[len(r.views)-1].NextOffset()
}

// Sync does what Flush does and makes all written batches durable, including the names of the files. State then
// describes them. A failed sync fences the log's files for good with an error that matches ErrSync, because it is not
// known which pages have reached the disk.
func (l *Log) Sync() error {
	l.io.Lock()
	defer l.io.Unlock()
	if err := l.flush(); err != nil {
		return err
	}
	return l.syncWritten()
}

// SyncWritten makes the batches that are in segment files durable, as Sync does. Unwritten batches stay in memory.
func (l *Log) SyncWritten() error {
	l.io.Lock()
	defer l.io.Unlock()
	return l.syncWritten()
}

// syncWritten does what SyncWritten does. l.io must be held.
func (l *Log) syncWritten() error {
	if err := l.usable(); err != nil {
		return err
	}
	for _, seg := range l.dirtySegments() {
		if err := l.syncSegment(seg); err != nil {
			return l.syncFailed(err)
		}
		if err := l.writeIndex(seg); err != nil {
			return err
		}
	}
	if l.dirDirty {
		if err := l.fs.SyncDir(l.dir); err != nil {
			return l.syncFailed(err)
		}
		l.dirDirty = false
	}

	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failed != nil { // the sync of a file that left the cache has failed
		return l.failed
	}
	for _, seg := range l.segments {
		seg.synced = seg.SegmentState
	}
	l.syncedEnd = l.written
	l.transactions.synced(l.syncedEnd)
	return nil
}

// syncFailed returns the error of a sync that has failed with err, after which the log's files are fenced. For a lack of
// file descriptors it returns err and fences nothing: the file could not be opened, and the next call syncs it.
func (l *Log) syncFailed(err error) error {
	if vfs.IsNoDescriptors(err) {
		return err
	}
	l.fail(err)
	return l.failure()
}

// usable returns ErrClosed if the log is closed, an error that matches ErrSync if a sync has failed, and nil if files
// may be written.
func (l *Log) usable() error {
	if l.closed.Load() {
		return ErrClosed
	}
	return l.failure()
}

// failure returns the error of a failed sync, which matches ErrSync, or nil if no sync has failed.
func (l *Log) failure() error {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.failed
}

// dirtySegments returns all segments from the first one that has unsynced bytes on; there are rarely more than two.
// l.io must be held.
func (l *Log) dirtySegments() []*segment {
	l.mu.RLock()
	defer l.mu.RUnlock()
	for i, seg := range l.segments {
		if seg.synced.SizeBytes < seg.SizeBytes {
			return l.segments[i:]
		}
	}
	return nil
}

// syncSegment makes the content of a segment's file durable.
func (l *Log) syncSegment(seg *segment) error {
	f, err := l.files.acquire(fileKey{l, seg.SegmentName, segmentFile}, true)
	if err != nil {
		return err
	}
	if err = f.Sync(); err == nil {
		f.synced()
	}
	if closeErr := f.release(); err == nil {
		err = closeErr
	}
	return err
}

// State returns the state of the log for a checkpoint: the batches that the last successful Sync made durable, without
// those that were deleted since.
func (l *Log) State() State {
	l.mu.RLock()
	defer l.mu.RUnlock()
	// If l.start is above syncedEnd, then the journal has the new start in an entry after this checkpoint's boundary,
	// since every batch that was appended before that entry would be synced otherwise.
	s := State{Start: min(l.start, l.syncedEnd), End: l.syncedEnd, Compacted: min(l.compacted, l.syncedEnd), Epochs: l.epochs.upTo(l.syncedEnd)}
	for _, seg := range l.segments {
		if seg.synced.SizeBytes > 0 {
			s.Segments = append(s.Segments, seg.synced)
		}
	}
	s.Open, s.Aborted = l.transactions.asOf(l.syncedEnd)
	for _, old := range l.replaced {
		s.Replaced = append(s.Replaced, old.SegmentName)
	}
	return s
}
