// Package partition is one partition's log of batches that are durable already: a tail in memory, segment files behind
// it, and what it takes to find an offset or a time in them. The journal makes appends durable; segments are written
// lazily and only become the truth when a checkpoint records their State.
package partition

import "time"

// Defaults of Config.
const (
	DefaultSegmentBytes       = 64 << 20
	DefaultIndexIntervalBytes = 4096
)

// Config says how a log is cut into segments and what may be deleted. The zero value of each field is the default
// named beside it.
type Config struct {
	SegmentBytes       int64         // DefaultSegmentBytes; a segment is closed before it grows past this (at most 2 GiB)
	SegmentAge         time.Duration // no limit; a segment is closed when record times in it span more
	IndexIntervalBytes int           // DefaultIndexIntervalBytes; one index entry per so many bytes
	RetentionBytes     int64         // no limit; -1: no limit. Oldest segments go while the rest is still as large
	Retention          time.Duration // no limit; -1: no limit. Segments go when their newest record is older
	CompactOnly        bool          // retention deletes nothing (cleanup.policy=compact)
	Files              *Files        // open files, shared by logs; nil: one that all logs of the process share
	Ahead              *ReadAhead    // shared by logs; nil: nothing is read ahead
}

const maxSegmentBytes = 2 << 30 // positions in the index are 32 bits wide

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
