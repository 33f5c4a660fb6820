package partition

import (
	"fmt"

	"tidings.dev/internal/batch"
)

// segment is a part of a log that is stored in one file. The file consists of batches, one after the other, as they
// were received. Its name is the base offset of the first batch.
//
//	00000000000000000000.log     | batch [0,3) | batch [3,4) | batch [4,90) |
//	00000000000000000000.index   see index.go; absent while the segment is shorter than an index interval
//	00000000000000000090.log     | batch [90,97) | …
//
// Compaction writes the records that it keeps of one or more segments to a new file of the next generation. In the
// place of whole batches that it removes it writes a gap: an empty batch without a producer. Each batch therefore
// begins where the one before it ends, so that every base offset can be checked. Readers do not get gaps.
//
//	00000000000000000000.1.log   | gap [0,3) | batch [3,4) | batch [4,90), 7 of its records | …
//
// The log's mu guards the fields of a segment. A copy of the struct that is made under mu is a consistent snapshot.
// Invariants: synced.SizeBytes <= SizeBytes and indexedBytes <= SizeBytes.
type segment struct {
	SegmentState              // what is written to the file; not all of it is synced
	synced       SegmentState // the part that is synced, for a checkpoint; SizeBytes is 0 before the first sync
	// writtenOutBytes is the position up to which WriteOut has asked the operating system to write the file to the
	// disk.
	writtenOutBytes int64
	pending         []indexEntry  // entries that are not in the index file yet; the slice is never changed in place
	indexedBytes    int64         // position of the batch of the newest index entry
	full            bool          // the segment is closed: no batch may be added to it
	damage          *CorruptError // damage that Open or Flush has found; nil if there is none
}

// CorruptError reports that a file does not contain what was written and made durable. Damaged batches are never
// returned to readers.
type CorruptError struct {
	File     string
	Position int64 // in bytes from the start of the file
	Reason   string
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("partition: %s is corrupt at byte %d: %s", e.File, e.Position, e.Reason)
}

// accepts reports whether the batch v may be added to the segment. As in Apache Kafka it may not if the segment would
// get larger than c.SegmentBytes, if the times of its records would span more than c.SegmentAge, or if its offsets,
// relative to its base, would not fit 32 bits.
func (s *segment) accepts(v batch.View, c Config) bool {
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

// add records that the batch v was written at the end of the segment's file. It updates size, timestamps, fingerprint
// and index entries.
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
	s.Fingerprint.add(s.SizeBytes, v)
	s.SizeBytes += int64(len(v))
}
