package partition

import (
	"errors"
	"fmt"
	"slices"

	"tidings.dev/internal/batch"
	"tidings.dev/internal/vfs"
)

// rewriting is one new segment on its way to replace one or more old ones. It is written beside everything else under a
// name that no state knows, so that until it is complete and synced, directory entry included, a crash only leaves a
// file for the next Open to remove.
type rewriting struct {
	pass      *pass
	originals []*segment
	seg       *segment
	end       int64 // offset after the originals
	next      int64 // offset after the batches so far

	file     vfs.File
	buf      []byte // of what is not yet in the file
	inFile   int64
	unsynced int64
}

// syncBytes is how much of a new segment is synced at a time, so that the journal never waits for all of it.
const syncBytes = 4 << 20

// fits says whether another segment may be added.
func (r *rewriting) fits(in *passInput) bool {
	return r.seg.SizeBytes+in.SizeBytes <= r.pass.config.SegmentBytes && in.end-r.seg.Base <= maxSegmentOffsets
}

// take writes what the pass leaves of a segment.
func (r *rewriting) take(in *passInput) error {
	if r.seg == nil {
		r.seg = &segment{SegmentState: newSegment(in.Base, in.Generation+1), full: true}
		r.next = in.Base
		f, err := r.pass.log.fs.Create(r.key().path())
		if err != nil {
			return err
		}
		r.file = f
	}
	r.originals = append(r.originals, in.original)
	r.end = in.end
	return r.pass.eachBatch(in, func(v batch.View) (bool, error) {
		base, next := v.BaseOffset(), v.NextOffset()
		out, _ := r.pass.filter(r.pass.scratch[:0], v)
		r.pass.scratch = out
		if len(out) == 0 {
			return true, nil
		}
		if err := r.fill(base); err != nil {
			return false, err
		}
		r.next = next
		return true, r.add(out)
	})
}

// fill puts a gap up to an offset, if anything is missing there.
func (r *rewriting) fill(to int64) error {
	if r.next == to {
		return nil
	}
	gap := batch.AppendGap(nil, r.next, to-1, r.pass.known.at(r.next))
	r.next = to
	return r.add(gap)
}

func (r *rewriting) add(v batch.View) error {
	if r.seg.SizeBytes+int64(len(v)) > maxSegmentBytes { // re-encoded timestamps can make a batch longer
		return fmt.Errorf("partition: %s: what compaction leaves does not fit a segment", r.key().path())
	}
	r.seg.add(v, r.pass.config.IndexIntervalBytes)
	r.buf = append(r.buf, v...)
	if len(r.buf) < writeBytes {
		return nil
	}
	return r.write()
}

func (r *rewriting) write() error {
	if len(r.buf) == 0 {
		return nil
	}
	if _, err := r.file.WriteAt(r.buf, r.inFile); err != nil {
		return err
	}
	n := int64(len(r.buf))
	r.inFile += n
	r.unsynced += n
	r.pass.did.WrittenBytes += n
	r.buf = r.buf[:0]
	if r.unsynced >= syncBytes {
		if err := r.file.Sync(); err != nil {
			return err
		}
		r.unsynced = 0
	}
	return r.pass.pace(n)
}

// finish makes the new segment durable and puts it in the place of the old ones.
func (r *rewriting) finish() error {
	if err := r.fill(r.end); err != nil {
		return err
	}
	if err := r.write(); err != nil {
		return err
	}
	if err := r.file.Sync(); err != nil {
		return err
	}
	err := r.file.Close()
	r.file = nil
	if err != nil {
		return err
	}
	l := r.pass.log
	if err := l.fs.SyncDir(l.dir); err != nil {
		return err
	}
	r.seg.synced = r.seg.SegmentState
	return l.replace(r.originals, r.seg, r.end)
}

// discard removes what was written. Should that fail, the next Open does it.
func (r *rewriting) discard() {
	if r.file != nil {
		_ = r.file.Close()
	}
	if r.seg != nil {
		_ = r.pass.log.fs.Remove(r.key().path())
	}
}

func (r *rewriting) key() fileKey { return fileKey{r.pass.log, r.seg.SegmentName, segmentFile} }

// replaced is a segment that compaction has put another in the place of. Its files stay, for the checkpoints that name
// it.
type replaced struct {
	SegmentName
	kept bool // a checkpoint has been taken that doesn't use it, so that it stays for the one before only
}

// replace puts a synced segment in the place of its originals, which must still be there (errGone).
func (l *Log) replace(originals []*segment, seg *segment, end int64) error {
	l.io.Lock()
	defer l.io.Unlock()
	if l.closed.Load() {
		return ErrClosed
	}
	l.mu.Lock()
	at := slices.Index(l.segments, originals[0])
	if at < 0 || at+len(originals) > len(l.segments) || !slices.Equal(l.segments[at:at+len(originals)], originals) {
		l.mu.Unlock()
		return errGone
	}
	l.segments = slices.Concat(l.segments[:at], []*segment{seg}, l.segments[at+len(originals):])
	for _, old := range originals {
		l.replaced = append(l.replaced, replaced{SegmentName: old.SegmentName})
	}
	if l.failed == nil {
		l.tail.evictBelow(end) // or memory would serve what was taken away
	}
	l.mu.Unlock()

	// Entries that don't get to the file stay in memory until they do: nothing is lost by going on.
	_ = l.writeIndex(seg)
	return nil
}

// Replaced is how many segments that compaction has replaced still have their files.
func (l *Log) Replaced() int {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return len(l.replaced)
}

// Reclaim says that s, which State returned, is in a checkpoint that is durable, and that of those before only the last
// may still be used. It removes files of replaced segments that neither needs. Files that can't be removed are left to
// the next Open. waiting is how many replaced segments still have their files: further checkpoints will free them.
func (l *Log) Reclaim(s State) (waiting int, err error) {
	l.io.Lock()
	defer l.io.Unlock()
	l.mu.Lock()
	var gone, stay []replaced
	for _, old := range l.replaced {
		switch {
		case old.kept:
			gone = append(gone, old)
		case slices.Contains(s.Replaced, old.SegmentName):
			old.kept = true
			fallthrough
		default:
			stay = append(stay, old)
		}
	}
	l.replaced = stay
	l.mu.Unlock()
	var errs []error
	for _, old := range gone {
		errs = append(errs, l.removeFiles(old.SegmentName))
	}
	return len(stay), errors.Join(errs...)
}
