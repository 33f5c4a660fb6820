package engine

import (
	"time"

	"tidings.dev/internal/datadir"
	"tidings.dev/internal/partition"
)

// Partition identifies one partition by the id of its topic and its index within the topic, which begins at 0.
type Partition = datadir.Partition

// Appended is the result of one append, which the append's done function receives.
type Appended struct {
	Err        error
	BaseOffset int64 // offset of the first record; -1 if Err is not nil
	// LogAppendTime is the append time in milliseconds since the Unix epoch. It is -1 if the topic's timestamp type is
	// CreateTime, and if Err is not nil.
	LogAppendTime int64
	LogStart      int64 // first offset of the partition that may be read; -1 if Err is not nil
}

// FetchRequest is the argument of Engine.Fetch: it asks for batches of one or more partitions.
type FetchRequest struct {
	Partitions []FetchPartition
	MaxBytes   int           // upper bound for the batches of all partitions together
	MinBytes   int           // size of batches that the fetch waits for; values below 1 count as 1
	MaxWait    time.Duration // how long the fetch waits for MinBytes; 0 means that it does not wait
	// Hurry, unless nil, receives a value when somebody waits for the fetch to end. The fetch then waits for HurriedWait since
	// its begin at most.
	Hurry       <-chan struct{}
	HurriedWait time.Duration
	// Stored means that the caller can send batches from files, so that Fetched.Stored may be used instead of Records.
	Stored bool
	// Committed means that only batches below the last stable offset are returned, with the aborted transactions that
	// overlap them.
	Committed bool
	// Budget, unless nil, bounds the memory of Fetched.Records. The caller returns to it the bytes of the Records that it
	// gets, when it does not need them any more.
	Budget ReadBudget
}

// ReadBudget bounds the bytes of batches that are read into memory. It is safe for concurrent use.
type ReadBudget interface {
	// Take takes up to wantBytes, and returns how many. If it returns 0, no batch is read, and the fetch does not wait.
	Take(wantBytes int) int
	// Return takes back bytes. They are negative if a batch that was read is larger than what Take has taken.
	Return(bytes int)
}

// FetchPartition asks for batches of one partition, beginning with the batch that contains Offset.
type FetchPartition struct {
	Partition
	Offset int64
	// MaxBytes is the upper bound for the batches of this partition. A first batch that is larger is returned all the
	// same.
	MaxBytes    int
	LeaderEpoch int32 // the leader epoch that the caller believes is current; -1 means that it is not checked
}

// Fetched is the result of a fetch for one partition. It contains whole batches, either in Records or in the part of a
// segment file that Stored describes, never in both. The bytes of Records are immutable: the caller may keep them
// without a limit of time and must not write to them.
type Fetched struct {
	Err error
	// HighWatermark is the offset after the last record that may be read. HighWatermark, LastStable and LogStart are -1
	// if the partition was not found, if its leader epoch is not the requested one, and if the engine was closed before
	// the fetch began.
	HighWatermark int64
	LastStable    int64
	LogStart      int64
	Records       [][]byte
	Stored        Stored
	// Aborted has the aborted transactions that overlap the batches, if FetchRequest.Committed. It must not be changed.
	Aborted []AbortedTransaction
}

type (
	// Stored is a run of batches in a segment file. Its zero value is an empty run.
	Stored = partition.Stored
	// OpenStored is a Stored whose file is held open until its batches are sent.
	OpenStored = partition.OpenStored
	// AbortedTransaction is an aborted transaction in a partition.
	AbortedTransaction = partition.AbortedTransaction
)

// SizeBytes returns the size of all batches of f, whether they are in Records or in Stored.
func (f *Fetched) SizeBytes() int { return f.InMemoryBytes() + f.Stored.SizeBytes() }

// InMemoryBytes returns the sum of the sizes of Records in bytes.
func (f *Fetched) InMemoryBytes() int {
	n := 0
	for _, b := range f.Records {
		n += len(b)
	}
	return n
}

// Latest, Earliest and MaxTimestamp are the timestamps with a special meaning in OffsetFor. Their values are those of
// the ListOffsets request.
const (
	Latest       = -1
	Earliest     = -2
	MaxTimestamp = -3
)

// Listed is the result of OffsetFor.
type Listed struct {
	Offset      int64
	Timestamp   int64 // milliseconds since the Unix epoch; -1 for Latest and Earliest, and if no record was found
	LeaderEpoch int32 // leader epoch of the record at Offset; -1 if no record was found
}
