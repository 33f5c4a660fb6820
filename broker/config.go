package broker

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"time"

	"tidings.dev/internal/vfs"
)

// Config is the configuration of a broker. Exactly one of Dir and Memory must be set. Every other field has the default
// named beside it when it is zero. [Open] refuses negative values.
type Config struct {
	// Dir is the data directory. Open creates it if it does not exist, and returns a *[ForeignError] if it contains
	// other files than a broker's. Only one broker at a time can have it open; a second Open returns a *[LockedError].
	Dir string
	// Memory keeps the log in memory instead of in a directory, for tests. The log is lost when the broker is closed.
	// There are then no unix sockets for [DialDir], [SnapshotOf] and [CheckpointOf].
	Memory bool

	Logger *slog.Logger // default: discards everything

	// AutoCreateTopics allows clients to create a topic by producing to its name or consuming from it; a client must
	// ask for that, too. By default a client must create topics explicitly.
	AutoCreateTopics  bool
	DefaultPartitions int32 // number of partitions of a topic that is created without a number; default 4

	// Settings are configurations of the broker by the names that Apache Kafka has for them, such as
	// "log.retention.hours"; docs/commands.md lists them. They win over other fields of Config. Open returns an error for one that
	// the broker does not have or that has a value it may not have.
	Settings map[string]string

	// AdvertisedAddr is the address that clients are told to connect to: "host:port", or "host" with the port that each
	// client dialled. If AdvertisedAddr is empty, each client is told the address that it dialled.
	AdvertisedAddr string

	// MaxConnections is the number of connections that are served at the same time; a further connection is closed at
	// once. Default 10,000. Accepted connections are also bounded by the process's limit of open files, of which about half
	// is kept for the log.
	MaxConnections int
	// MaxConnectionBytes bounds the requests of one connection that are read and not yet handled, in bytes; default 64
	// MiB.
	MaxConnectionBytes int
	// MaxInFlightBytes bounds the requests of all connections together that are read and not yet handled, in bytes;
	// default and minimum 128 MiB. A request counts as its bytes arrive. While others wait for memory, connections whose
	// requests arrive slowly are closed.
	MaxInFlightBytes int64
	// MaxBatchBytes is the maximum size of one record batch, in bytes; default 1 MiB + 12. A topic overrides it by its
	// configuration max.message.bytes.
	MaxBatchBytes int64
	// TailBytes is the memory for the newest batches of all partitions together, in bytes, while there are consumers
	// that read them. The default is 32 MiB, or 8 MiB if the field Memory is set.
	TailBytes int64
	// SegmentBytes is the size at which a segment file is closed and the next one begun, in bytes; default 64 MiB. A
	// topic overrides it by its configuration segment.bytes.
	SegmentBytes int64
	// CheckpointBytes is the number of bytes written to the journal between two checkpoints; default 64 MiB, with
	// Memory 8 MiB. If more than 256 partitions are written to, there may be up to four times as many.
	CheckpointBytes int64
	// RetentionInterval is the time between two searches for records whose retention has ended; default 5 min.
	RetentionInterval time.Duration
	// DrainTimeout is how long Close waits for the requests that have arrived to be answered; default 10 s.
	DrainTimeout time.Duration

	// fs, if not nil, is used in place of Dir and Memory. Only tests set it.
	fs vfs.FS
}

// check returns an error that names the field of c whose value cannot be used, or nil.
func (c Config) check() error {
	switch {
	case c.fs != nil:
	case c.Dir == "" && !c.Memory:
		return errors.New("broker: Config.Dir is empty: set it to the data directory, or set Config.Memory to keep the log in memory")
	case c.Dir != "" && c.Memory:
		return fmt.Errorf("broker: Config.Dir is %q and Config.Memory is set: set only one of them", c.Dir)
	}
	for _, f := range []struct {
		name  string
		value int64
	}{
		{"DefaultPartitions", int64(c.DefaultPartitions)},
		{"MaxConnections", int64(c.MaxConnections)},
		{"MaxConnectionBytes", int64(c.MaxConnectionBytes)},
		{"MaxInFlightBytes", c.MaxInFlightBytes},
		{"MaxBatchBytes", c.MaxBatchBytes},
		{"TailBytes", c.TailBytes},
		{"SegmentBytes", c.SegmentBytes},
		{"CheckpointBytes", c.CheckpointBytes},
		{"RetentionInterval", int64(c.RetentionInterval)},
		{"DrainTimeout", int64(c.DrainTimeout)},
	} {
		if f.value < 0 {
			return fmt.Errorf("broker: Config.%s is %d, and must not be negative: 0 means the default", f.name, f.value)
		}
	}
	return checkAdvertised(c.AdvertisedAddr)
}

// checkAdvertised returns an error if clients could not dial the address. The empty address, and a host without a port,
// are accepted.
func checkAdvertised(address string) error {
	if address == "" {
		return nil
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil // a host without a port
	}
	if _, err := strconv.ParseUint(port, 10, 16); host == "" || err != nil {
		return fmt.Errorf(`broker: Config.AdvertisedAddr is %q, which clients cannot dial: it must be "host:port" or "host"`, address)
	}
	return nil
}
