package partition

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"tidings.dev/internal/batch"
	"tidings.dev/internal/vfs"
)

// Errors of a Log. Damage of files is reported as a *CorruptError, and errors of I/O are returned as they are.
var (
	ErrOffsetOutOfRange = errors.New("partition: offset out of range")
	ErrClosed           = errors.New("partition: log is closed")
	// ErrSync is matched by the errors of Flush and Sync after a sync has failed.
	ErrSync = errors.New("partition: a sync failed")
)

// Log is the log of one partition. All methods are safe for concurrent use. Appends have the order of the calls. Reads
// run concurrently with each other and with all other methods. A log that is idle has no open file and no goroutine,
// and keeps nothing in memory but its list of segments.
//
// Locks are taken in the order compacting, io, mu. Under mu: start <= end, written <= end, and syncedEnd <= written.
// The segments cover [segments[0].Base, written) without holes, and the last batch of the tail ends at end.
//
//	      in segments, synced     in segments   in memory only
//	  |------------------------|--------------|---------------|
//	start                  State().End     written           end
//	                 |---------------- tail ------------------|
type Log struct {
	fs        vfs.FS
	dir       string
	files     *FileCache
	readAhead *ReadAhead
	closed    atomic.Bool
	hints     hints

	compacting sync.Mutex // held by Compact for its whole duration

	io       sync.Mutex    // held while files are written or removed; guards dirDirty and leftover
	dirDirty bool          // files were created since the last sync of the directory
	leftover []SegmentName // segment files that OpenToReplay has found and that the state does not contain

	mu        sync.RWMutex // guards the fields below; never held during I/O
	config    Config
	start     int64 // first offset that may be read
	written   int64 // offset after the last batch that is in a segment file
	end       int64 // offset of the next batch
	syncedEnd int64 // value of written at the last successful Sync; equals State().End
	// compacted is the offset up to which the log is compacted: among the records below it each key occurs once at
	// most. It is 0 if the log was never compacted.
	compacted int64
	segments  []*segment // in order; when segments are removed or replaced, the slice is replaced and not changed in place
	replaced  []replaced // segments that compaction has replaced and whose files a checkpoint may still need
	tail      tail
	epochs    epochs
	// transactions is what add has noted of the batches in [0, end).
	transactions transactions
	failed       error // why a sync failed, after which data in the page cache may never reach the disk; matches ErrSync
}

// Open opens the log that a checkpoint has recorded as s; the zero State is that of an empty log, which begins at offset 0
// in leader epoch 0. The directory dir must exist before anything is written. Open lists the directory and reads only files that must be cut.
// It cuts bytes that s does not cover and removes files that s does not contain, since the journal still has their
// batches. A segment whose file is missing, too short, or that of another segment is damaged: Damage returns it, reads
// of the missing batches fail, and no new batches are added to it. The error matches ErrInvalidState or is one of I/O.
func Open(fs vfs.FS, dir string, c Config, s State) (*Log, error) {
	l, err := OpenToReplay(fs, dir, c, s)
	if err != nil {
		return nil, err
	}
	return l, l.Sweep()
}

// OpenToReplay opens a log as Open does, but does not remove segment files that the state s does not contain. The
// replay of the journal that follows writes most of these files again, and emptying a file costs less than removing and
// creating it. The caller must call Sweep after the replay.
func OpenToReplay(fs vfs.FS, dir string, c Config, s State) (*Log, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	c = c.withDefaults()
	l := &Log{fs: fs, dir: dir, files: c.Files, readAhead: c.ReadAhead, config: c,
		start: s.Start, written: s.End, end: s.End, syncedEnd: s.End, compacted: s.Compacted, epochs: append(epochs(nil), s.Epochs...)}
	l.transactions.open, l.transactions.aborted = slices.Clone(s.Open), slices.Clone(s.Aborted)
	for _, name := range s.Replaced {
		l.replaced = append(l.replaced, replaced{SegmentName: name})
	}
	if len(l.epochs) == 0 {
		l.epochs = epochs{{Epoch: 0, Offset: s.Start}}
	}
	l.segments = make([]*segment, len(s.Segments))
	for i, known := range s.Segments {
		l.segments[i] = &segment{SegmentState: known, synced: known, full: i < len(s.Segments)-1, indexedBytes: known.SizeBytes}
	}
	if err := l.reconcileDirectory(s); err != nil {
		return nil, err
	}
	return l, nil
}

// reconcileDirectory makes the files of the log agree with the state s: it truncates files that are too long and removes
// files that are of no use any more. A segment whose file it cannot make agree, such as one that is missing or too short,
// is marked as damaged.
func (l *Log) reconcileDirectory(s State) error {
	entries, err := l.fs.List(l.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	sizes := make(map[int64]int64, len(l.segments))
	for _, e := range entries {
		segName, kind, ours := parseName(e.Name)
		if !ours || e.Dir {
			continue
		}
		name, keepBytes := path.Join(l.dir, e.Name), int64(0)
		seg := l.segmentNamed(segName)
		switch {
		case seg == nil && slices.Contains(s.Replaced, segName):
			continue // the previous checkpoint may still need the file
		case seg == nil && kind == segmentFile && segName.Generation == 0:
			l.leftover = append(l.leftover, segName)
			continue
		case seg == nil:
			if err := l.fs.Remove(name); err != nil {
				return err
			}
			continue
		case kind == segmentFile:
			keepBytes = seg.SizeBytes
			sizes[segName.Base] = e.SizeBytes
		case kind == indexFile:
			keepBytes = seg.IndexBytes
		}
		if e.SizeBytes > keepBytes && kind == segmentFile {
			if err := l.verifyBeforeCut(seg); err != nil {
				return err
			}
		}
		if e.SizeBytes > keepBytes && seg.damage == nil {
			if err := truncateFile(l.fs, name, keepBytes); err != nil {
				return err
			}
		}
	}
	for _, seg := range l.segments {
		size, there := sizes[seg.Base]
		if there && size >= seg.SizeBytes {
			continue
		}
		seg.full = true
		seg.damage = &CorruptError{File: path.Join(l.dir, fileName(seg.SegmentName, segmentFile)), Position: size,
			Reason: fmt.Sprintf("%d bytes are left of %d", size, seg.SizeBytes)}
		if !there {
			seg.damage.Reason = "the file is missing"
		}
	}
	return nil
}

// Sweep removes the segment files that OpenToReplay has left in place and that were not written again. It keeps the
// file that the next write will create, because creating it empties it. It does I/O.
func (l *Log) Sweep() error {
	l.io.Lock()
	defer l.io.Unlock()
	for _, name := range l.leftover {
		if l.willExist(name) {
			continue
		}
		if err := l.removeFile(fileKey{l, name, segmentFile}); err != nil {
			return err
		}
	}
	l.leftover = nil
	return nil
}

// willExist reports whether a segment is in the log or will be created by the next write.
func (l *Log) willExist(name SegmentName) bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.segmentNamed(name) != nil {
		return true
	}
	waiting, n := l.tail.unwritten(), len(l.segments)
	return len(waiting) > 0 && waiting[0].BaseOffset() == name.Base && (n == 0 || !l.segments[n-1].accepts(waiting[0].View, l.config))
}

// truncateFile cuts a file to sizeBytes.
func truncateFile(fs vfs.FS, name string, sizeBytes int64) error {
	f, err := fs.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(f.Truncate(sizeBytes), f.Close())
}

// parseName parses the name of a segment or index file. ours is false for all other names.
func parseName(name string) (segment SegmentName, kind fileKind, ours bool) {
	digits, ext, _ := strings.Cut(name, ".")
	if generation, rest, compacted := strings.Cut(ext, "."); compacted {
		n, err := strconv.ParseUint(generation, 10, 32)
		if err != nil {
			return segment, 0, false
		}
		segment.Generation, ext = uint32(n), rest
	}
	switch ext {
	case "log":
	case "index":
		kind = indexFile
	default:
		return segment, 0, false
	}
	var err error
	segment.Base, err = strconv.ParseInt(digits, 10, 64)
	return segment, kind, err == nil && segment.Base >= 0 && name == fileName(segment, kind)
}

// segmentNamed returns the segment with a name, or nil if it was deleted or replaced. l.mu must be held, unless the log
// is still being opened.
func (l *Log) segmentNamed(name SegmentName) *segment {
	i := sort.Search(len(l.segments), func(i int) bool { return l.segments[i].Base >= name.Base })
	if i < len(l.segments) && l.segments[i].SegmentName == name {
		return l.segments[i]
	}
	return nil
}

// Damage returns the damage of segments whose files are missing, too short, or those of other segments. Right after
// Open the result may contain segments that were deleted after the checkpoint; they lie below a log start that the
// replay of the journal will set. After the replay the result should be empty.
func (l *Log) Damage() []*CorruptError {
	l.mu.RLock()
	defer l.mu.RUnlock()
	var all []*CorruptError
	for _, seg := range l.segments {
		if seg.damage != nil {
			all = append(all, seg.damage)
		}
	}
	return all
}

// Append adds a batch that the journal has made durable. Readers see it at once. Append does no I/O and does not wait
// for any. The log owns v from then on, and its bytes must not change any more. v must pass batch.Check and its base
// offset must be End; otherwise Append panics, since an offset would get two records or none. A batch with a later
// leader epoch begins that epoch. A batch with an earlier one gets the latest.
func (l *Log) Append(v batch.View) { l.AppendPooled(v, nil) }

// AppendPooled does what Append does, for a batch in pooled memory. It calls memory.Release when the batch leaves the
// tail, unless Read has returned the bytes of the batch. memory may be nil.
func (l *Log) AppendPooled(v batch.View, memory batch.Memory) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if v.BaseOffset() != l.end {
		panic(fmt.Sprintf("partition: append at offset %d to %s, which ends at %d", v.BaseOffset(), l.dir, l.end))
	}
	if latest := l.epochs.latest(); v.LeaderEpoch() > latest {
		l.epochs = l.epochs.with(v.LeaderEpoch(), l.end)
	} else if v.LeaderEpoch() < latest {
		v.SetLeaderEpoch(latest)
	}
	l.transactions.add(v)
	l.tail.append(v, memory)
	l.end = v.NextOffset()
}

// SetConfig replaces the configuration, except Files and ReadAhead. Existing segments stay as they are.
func (l *Log) SetConfig(c Config) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c.Files, c.ReadAhead = l.files, l.readAhead
	l.config = c.withDefaults()
}

// Start returns the first offset that may be read.
func (l *Log) Start() int64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.start
}

// End returns the offset that the next batch will get.
func (l *Log) End() int64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.end
}

// Bounds returns what Start and End return, both of the same moment.
func (l *Log) Bounds() (start, end int64) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.start, l.end
}

// SizeBytes returns the size of all batches, in segments or in memory.
func (l *Log) SizeBytes() int64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	size := l.tail.unwrittenBytes
	for _, seg := range l.segments {
		size += seg.SizeBytes
	}
	return size
}

// Unwritten returns the size in bytes of the batches that are in memory and in no segment file.
func (l *Log) Unwritten() int64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.tail.unwrittenBytes
}

// TailBytes returns the size in bytes of all batches that are in memory, whether or not they are also in a segment
// file.
func (l *Log) TailBytes() int64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.tail.bytes
}

// TailReadAt returns the time, in nanoseconds since the Unix epoch, at which a reader last got batches from memory. It
// is 0 if no reader ever did.
func (l *Log) TailReadAt() int64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.tail.readAt.Load()
}

// EvictTail removes batches that are in segment files from memory, oldest first, until at most keepBytes are in memory.
// After a failed sync it removes nothing, since memory may have the only good copy.
func (l *Log) EvictTail(keepBytes int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failed == nil {
		l.tail.evict(keepBytes)
	}
}

// fail fences the log's files: Flush and Sync return an error that matches ErrSync from now on. Reads and appends go
// on.
func (l *Log) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failed == nil {
		l.failed = fmt.Errorf("%w: %s: %w", ErrSync, l.dir, err)
	}
}

// Close closes the log's files. Unwritten batches are dropped, since the journal has them. Reads return ErrClosed from
// now on. Close blocks until a running compaction, read-ahead or write has ended. Further calls do nothing.
func (l *Log) Close() error {
	if l.closed.Swap(true) {
		return nil
	}
	l.readAhead.drop(l)
	l.compacting.Lock() // a running compaction ends at its next batch
	defer l.compacting.Unlock()
	l.io.Lock()
	defer l.io.Unlock()
	return l.files.drop(func(k fileKey) bool { return k.log == l })
}

// Remove removes the directory of a log, which must be closed, and makes the removal durable.
func Remove(fs vfs.FS, dir string) error {
	if err := fs.RemoveAll(dir); err != nil {
		return err
	}
	return fs.SyncDir(path.Dir(dir))
}
