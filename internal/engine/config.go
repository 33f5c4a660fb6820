package engine

import (
	"cmp"
	"log/slog"
	"time"

	"tidings.dev/internal/group"
	"tidings.dev/internal/meta"
	"tidings.dev/internal/vfs"
)

// Config contains the parameters of an engine. The zero value of a field stands for the default that its comment names.
type Config struct {
	FS                vfs.FS           // the data directory; required
	Now               func() time.Time // the clock for timestamps and retention; default time.Now
	Logger            *slog.Logger     // default: a logger that discards everything
	AutoCreateTopics  bool             // whether AutoCreate may create topics; default false
	DefaultPartitions int32            // number of partitions of a topic whose creation names no number; default 4
	SegmentBytes      int64            // size of a segment, which a topic's segment.bytes overrides; default 64 MiB
	JournalFileBytes  int64            // size of one file of the journal; default: that of journal.Options.FileBytes
	// CheckpointBytes is how much is journaled between two checkpoints. The default is 64 MiB. With more than 256 busy
	// partitions it is up to four times as much.
	CheckpointBytes int64
	// TailBytes is the memory for recent batches of all partitions together, while consumers read them. The default is
	// 32 MiB.
	TailBytes int64
	// MaxBatchBytes is the size of the largest accepted batch. The default is 1 MiB + 12 bytes, as in Apache Kafka. A
	// topic's max.message.bytes overrides it.
	MaxBatchBytes   int64
	MaxPendingBytes int64 // upper bound for appends that are queued for the journal; default 64 MiB
	CompactionBytes int   // memory for the keys of the partition that is being compacted; default 16 MiB
	// RetentionInterval is the time between applications of retention. The default is 5 min. After each, the engine
	// checks whether a compaction is due.
	RetentionInterval time.Duration
	// MaxOpenFiles is the number of segment files that are kept open, each of which may have two descriptors. The default is
	// MaxOpenFiles().
	MaxOpenFiles int
	// MaxProducers is the number of idempotent producers that are known, over all partitions, one for each partition that a
	// producer has written to; batches of further ones are refused. The default is 200,000.
	MaxProducers int
	// FullDiskRetry is the time between checks for free space while the disk is full. The default is 1 s. A deletion
	// causes an extra check.
	FullDiskRetry time.Duration
	// TopicDefaults are values of topic configurations that topics do not set themselves, by name, beside SegmentBytes and
	// MaxBatchBytes.
	TopicDefaults map[string]string
	// Groups are parameters of the group coordinator. Zero fields have Apache Kafka's defaults, except that the initial
	// rebalance delay is 0.
	Groups group.Options
	// TrustRecords makes Append take batches without decoding their records, as earlier versions did. It is for tests of
	// readers, which must get past such batches in the log.
	TrustRecords bool
}

func (c Config) withDefaults() Config {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.DefaultPartitions <= 0 {
		c.DefaultPartitions = 4
	}
	if c.SegmentBytes <= 0 {
		c.SegmentBytes = 64 << 20
	}
	if c.CheckpointBytes <= 0 {
		c.CheckpointBytes = 64 << 20
	}
	if c.TailBytes <= 0 {
		c.TailBytes = 32 << 20
	}
	if c.MaxBatchBytes <= 0 {
		c.MaxBatchBytes = 1<<20 + 12
	}
	if c.MaxPendingBytes <= 0 {
		c.MaxPendingBytes = 64 << 20
	}
	if c.RetentionInterval <= 0 {
		c.RetentionInterval = 5 * time.Minute
	}
	if c.MaxOpenFiles <= 0 {
		c.MaxOpenFiles = MaxOpenFiles()
	}
	if c.MaxProducers <= 0 {
		c.MaxProducers = 200_000
	}
	if c.FullDiskRetry <= 0 {
		c.FullDiskRetry = time.Second
	}
	return c
}

// WithSettings returns c with what configurations of a broker, by the names that Apache Kafka has for them, ask for. They win
// over the fields of c. The error matches meta.ErrInvalidConfig.
func (c Config) WithSettings(settings map[string]string) (Config, error) {
	s, err := meta.ParseBrokerConfig(settings)
	if err != nil {
		return c, err
	}
	c.DefaultPartitions = cmp.Or(s.DefaultPartitions, c.DefaultPartitions)
	c.SegmentBytes = cmp.Or(s.SegmentBytes, c.SegmentBytes)
	c.MaxBatchBytes = cmp.Or(s.MaxMessageBytes, c.MaxBatchBytes)
	if s.AutoCreateTopics != nil {
		c.AutoCreateTopics = *s.AutoCreateTopics
	}
	c.TopicDefaults = s.Topics
	c.Groups = group.Options{
		InitialRebalanceDelay: s.InitialRebalanceDelay,
		MinSessionTimeout:     s.MinSessionTimeout,
		MaxSessionTimeout:     s.MaxSessionTimeout,
		OffsetRetention:       s.OffsetRetention,
		MaxMetadataBytes:      s.MaxOffsetMetadata,
	}
	return c, nil
}

// topicDefaults returns the values of configurations that a topic does not set itself.
func (c Config) topicDefaults() meta.Defaults {
	return meta.Defaults{SegmentBytes: c.SegmentBytes, MaxMessageBytes: c.MaxBatchBytes, Topics: c.TopicDefaults}
}

// groupOptions returns the parameters of the group coordinator. They are Apache Kafka's defaults, except that the
// initial rebalance delay is 0: with Kafka's 3 s an embedded program would wait for 3 s at each start.
func (c Config) groupOptions() group.Options {
	return group.Options{
		InitialRebalanceDelay: c.Groups.InitialRebalanceDelay,
		MinSessionTimeout:     cmp.Or(c.Groups.MinSessionTimeout, 6*time.Second),
		MaxSessionTimeout:     cmp.Or(c.Groups.MaxSessionTimeout, 30*time.Minute),
		OffsetRetention:       cmp.Or(c.Groups.OffsetRetention, 7*24*time.Hour),
		MaxMetadataBytes:      cmp.Or(c.Groups.MaxMetadataBytes, 4096),
	}
}

// Settings returns the values of configurations that topics do not set themselves, and the broker's own settings, for
// DescribeConfigs.
func (e *Engine) Settings() (meta.Defaults, meta.BrokerSettings) {
	g := e.config.groupOptions()
	return e.config.topicDefaults(), meta.BrokerSettings{
		AutoCreateTopics:      e.config.AutoCreateTopics,
		DefaultPartitions:     e.config.DefaultPartitions,
		SegmentBytes:          e.config.SegmentBytes,
		MaxMessageBytes:       e.config.MaxBatchBytes,
		InitialRebalanceDelay: g.InitialRebalanceDelay,
		MinSessionTimeout:     g.MinSessionTimeout,
		MaxSessionTimeout:     g.MaxSessionTimeout,
		OffsetRetention:       g.OffsetRetention,
		MaxOffsetMetadata:     g.MaxMetadataBytes,
		Topics:                e.config.TopicDefaults,
	}
}
