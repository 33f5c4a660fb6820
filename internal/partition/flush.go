package partition

import (
	"errors"
	"sync"

	"tidings.dev/internal/batch"
	"tidings.dev/internal/vfs"
)

// writeBytes is how much one write to a segment gathers. Larger batches are written by themselves.
const writeBytes = 4 << 20

// run is what one write to a segment consists of.
type run struct {
	views     []batch.View
	parts     [][]byte // the same
	sizeBytes int64
}

func (r *run) clear() {
	clear(r.views)
	clear(r.parts)
	r.views, r.parts, r.sizeBytes = r.views[:0], r.parts[:0], 0
}

var runs = sync.Pool{New: func() any { return new(run) }}

// Flush writes what is in memory only to the segment files, without making it durable; what is appended meanwhile need not
// be among it. After an error what wasn't written stays in memory, and a later Flush writes it to the same place; after a
// failed sync it never succeeds again.
func (l *Log) Flush() error {
	l.io.Lock()
	defer l.io.Unlock()
	return l.flush()
}

func (l *Log) flush() error {
	r := runs.Get().(*run)
	defer func() {
		r.clear()
		runs.Put(r)
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
			l.giveUp(seg, damage)
			continue
		}
		if err != nil {
			return err
		}
		l.publish(seg, fresh, r)
	}
}

// gather collects the unwritten batches that go to one segment in one write, if there is one below end: the active
// segment, or a fresh one that nobody knows yet.
func (l *Log) gather(r *run, end int64) (seg *segment, fresh bool, err error) {
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
	if n := len(l.segments); n > 0 && l.segments[n-1].takes(waiting[0].View, l.config) {
		seg = l.segments[n-1]
	} else {
		seg, fresh = &segment{SegmentState: newSegment(waiting[0].BaseOffset(), 0)}, true
	}
	grown := *seg
	for i := range waiting {
		v := waiting[i].View
		if len(r.views) > 0 && (r.sizeBytes+int64(len(v)) > writeBytes || !grown.takes(v, l.config)) {
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

// closeActive ends the segment written so far: its index is complete.
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

// giveUp ends a segment whose file turned out to be damaged: what is to be written goes to another.
func (l *Log) giveUp(seg *segment, damage *CorruptError) {
	l.mu.Lock()
	defer l.mu.Unlock()
	seg.full, seg.damage = true, damage
}

func (l *Log) write(seg *segment, fresh bool, r *run) error {
	key := fileKey{l, seg.SegmentName, segmentFile}
	var f *openFile
	var err error
	if fresh {
		l.dirDirty = true
		f, err = l.files.create(key)
	} else {
		f, err = l.files.acquire(key, true)
	}
	if err != nil {
		return err
	}
	if err := l.vouch(f, seg); err != nil {
		return errors.Join(err, f.release())
	}
	f.wrote() // before the write, so that a sync on the way out of the cache can't be one write short
	// The tail in memory has these batches for those who read now. Whoever comes later is served by a large read, at the
	// speed of the disk, while a fresh page of the cache for each page of a busy log would cost more than all the rest
	// of an append (docs/adr/0007-segments-past-the-page-cache.md).
	_, err = f.WriteParts(r.parts, seg.SizeBytes, vfs.WontRead)
	// Closing has nothing to add: the file stays dirty in the cache, or it is synced by name.
	_ = f.release()
	return err
}

// publish lets readers and the next write know of the bytes.
func (l *Log) publish(seg *segment, fresh bool, r *run) {
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

// Sync is Flush, and makes what is written durable, directory entries included; State then describes it. A failed
// sync fences the log's files: nobody knows which pages reached the disk, so it is never tried again.
func (l *Log) Sync() error {
	l.io.Lock()
	defer l.io.Unlock()
	if err := l.flush(); err != nil {
		return err
	}
	return l.syncWritten()
}

// SyncWritten is Sync without the Flush: what is in memory only stays there.
func (l *Log) SyncWritten() error {
	l.io.Lock()
	defer l.io.Unlock()
	return l.syncWritten()
}

func (l *Log) syncWritten() error {
	if err := l.usable(); err != nil {
		return err
	}
	for _, seg := range l.dirtySegments() {
		if err := l.syncSegment(seg); err != nil {
			l.fail(err)
			return l.failure()
		}
		if err := l.writeIndex(seg); err != nil {
			return err
		}
	}
	if l.dirDirty {
		if err := l.fs.SyncDir(l.dir); err != nil {
			l.fail(err)
			return l.failure()
		}
		l.dirDirty = false
	}

	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failed != nil { // of a file synced on its way out of the cache
		return l.failed
	}
	for _, seg := range l.segments {
		seg.synced = seg.SegmentState
	}
	l.syncedEnd = l.written
	return nil
}

// usable says why no file may be written any more, or nil.
func (l *Log) usable() error {
	if l.closed.Load() {
		return ErrClosed
	}
	return l.failure()
}

func (l *Log) failure() error {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.failed
}

// dirtySegments are those with bytes that State doesn't cover: rarely more than one or two. With l.io held.
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

// State is what a checkpoint records: the log as the last successful Sync left it, less what was deleted since.
func (l *Log) State() State {
	l.mu.RLock()
	defer l.mu.RUnlock()
	// A start above the synced end is in the journal after this checkpoint: every append before it is synced.
	s := State{Start: min(l.start, l.syncedEnd), End: l.syncedEnd, Compacted: min(l.compacted, l.syncedEnd), Epochs: l.epochs.upTo(l.syncedEnd)}
	for _, seg := range l.segments {
		if seg.synced.SizeBytes > 0 {
			s.Segments = append(s.Segments, seg.synced)
		}
	}
	for _, old := range l.replaced {
		s.Replaced = append(s.Replaced, old.SegmentName)
	}
	return s
}
