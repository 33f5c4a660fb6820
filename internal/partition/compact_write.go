package partition

import (
	"errors"
	"slices"

	"tidings.dev/internal/batch"
)

// replacement is a new segment that is being written to replace one or more old segments. Its file has a name that no
// state contains. After a crash before the file is complete and synced, directory entry included, the next Open removes
// it.
type replacement struct {
	run       *compactionRun
	originals []*segment     // the old segments: neighbours, in order
	end       int64          // offset after the last record of originals
	w         *segmentWriter // nil before the first call of take
}

// compactionSyncBytes is the number of bytes after which a new segment is synced. Frequent syncs make sure that a sync
// of the journal never has to wait for the data of a whole segment.
const compactionSyncBytes = 4 << 20

// fits reports whether one more input can be added to the new segment. It assumes the worst case, in which the
// compaction removes nothing from it.
func (r *replacement) fits(in *compactionInput) bool {
	return r.w.seg.SizeBytes+in.SizeBytes <= r.run.config.SegmentBytes && in.end-r.w.seg.Base <= maxSegmentOffsets
}

// take adds what the compaction keeps of one input to the new segment. The input must follow the last original.
func (r *replacement) take(in *compactionInput) error {
	if r.w == nil {
		if err := r.begin(in); err != nil {
			return err
		}
	}
	r.originals = append(r.originals, in.original)
	r.end = in.end
	return r.run.eachBatch(in, func(v batch.View) (bool, error) {
		out, _ := r.run.filter(r.run.scratch[:0], v)
		r.run.scratch = out
		if len(out) == 0 {
			return true, nil
		}
		if err := r.w.gap(v.BaseOffset()); err != nil {
			return false, err
		}
		return true, r.w.add(out)
	})
}

// begin creates the new segment's file. The segment's generation is one higher than that of in, its first original.
func (r *replacement) begin(in *compactionInput) error {
	l, seg := r.run.log, &segment{SegmentState: newSegment(in.Base, in.Generation+1), full: true}
	w := &segmentWriter{fs: l.fs, name: fileKey{l, seg.SegmentName, segmentFile}.path(), seg: seg, next: seg.Base,
		epochs: r.run.known, indexIntervalBytes: r.run.config.IndexIntervalBytes, syncBytes: compactionSyncBytes,
		wrote: func(n int64) error {
			r.run.did.WrittenBytes += n
			return r.run.pace(n)
		}}
	if err := w.create(); err != nil {
		return err
	}
	r.w = w
	return nil
}

// finish makes the new segment durable and replaces the originals by it in the log.
func (r *replacement) finish() error {
	if err := r.w.gap(r.end); err != nil {
		return err
	}
	if err := r.w.finish(); err != nil {
		return err
	}
	l := r.run.log
	if err := l.fs.SyncDir(l.dir); err != nil {
		return err
	}
	r.w.seg.synced = r.w.seg.SegmentState
	return l.replace(r.originals, r.w.seg, r.end)
}

// discard removes the new segment's file, if there is one. If that fails, the next Open removes the file.
func (r *replacement) discard() {
	if r.w != nil {
		_ = r.w.discard()
	}
}

// replaced is a segment that compaction has replaced by another one. Its files are kept for the checkpoints that name
// it.
type replaced struct {
	SegmentName
	// kept means that the newest durable checkpoint does not need the files, so that they are kept only for the
	// checkpoint before it.
	kept bool
}

// replace puts the synced segment seg in the place of originals, the last of which ends before the offset end. It
// returns errGone if not all originals are in the log any more.
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
		l.tail.evictBelow(end) // otherwise reads would get the removed records from memory
	}
	l.mu.Unlock()

	// Index entries that could not be written stay in memory until a later write, so the error can be ignored.
	_ = l.writeIndex(seg)
	return nil
}

// Replaced returns the number of replaced segments whose files still exist.
func (l *Log) Replaced() int {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return len(l.replaced)
}

// Reclaim removes the files of replaced segments that no checkpoint needs any more. Its argument s is a result of
// State, and the caller calls it once a checkpoint that contains s is durable. Of the earlier checkpoints only the last
// may still be used then. waiting is the number of replaced segments whose files must stay for now; further checkpoints
// free them. After an error the next Open removes the files that could not be removed.
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
