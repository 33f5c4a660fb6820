package partition

import (
	"errors"
	"fmt"
	"io/fs"
	"time"
)

// Retain returns the offset to which retention under the configuration c moves the log's start at the time now. If
// nothing is to be deleted, it returns the current start. Retention deletes whole segments, oldest first, and also the
// last segment if all its records are too old. Retain itself deletes nothing: the caller must make the new start
// durable and then call DeleteBefore.
func (l *Log) Retain(now time.Time, c Config) (newStart int64) {
	l.mu.RLock()
	newStart = l.start
	size := l.tail.unwrittenBytes
	segments := make([]segment, len(l.segments))
	ends := make([]int64, len(l.segments))
	for i, seg := range l.segments {
		segments[i], ends[i] = *seg, l.segmentEnd(i)
		size += seg.SizeBytes
	}
	l.mu.RUnlock()
	if c.CompactOnly {
		return newStart
	}
	for i := range segments {
		seg := &segments[i]
		tooLarge := c.RetentionBytes > 0 && size-seg.SizeBytes >= c.RetentionBytes
		tooOld := c.Retention > 0 && now.Sub(l.newest(seg, now)) > c.Retention
		if !tooLarge && !tooOld {
			break
		}
		newStart = max(newStart, ends[i])
		size -= seg.SizeBytes
	}
	return newStart
}

// newest returns the time of a segment's newest record. If its records have no timestamps, it returns the time of the
// last write to the segment's file, as Apache Kafka does. If that is unknown, it returns now.
func (l *Log) newest(seg *segment, now time.Time) time.Time {
	if seg.MaxTimestamp >= 0 {
		return time.UnixMilli(seg.MaxTimestamp)
	}
	info, err := l.fs.Stat(fileKey{l, seg.SegmentName, segmentFile}.path())
	if err != nil {
		return now // an unknown time counts as not old
	}
	return info.Modified
}

// DeleteBefore makes start the first offset that may be read, and removes the segments that end at or below it. The new
// start must be durable already, in the journal. If start is at or below Start, DeleteBefore does nothing, so that the
// journal may be replayed. If it is above End, the error matches ErrOffsetOutOfRange. A segment whose file cannot be
// removed is removed from the log all the same; DeleteBefore returns the error, and the next Open removes the file.
func (l *Log) DeleteBefore(start int64) error {
	l.io.Lock()
	defer l.io.Unlock()
	l.mu.Lock()
	if start > l.end {
		defer l.mu.Unlock()
		return fmt.Errorf("%w: start %d in a log that ends at %d", ErrOffsetOutOfRange, start, l.end)
	}
	if start <= l.start {
		l.mu.Unlock()
		return nil
	}
	l.start = start
	l.transactions.deleteBefore(start)
	gone := 0
	for gone < len(l.segments) && l.segmentEnd(gone) <= start {
		gone++
	}
	removed := l.segments[:gone:gone]
	if gone > 0 {
		l.segments = append([]*segment(nil), l.segments[gone:]...)
	}
	// Batches below the start that are still in a segment or in memory can only be checked with their leader epochs, so
	// these epochs are kept.
	kept := min(start, l.written)
	if len(l.segments) > 0 {
		kept = min(kept, l.segments[0].Base)
	}
	l.epochs = l.epochs.from(kept)
	l.mu.Unlock()

	var errs []error
	for _, seg := range removed {
		errs = append(errs, l.removeFiles(seg.SegmentName))
	}
	return errors.Join(errs...)
}

// removeFiles removes the files of a segment that is not in the log any more. l.io must be held.
func (l *Log) removeFiles(name SegmentName) error {
	l.hints.forget(name)
	return errors.Join(l.removeFile(fileKey{l, name, segmentFile}), l.removeFile(fileKey{l, name, indexFile}))
}

// removeFile closes and removes a file. It is not an error if the file does not exist. l.io must be held.
func (l *Log) removeFile(key fileKey) error {
	closeErr := l.files.drop(func(k fileKey) bool { return k == key })
	err := l.fs.Remove(key.path())
	if errors.Is(err, fs.ErrNotExist) {
		err = nil // the segment had no index, or a crash lost the directory entry
	}
	return errors.Join(closeErr, err)
}
