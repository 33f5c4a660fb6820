// Package partition implements the log of one partition: its newest batches in memory, its segment files, and indexes
// by offset and by time. Batches that are appended to a log must be durable already, in the journal. They are written
// to segments later. A segment's bytes count only as far as a checkpoint has recorded them in the log's State; the
// bytes after that are written again from the journal after a restart.
package partition

import "time"

// These are defaults of fields of Config, in bytes.
const (
	DefaultSegmentBytes       = 64 << 20
	DefaultIndexIntervalBytes = 4096
)

// Config contains the parameters of a log: how it is divided into segments, what retention may delete, and what it
// shares with other logs. The zero value of a field stands for the default that its comment names.
type Config struct {
	// SegmentBytes is the largest size of a segment: a segment is closed before it would be larger, and at the latest at
	// 2 GiB. The default is DefaultSegmentBytes.
	SegmentBytes int64
	// SegmentAge limits the time that the timestamps of a segment's records span: a segment is closed before they would
	// span more. The default is no limit.
	SegmentAge time.Duration
	// IndexIntervalBytes is the number of bytes of a segment for which the index has about one entry. The default is
	// DefaultIndexIntervalBytes.
	IndexIntervalBytes int
	// RetentionBytes is the size of the log that retention keeps: it removes the oldest segments while the others have
	// at least this size together. The default is no limit, as for -1.
	RetentionBytes int64
	// Retention is how long records are kept: retention removes segments whose newest record is older. The default is no
	// limit, as for -1.
	Retention   time.Duration
	CompactOnly bool       // retention deletes nothing (cleanup.policy=compact); default false
	Files       *FileCache // the cache of open files; default: one that all logs of the process share
	ReadAhead   *ReadAhead // reads ahead for consumers; may be shared by logs. nil: nothing is read ahead
}

// maxSegmentBytes is the largest size of a segment. The index stores positions in 32 bits.
const maxSegmentBytes = 2 << 30

func (c Config) withDefaults() Config {
	if c.SegmentBytes <= 0 {
		c.SegmentBytes = DefaultSegmentBytes
	}
	c.SegmentBytes = min(c.SegmentBytes, maxSegmentBytes)
	if c.IndexIntervalBytes <= 0 {
		c.IndexIntervalBytes = DefaultIndexIntervalBytes
	}
	if c.Files == nil {
		c.Files = sharedFiles
	}
	return c
}
