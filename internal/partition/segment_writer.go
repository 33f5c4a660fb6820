package partition

import (
	"errors"
	"fmt"

	"tidings.dev/internal/batch"
	"tidings.dev/internal/vfs"
)

// segmentWriter writes a new segment file that will replace other segments, for compaction and for Repair. No state
// contains the name of the file, so that after a crash the next Open removes it.
//
// Batches must be added in order and without holes: a batch must begin at next, and add then moves next to the offset
// after it. For a hole the caller calls gap. Invariant: seg.Base <= next. A segmentWriter is used by one goroutine.
type segmentWriter struct {
	fs     vfs.FS
	name   string // name of the file, with its directory
	file   vfs.File
	seg    *segment // describes the batches that were added so far, whether they are in the file or in buf
	next   int64    // offset at which the next batch must begin
	epochs epochs   // leader epochs of the log, for gaps

	indexIntervalBytes int
	syncBytes          int64 // number of bytes after which the file is synced; 0 means that only finish syncs
	// wrote is called after each write with the number of bytes written. If it returns an error, the work ends with
	// that error. It may be nil.
	wrote func(n int64) error

	buf      []byte // batches that were added and are not in the file yet
	inFile   int64  // number of bytes in the file; inFile + len(buf) == seg.SizeBytes
	unsynced int64  // number of bytes in the file that are not synced
}

// create creates an empty file. After it the caller must call finish or discard.
func (w *segmentWriter) create() (err error) {
	w.file, err = w.fs.Create(w.name)
	return err
}

// add appends a batch. It copies the bytes of v.
func (w *segmentWriter) add(v batch.View) error {
	if v.BaseOffset() != w.next {
		return fmt.Errorf("partition: a batch at offset %d where %d belongs", v.BaseOffset(), w.next)
	}
	if w.seg.SizeBytes+int64(len(v)) > maxSegmentBytes { // timestamps that are encoded again can make a batch longer
		return fmt.Errorf("partition: %s: what is left of the batches does not fit a segment", w.name)
	}
	w.seg.add(v, w.indexIntervalBytes)
	w.next = v.NextOffset()
	w.buf = append(w.buf, v...)
	if len(w.buf) < writeBytes {
		return nil
	}
	return w.flush()
}

// gap adds empty batches for the offsets [next, to). If to is at or below next, it does nothing.
func (w *segmentWriter) gap(to int64) error {
	for w.next < to {
		last := min(to, w.next+1<<31) - 1 // the last offset delta of a batch has 31 bits
		if err := w.add(batch.AppendGap(nil, w.next, last, w.epochs.at(w.next))); err != nil {
			return err
		}
	}
	return nil
}

// flush writes buf to the file.
func (w *segmentWriter) flush() error {
	if len(w.buf) == 0 {
		return nil
	}
	if _, err := w.file.WriteAt(w.buf, w.inFile); err != nil {
		return err
	}
	n := int64(len(w.buf))
	w.inFile, w.unsynced, w.buf = w.inFile+n, w.unsynced+n, w.buf[:0]
	if w.syncBytes > 0 && w.unsynced >= w.syncBytes {
		if err := w.file.Sync(); err != nil {
			return err
		}
		w.unsynced = 0
	}
	if w.wrote == nil {
		return nil
	}
	return w.wrote(n)
}

// finish writes and syncs the content of the file and closes it. The directory is not synced. After an error the caller
// must call discard.
func (w *segmentWriter) finish() error {
	if err := w.flush(); err != nil {
		return err
	}
	if err := w.file.Sync(); err != nil {
		return err
	}
	file := w.file
	w.file = nil
	return file.Close()
}

// discard closes and removes the file.
func (w *segmentWriter) discard() error {
	var err error
	if w.file != nil {
		err = w.file.Close()
		w.file = nil
	}
	return errors.Join(err, w.fs.Remove(w.name))
}
