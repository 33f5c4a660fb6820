package broker

import (
	"log/slog"
	"time"

	"tidings.dev/internal/vfs"
)

// Config says where a broker keeps its log and how it runs. Dir or Memory is required; the zero value of every other
// field is the default named beside it.
type Config struct {
	// Dir is the data directory. It is made if it is not there; one that holds anything else than a broker's data is
	// refused with *ForeignError. One broker at a time owns it: a second is refused with *LockedError.
	Dir string
	// Memory keeps everything in memory, for tests; Dir must be empty. Nothing else behaves differently.
	Memory bool

	Logger *slog.Logger // slog.DiscardHandler

	// AutoCreateTopics lets producers and consumers create a topic by using its name. Default false.
	AutoCreateTopics  bool
	DefaultPartitions int32 // 4, of topics that don't say

	// AdvertisedAddr is the address that clients are told to connect to, "host:port" or "host". Empty: the address that
	// each client dialled.
	AdvertisedAddr string

	MaxConnections     int           // 10,000; one more is closed at once
	MaxConnectionBytes int           // 64 MiB of requests read and not yet handled, per connection
	MaxInFlightBytes   int64         // 256 MiB of requests read and not yet handled, in all
	MaxBatchBytes      int64         // 1 MiB + 12, the largest record batch; a topic's max.message.bytes overrides it
	TailBytes          int64         // 32 MiB of recent records kept in memory while consumers are there, in all (8 MiB in memory mode)
	SegmentBytes       int64         // 64 MiB; a topic's segment.bytes overrides it
	CheckpointBytes    int64         // 64 MiB of journal between checkpoints (8 MiB in memory mode); up to four times that with more than 256 partitions written to
	RetentionInterval  time.Duration // 5 min between looks at what retention lets go
	DrainTimeout       time.Duration // 10 s that Close gives requests under way

	fs vfs.FS // of tests: takes the place of Dir and Memory
}
