package partition

import (
	"errors"
	"fmt"
	"io/fs"
	"time"
)

// Retain decides what retention may delete under c at now: everything below newStart, which is Start if there is
// nothing. Whole written segments go, oldest first, the newest too once its records are old. It deletes nothing: make
// the new start durable, then call DeleteBefore.
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

// newest is the time of a segment's newest record; without timestamps that of its last write, as in Kafka.
func (l *Log) newest(seg *segment, now time.Time) time.Time {
	if seg.MaxTimestamp >= 0 {
		return time.UnixMilli(seg.MaxTimestamp)
	}
	info, err := l.fs.Stat(fileKey{l, seg.SegmentName, segmentFile}.path())
	if err != nil {
		return now // not to be judged, so not old
	}
	return info.Modified
}

// DeleteBefore makes start the first offset that may be read and removes the segments that end at or below it. The
// new start must be durable already; one at or below Start changes nothing, so that a journal may be replayed; one
// above End is ErrOffsetOutOfRange. If a file can't be removed, its segment is gone nevertheless: the next Open removes
// what is left.
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
	gone := 0
	for gone < len(l.segments) && l.segmentEnd(gone) <= start {
		gone++
	}
	removed := l.segments[:gone:gone]
	if gone > 0 {
		l.segments = append([]*segment(nil), l.segments[gone:]...)
	}
	// Batches below the start that are still there, or still to be written, need their epochs to be checked.
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

func (l *Log) removeFiles(name SegmentName) error {
	l.hints.forget(name)
	return errors.Join(l.removeFile(fileKey{l, name, segmentFile}), l.removeFile(fileKey{l, name, indexFile}))
}

func (l *Log) removeFile(key fileKey) error {
	closeErr := l.files.drop(func(k fileKey) bool { return k == key })
	err := l.fs.Remove(key.path())
	if errors.Is(err, fs.ErrNotExist) {
		err = nil // there is no index, or a crash lost the file's entry
	}
	return errors.Join(closeErr, err)
}
