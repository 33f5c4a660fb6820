package partition

import (
	"fmt"

	"tidings.dev/internal/batch"
)

// A segment is a file of batches, one after the other as they were received, and nothing else: its name is the offset
// of the first.
//
//	00000000000000000000.log     | batch [0,3) | batch [3,4) | batch [4,90) |
//	00000000000000000000.index   see index.go; absent while the segment is shorter than an index interval
//	00000000000000000090.log     | batch [90,97) | …
//
// Compaction writes what it leaves of one or more segments to a new file of the next generation. Where it took whole
// batches away, a gap stands for them: a batch of no records and no producer, so that each batch still begins where the
// one before it ended and every base offset can be checked. Readers are not given gaps.
//
//	00000000000000000000.1.log   | gap [0,3) | batch [3,4) | batch [4,90), 7 of its records | …
//
// The log's lock guards a segment's fields; a copy of the struct is a consistent snapshot.
type segment struct {
	SegmentState               // what is written; not all of it is synced
	synced       SegmentState  // what a checkpoint may say; SizeBytes 0 before the first sync
	sentBytes    int64         // how much of it WriteOut has sent to the disk
	pending      []indexEntry  // index entries that aren't in the index file yet, never changed in place
	indexedBytes int64         // position of the newest index entry
	full         bool          // no batch is added any more
	damage       *CorruptError // what Open or Flush found
}

// CorruptError says that a file isn't what was written and made durable. The bytes are never served. What is left of
// the file can be looked at; what was lost must come from a backup.
type CorruptError struct {
	File     string
	Position int64 // in bytes from the start of the file
	Reason   string
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("partition: %s is corrupt at byte %d: %s", e.File, e.Position, e.Reason)
}

// takes says whether a batch may be added. Like Kafka a segment is closed before it grows past its size, when the
// record times in it span more than its age, and when offsets in it would not fit 32 bits.
func (s *segment) takes(v batch.View, c Config) bool {
	switch {
	case s.full:
		return false
	case s.SizeBytes == 0:
		return true
	case s.SizeBytes+int64(len(v)) > c.SegmentBytes:
		return false
	case c.SegmentAge > 0 && v.MaxTimestamp()-s.FirstTimestamp > c.SegmentAge.Milliseconds():
		return false
	}
	return v.LastOffset()-s.Base < 1<<31
}

// add notes that a batch was written at the end of the file.
func (s *segment) add(v batch.View, indexIntervalBytes int) {
	if s.SizeBytes == 0 {
		s.FirstTimestamp, s.MaxTimestamp, s.MaxBase = v.FirstTimestamp(), v.MaxTimestamp(), v.BaseOffset()
	} else if s.SizeBytes-s.indexedBytes >= int64(indexIntervalBytes) {
		s.pending = append(s.pending, indexEntry{
			offset: uint32(v.BaseOffset() - s.Base), position: uint32(s.SizeBytes), maxBefore: s.MaxTimestamp})
		s.indexedBytes = s.SizeBytes
	}
	if v.MaxTimestamp() > s.MaxTimestamp {
		s.MaxTimestamp, s.MaxBase = v.MaxTimestamp(), v.BaseOffset()
	}
	if at, ok := v.DeleteHorizon(); ok && (s.DeleteHorizon < 0 || at < s.DeleteHorizon) {
		s.DeleteHorizon = at
	}
	s.Mark.add(s.SizeBytes, v)
	s.SizeBytes += int64(len(v))
}
