// Package engine joins the storage rooms and the coordinators into a log: it gives offsets, makes everything durable
// through one journal, wakes whoever waits, takes checkpoints, applies retention, and recovers. It speaks no protocol.
package engine

import (
	"log/slog"
	"time"

	"tidings.dev/internal/meta"
	"tidings.dev/internal/partition"
	"tidings.dev/internal/vfs"
)

// Config says how an engine runs. The zero value of each field is the default named beside it.
type Config struct {
	FS                vfs.FS           // required: the data directory
	Now               func() time.Time // time.Now
	Logger            *slog.Logger     // slog.DiscardHandler
	AutoCreateTopics  bool             // false
	DefaultPartitions int32            // 4
	SegmentBytes      int64            // 64 MiB; a topic's segment.bytes overrides it
	JournalFileBytes  int64            // the journal's own default; the size of one of its files
	CheckpointBytes   int64            // 64 MiB of journal between checkpoints, and up to four times that with many partitions
	TailBytes         int64            // 32 MiB of recent batches, shared by all partitions, as long as consumers are there
	MaxBatchBytes     int64            // 1 MiB + overhead as in Kafka (1048588); a topic's max.message.bytes overrides it
	MaxPendingBytes   int64            // 64 MiB of appends queued for the journal, in all
	CompactionBytes   int              // 16 MiB; memory for keys while a partition is compacted, one at a time
	RetentionInterval time.Duration    // 5 min between retention passes, and looks whether compaction is due (deletion is never on an idle tick below this)
	RoomInterval      time.Duration    // 1 s between looks for room while the disk is full and nothing says that there is some
}

// Partition names one partition by its topic's identity.
type Partition struct {
	Topic meta.TopicID
	Index int32
}

// Appended is the answer to one append.
type Appended struct {
	Err           error
	BaseOffset    int64
	LogAppendTime int64 // ms since the epoch, -1 under CreateTime
	LogStart      int64
}

// FetchRequest reads several partitions at once. The engine answers as soon as MinBytes are there, or MaxWait is over,
// or any partition has an error.
type FetchRequest struct {
	Partitions []FetchPartition
	MaxBytes   int
	MinBytes   int
	MaxWait    time.Duration
	Stored     bool // whoever asks can send files: Fetched.Stored is welcome
}

type FetchPartition struct {
	Partition
	Offset      int64
	MaxBytes    int
	LeaderEpoch int32 // -1: not checked
}

// Fetched is what one partition gave. Records are whole batches, immutable and owned by the garbage collector: hold
// them as long as needed, never write to them. Where Stored has something they are none: the batches are in a file.
type Fetched struct {
	Err           error
	HighWatermark int64
	LastStable    int64
	LogStart      int64
	Records       [][]byte
	Stored        Stored
}

// Stored is a run of batches in a file, OpenStored one that is about to be sent.
type (
	Stored     = partition.Stored
	OpenStored = partition.OpenStored
)

// SizeBytes is how much there is, in memory or stored.
func (f *Fetched) SizeBytes() int { return f.InMemoryBytes() + f.Stored.SizeBytes() }

// InMemoryBytes is how long the Records are.
func (f *Fetched) InMemoryBytes() int {
	n := 0
	for _, b := range f.Records {
		n += len(b)
	}
	return n
}

// Sentinel timestamps of OffsetFor (ListOffsets).
const (
	Latest       = -1
	Earliest     = -2
	MaxTimestamp = -3
)

// Listed is a position found by OffsetFor.
type Listed struct {
	Offset      int64
	Timestamp   int64 // -1 when asked by sentinel (except MaxTimestamp)
	LeaderEpoch int32
}
