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

// Errors of a Log. Damaged files are *CorruptError; failed I/O is passed on as it came.
var (
	ErrOffsetOutOfRange = errors.New("partition: offset out of range")
	ErrClosed           = errors.New("partition: log is closed")
	// ErrSync matches what Flush and Sync return once a sync has failed.
	ErrSync = errors.New("partition: a sync failed")
)

// Log is one partition. Reads may run at any time, beside each other and everything else; Append, Flush, Sync and the
// rest are safe for concurrent use too, the order of appends being the caller's. An idle log holds no open file, no
// goroutine, and no memory but its list of segments.
//
//	      in segments, synced     in segments   in memory only
//	  |------------------------|--------------|---------------|
//	start                  State().End     written           end
//	                 |---------------- tail ------------------|
type Log struct {
	fs     vfs.FS
	dir    string
	files  *Files
	ahead  *ReadAhead
	closed atomic.Bool
	hints  hints

	io       sync.Mutex    // one writer of files at a time; taken before mu
	dirDirty bool          // files were made since the directory was synced; guarded by io
	leftover []SegmentName // that OpenToReplay has found and left; guarded by io

	compacting sync.Mutex // one compaction at a time; taken before io

	mu        sync.RWMutex // guards what follows; never held during I/O
	config    Config
	start     int64
	written   int64
	end       int64
	syncedEnd int64
	compacted int64      // below it no record has a later one of the same key that is below it too
	segments  []*segment // in order; replaced, not changed in place, when segments go
	replaced  []replaced // what compaction has replaced; the files stay until no checkpoint needs them
	tail      tail
	epochs    epochs
	failed    error // a sync failed: what is in the page cache can't be trusted to reach the disk
}

// Create makes the directory and an empty log in it, beginning at offset 0 and leader epoch 0. Segment files that are
// there are removed: the log they belonged to is gone.
func Create(fs vfs.FS, dir string, c Config) (*Log, error) {
	if err := fs.MkdirAll(dir); err != nil {
		return nil, err
	}
	return Open(fs, dir, c, State{})
}

// Open opens a log as a checkpoint recorded it. It reads the directory and no file: bytes past the state are cut,
// files unknown to it removed (the journal still has what was in them); a file that is missing or too short is in
// Damage, and reads of what it lost fail. A damaged segment gets no new batches.
func Open(fs vfs.FS, dir string, c Config, s State) (*Log, error) {
	l, err := OpenToReplay(fs, dir, c, s)
	if err != nil {
		return nil, err
	}
	return l, l.Sweep()
}

// OpenToReplay is Open before a replay of the journal: segment files unknown to the state stay where they are, since
// replay makes most of them again, and to empty a file costs less than to remove and to make one. Sweep removes the
// rest.
func OpenToReplay(fs vfs.FS, dir string, c Config, s State) (*Log, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	c = c.withDefaults()
	l := &Log{fs: fs, dir: dir, files: c.Files, ahead: c.Ahead, config: c,
		start: s.Start, written: s.End, end: s.End, syncedEnd: s.End, compacted: s.Compacted, epochs: append(epochs(nil), s.Epochs...)}
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
	if err := l.settleDirectory(s); err != nil {
		return nil, err
	}
	return l, nil
}

// settleDirectory makes the files agree with the state.
func (l *Log) settleDirectory(s State) error {
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
			continue // the checkpoint before may still be needed
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
			if err := l.vouchToCut(seg); err != nil {
				return err
			}
		}
		if e.SizeBytes > keepBytes && seg.damage == nil {
			if err := cut(l.fs, name, keepBytes); err != nil {
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

// Sweep removes the segment files that OpenToReplay has left and that were not made again, but for the one that the next
// write to a file makes: that empties it.
func (l *Log) Sweep() error {
	l.io.Lock()
	defer l.io.Unlock()
	for _, name := range l.leftover {
		if l.makes(name) {
			continue
		}
		if err := l.removeFile(fileKey{l, name, segmentFile}); err != nil {
			return err
		}
	}
	l.leftover = nil
	return nil
}

// makes says whether a segment is there, or will be by the next write.
func (l *Log) makes(name SegmentName) bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.segmentNamed(name) != nil {
		return true
	}
	waiting, n := l.tail.unwritten(), len(l.segments)
	return len(waiting) > 0 && waiting[0].BaseOffset() == name.Base && (n == 0 || !l.segments[n-1].takes(waiting[0].View, l.config))
}

func cut(fs vfs.FS, name string, sizeBytes int64) error {
	f, err := fs.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(f.Truncate(sizeBytes), f.Close())
}

// parseName takes the name of a segment or index file apart.
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

// segmentNamed returns the segment, or nil if it was deleted or replaced. With l.mu held, or before anyone else has the
// log.
func (l *Log) segmentNamed(name SegmentName) *segment {
	i := sort.Search(len(l.segments), func(i int) bool { return l.segments[i].Base >= name.Base })
	if i < len(l.segments) && l.segments[i].SegmentName == name {
		return l.segments[i]
	}
	return nil
}

// Damage lists the segments that were found missing, short or another's and that are still part of the log. After the journal
// was replayed it should be empty: a missing file below the replayed start is only a deletion that the checkpoint
// didn't know of.
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

// Append adds a batch that the journal has made durable; readers see it at once. It does no I/O. The log owns v from
// now on: its bytes must not change any more. v must pass batch.Check and begin at End; another base offset panics,
// since going on would give an offset two values. A batch of a later leader epoch begins that epoch; one of an earlier
// is stamped with the latest.
func (l *Log) Append(v batch.View) { l.AppendHeld(v, nil) }

// AppendHeld is Append of a batch in memory that is used again: it is released when the batch is no longer in memory and
// nobody was ever given its bytes by Read.
func (l *Log) AppendHeld(v batch.View, memory batch.Memory) {
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
	l.tail.append(v, memory)
	l.end = v.NextOffset()
}

// SetConfig changes how the log goes on. Segments that exist stay as they are. Files and Ahead are not changed.
func (l *Log) SetConfig(c Config) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c.Files, c.Ahead = l.files, l.ahead
	l.config = c.withDefaults()
}

// Start is the first offset that may be read.
func (l *Log) Start() int64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.start
}

// End is the offset that the next batch gets.
func (l *Log) End() int64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.end
}

// SizeBytes is the size of all batches, in segments and in memory only.
func (l *Log) SizeBytes() int64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	size := l.tail.unwrittenBytes
	for _, seg := range l.segments {
		size += seg.SizeBytes
	}
	return size
}

// Unwritten is how many bytes are in memory only.
func (l *Log) Unwritten() int64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.tail.unwrittenBytes
}

// TailBytes is how many bytes are in memory, written or not.
func (l *Log) TailBytes() int64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.tail.bytes
}

// TailReadAt is when a reader was last given something from memory, in Unix nanoseconds; 0 if that never was.
func (l *Log) TailReadAt() int64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.tail.readAt.Load()
}

// EvictTail drops batches that are in segment files from memory, oldest first, until at most keepBytes are left there.
// After a failed sync it drops nothing: memory may then be the only good copy.
func (l *Log) EvictTail(keepBytes int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failed == nil {
		l.tail.evict(keepBytes)
	}
}

// fail fences the log's files: Flush and Sync fail with err from now on. Reads go on.
func (l *Log) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failed == nil {
		l.failed = fmt.Errorf("%w: %s: %w", ErrSync, l.dir, err)
	}
}

// Close closes the files. What is unwritten is dropped: the journal has it. Reads fail with ErrClosed from now on.
func (l *Log) Close() error {
	if l.closed.Swap(true) {
		return nil
	}
	l.ahead.drop(l)
	l.compacting.Lock() // a compaction under way ends at its next batch
	defer l.compacting.Unlock()
	l.io.Lock()
	defer l.io.Unlock()
	return l.files.drop(func(k fileKey) bool { return k.log == l })
}

// Remove deletes the directory of a log that is closed, and makes that durable.
func Remove(fs vfs.FS, dir string) error {
	if err := fs.RemoveAll(dir); err != nil {
		return err
	}
	return fs.SyncDir(path.Dir(dir))
}
