package testbed

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"tidings.dev/internal/bench"
)

// RoundFlags are the flags for the number of rounds and the pauses. Before Add, the field Rounds has the default of
// its flag.
type RoundFlags struct {
	Rounds int
	Rest   time.Duration
}

// Add adds the flags to a flag set.
func (r *RoundFlags) Add(f *pflag.FlagSet) {
	f.IntVar(&r.Rounds, "rounds", max(r.Rounds, 1), "how often everything is measured; figures are medians")
	f.DurationVar(&r.Rest, "rest", 500*time.Millisecond, "pause before each measurement, so that what the one before has left to do can end")
}

// Check returns an error if a flag is not valid.
func (r *RoundFlags) Check() error {
	if r.Rounds < 1 {
		return fmt.Errorf("--rounds %d: want at least one", r.Rounds)
	}
	return nil
}

// TopicFlags are the flags for the measured topic. Before Add, the fields have the defaults of their flags.
type TopicFlags struct {
	Name       string // "": the benchmark creates topics of its own
	Partitions int
	Configs    []string
}

// Add adds the flags to a flag set.
func (t *TopicFlags) Add(f *pflag.FlagSet) {
	f.StringVar(&t.Name, "topic", t.Name, "a topic to use and to keep (default: topics of its own, which are deleted)")
	f.IntVarP(&t.Partitions, "partitions", "p", max(t.Partitions, 1), "of the topic")
	f.StringArrayVarP(&t.Configs, "config", "c", t.Configs, "a setting of the topic, `NAME=VALUE`; may be repeated")
}

// Check returns an error if a flag is not valid.
func (t *TopicFlags) Check() error {
	if t.Partitions < 1 {
		return fmt.Errorf("--partitions %d: a topic has at least one", t.Partitions)
	}
	return CheckConfigs(t.Configs)
}

// CheckConfigs returns an error if a setting does not have the form NAME=VALUE.
func CheckConfigs(configs []string) error {
	for _, config := range configs {
		if !strings.Contains(config, "=") {
			return fmt.Errorf("%q is no setting: give it as NAME=VALUE", config)
		}
	}
	return nil
}

// Topic returns the topic that the flags describe. If no name was given, the topic gets a new name. more are settings
// that override those of the flags.
func (t *TopicFlags) Topic(more ...string) bench.Topic {
	topic := bench.Topic{Name: t.Name, Partitions: t.Partitions, Configs: map[string]string{}}
	if topic.Name == "" {
		topic.Name = bench.NewTopicName()
	}
	for _, config := range slices.Concat(t.Configs, more) {
		name, value, _ := strings.Cut(config, "=")
		topic.Configs[name] = value
	}
	return topic
}

// LoadFlags are the flags for a load. After parsing, the fields have the values of the flags. Before the Add methods
// are called, these fields may be set to the defaults of their flags: Size, BatchBytes, and in Flags Keys, Emitters,
// Rate, Duration and Warmup.
type LoadFlags struct {
	Flags      bench.Load // everything except the sizes; the method Load adds these
	Size       bench.ByteSize
	BatchBytes bench.ByteSize
}

// AddSize adds the flag for the size of records.
func (l *LoadFlags) AddSize(f *pflag.FlagSet) {
	if l.Size == 0 {
		l.Size = 1 << 10
	}
	f.Var(&l.Size, "size", "of a record's value")
}

// AddClient adds the flags for how a client makes records and batches.
func (l *LoadFlags) AddClient(f *pflag.FlagSet) {
	f.IntVar(&l.Flags.Keys, "keys", l.Flags.Keys, "number of different keys, drawn evenly; 0: none, and the client fills one partition after another")
	f.Var(&l.BatchBytes, "batch-bytes", "largest batch (default kgo's own, 1000012)")
	f.DurationVar(&l.Flags.Linger, "linger", 0, "how long the client waits for more records to a batch")
	f.IntVar(&l.Flags.Buffered, "buffered", 0, "records that wait in a client before it blocks (default kgo's own, 50000)")
	f.StringVar(&l.Flags.Compression, "compression", "none", "none, gzip, snappy, lz4 or zstd")
	f.BoolVar(&l.Flags.Text, "text", false, "values that compress as JSON does (default: random bytes)")
}

// AddSending adds the flags for how records are sent: the senders, the rate and the acknowledgements.
func (l *LoadFlags) AddSending(f *pflag.FlagSet) {
	f.IntVar(&l.Flags.Producers, "producers", 1, "clients, each with its own connection")
	f.IntVar(&l.Flags.Emitters, "emitters", l.Flags.Emitters, "callers that send one record at a time and wait for it; 0: asynchronous")
	f.Float64Var(&l.Flags.Rate, "rate", l.Flags.Rate, "records a second in all; 0: as fast as possible")
	f.StringVar(&l.Flags.Acks, "acks", "all", "all, 1 or 0; kgo is idempotent with all only")
	f.BoolVar(&l.Flags.DisableIdempotence, "no-idempotence", false, "produce without a producer id")
	f.IntVar(&l.Flags.Inflight, "inflight", 0, "concurrent produce requests of a client without idempotence (default kgo's own, 1; with idempotence 5)")
}

// AddDuration adds the flags for the measured time and the warmup.
func (l *LoadFlags) AddDuration(f *pflag.FlagSet) {
	if l.Flags.Duration == 0 {
		l.Flags.Duration = 3 * time.Second
	}
	f.DurationVarP(&l.Flags.Duration, "duration", "d", l.Flags.Duration, "that is measured in a round")
	l.AddWarmup(f)
}

// AddWarmup adds the flag for the warmup.
func (l *LoadFlags) AddWarmup(f *pflag.FlagSet) {
	if l.Flags.Warmup == 0 {
		l.Flags.Warmup = time.Second
	}
	f.DurationVar(&l.Flags.Warmup, "warmup", l.Flags.Warmup, "before it, with the same load")
}

// Load returns the load that the flags describe. It has at least one producer, also if there is no flag for it.
func (l *LoadFlags) Load() bench.Load {
	load := l.Flags
	load.RecordBytes, load.BatchBytes, load.Producers = int(l.Size), int32(l.BatchBytes), max(load.Producers, 1)
	return load
}

// Check returns an error if a flag is not valid.
func (l *LoadFlags) Check() error {
	if l.Size < 1 || l.Size > 64<<20 {
		return fmt.Errorf("--size %s: want 1 byte to 64 MiB", &l.Size)
	}
	if l.Flags.Producers < 0 {
		return errors.New("--producers: want at least one")
	}
	return l.Load().Check()
}

// Workload returns the values of all flags of a set for a report, whether they were given or not. The keys are the
// names of the flags with underscores in place of hyphens. The flag help and the flags in except are left out.
func Workload(f *pflag.FlagSet, except ...string) map[string]any {
	workload := map[string]any{}
	f.VisitAll(func(flag *pflag.Flag) {
		if flag.Name != "help" && !slices.Contains(except, flag.Name) {
			workload[strings.ReplaceAll(flag.Name, "-", "_")] = flag.Value.String()
		}
	})
	return workload
}
