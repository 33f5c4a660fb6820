package cli

import (
	"context"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"tidings.dev/broker"
	"tidings.dev/internal/bench"
)

func (s *session) benchCommand() *cobra.Command {
	c := family("bench", "Measure a broker, and what it could reach at best",
		s.benchProduceCommand(), s.benchConsumeCommand(), s.benchEndToEndCommand(), s.benchFanOutCommand(),
		s.benchMixedCommand(), s.benchIdleCommand(), s.benchStartCommand(),
		s.benchServeCommand(), s.benchStubCommand())
	c.Long = "Measures a Kafka broker: the one at --brokers, or one of its own in another process (with --in-process, in this one),\n" +
		"on --data or a temporary directory. --ceiling measures what it could reach at best in the same rounds, and gives\n" +
		"ratios. docs/performance.md says how to read them."
	return c
}

// Names of contenders, as reports have them.
const (
	theBroker    = "broker"
	theVariant   = "against" // the same broker under --against-…
	quiet        = "quiet"   // the same broker without checkpoints
	theMaximum   = "maximum" // the same broker under as much of the same load as it takes
	nullSink     = "null_sink"
	nullSource   = "null_source"
	sync4K       = "fdatasync_4k"
	sync1M       = "fdatasync_1m"
	append1M     = "append_1m"
	coldRead     = "cold_read"
	loopbackTCP  = "loopback_tcp"
	memoryPipe   = "memory_pipe"
	sendfileName = "sendfile"
)

const (
	rawTime         = time.Second // of one raw limit in one round
	benchKeepBytes  = 64 << 20    // of the null source's batches
	ceilingRounds   = 5
	progressEvery   = 500 * time.Millisecond
	benchTopicStart = "bench-"
)

// A benchmark is one command line of `tidings bench`.
type benchmark struct {
	*session
	name string // produce, consume, e2e, fanout, mixed, idle, start

	preset    string
	inProcess bool
	topic     string
	configs   []string
	rounds    int
	rest      time.Duration
	ceiling   bool
	check     bool

	size       byteSize
	partitions int
	batch      byteSize
	load       bench.Load

	groups     int
	total      byteSize
	fetch      byteSize
	cold       bool
	raw        bool
	variant    []string // configs of the variant's topic
	variantPar int      // its partitions; 0: as many as the topic's

	checkpoints int // of produce: in each measure; 0: the load alone
	kill        bool
	settle      time.Duration // of idle
	share       float64       // of mixed: of the maximum
	maximumTime time.Duration // of mixed
	childConfig broker.Config // what a broker of ours is told; only the fields that childFlags has

	goals    map[string]bench.Goal // by ratio, from the preset
	progress *bench.Progress
	stage    *benchStage
	topics   int                         // made so far
	cleanUp  func(context.Context) error // before the stage is closed; nil: nothing
}

// command makes a command with the flags that all benchmarks share; run plays it once the stage stands.
func (b *benchmark) command(short string, run func(context.Context) ([]bench.Contender, []bench.Compared, error)) *cobra.Command {
	c := &cobra.Command{
		Use: b.name, Short: short, Args: arguments(0, 0),
		Long: short + ".\n\n" + presetHelp(b.name),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := b.usePreset(cmd.Flags()); err != nil {
				return err
			}
			if b.ceiling && !cmd.Flags().Changed("rounds") {
				b.rounds = ceilingRounds
			}
			if err := b.prepare(); err != nil {
				return err
			}
			return b.play(cmd.Context(), cmd.Flags(), run)
		},
	}
	f := c.Flags()
	f.StringVar(&b.preset, "preset", "", "`NAME` of a set of flags, listed above; a flag given besides counts before it")
	f.StringVar(&b.topic, "topic", "", "a topic to use and keep (default: a new one for each round, removed after it)")
	f.StringArrayVarP(&b.configs, "config", "c", nil, "a setting of the topic, `NAME=VALUE`; may be repeated")
	f.IntVar(&b.rounds, "rounds", 1, "how often all is measured; figures are medians")
	f.DurationVar(&b.rest, "rest", 500*time.Millisecond, "before each measure, so that the one before it has settled")
	f.BoolVar(&b.check, "check", false, "exit with 6 if a figure misses its preset's goal")
	b.size = 1 << 10
	f.Var(&b.size, "size", "of a record's value")
	f.IntVarP(&b.partitions, "partitions", "p", 1, "of the topic")
	return c
}

// loadFlags are those of benchmarks with a load that could be held against ceilings.
func (b *benchmark) loadFlags(f *pflag.FlagSet) {
	f.BoolVar(&b.inProcess, "in-process", false, "run the broker in this process and reach it in memory")
	f.BoolVar(&b.ceiling, "ceiling", false, "measure in turn what is possible at best, and give ratios")
	f.Lookup("rounds").Usage += fmt.Sprintf(" (default with --ceiling %d)", ceilingRounds)
	b.clientFlags(f)
}

// clientFlags say how the client makes records and batches of them.
func (b *benchmark) clientFlags(f *pflag.FlagSet) {
	f.IntVar(&b.load.Keys, "keys", b.load.Keys, "so many different keys, drawn evenly; 0 for none (the client then fills one partition after another)")
	f.Var(&b.batch, "batch-bytes", "largest batch (default kgo's own, 1000012)")
	f.DurationVar(&b.load.Linger, "linger", 0, "how long the client waits for more records to a batch")
	f.IntVar(&b.load.Buffered, "buffered", 0, "records that wait in a client before it blocks (default kgo's own, 50000)")
	f.StringVar(&b.load.Compression, "compression", "none", "none, gzip, snappy, lz4 or zstd")
	f.BoolVar(&b.load.Text, "text", false, "values that compress as JSON does (default: random bytes)")
}

// sendingFlags are those of benchmarks that measure how records are produced.
func (b *benchmark) sendingFlags(f *pflag.FlagSet) {
	f.IntVar(&b.load.Producers, "producers", 1, "clients, each with its own connection")
	f.IntVar(&b.load.Emitters, "emitters", 0, "so many callers send one record at a time and wait for it; 0: asynchronous")
	f.Float64Var(&b.load.Rate, "rate", b.load.Rate, "records a second in all; 0 for as fast as it goes")
	f.DurationVarP(&b.load.Duration, "duration", "d", 3*time.Second, "that is measured in a round")
	f.DurationVar(&b.load.Warmup, "warmup", time.Second, "before it, with the same load")
	f.StringVar(&b.load.Acks, "acks", "all", "all, 1 or 0; kgo is idempotent with all only")
	f.BoolVar(&b.load.NoIdempo, "no-idempotence", false, "produce without a producer id")
	f.IntVar(&b.load.Inflight, "inflight", 0, "produce requests under way in a client without idempotence (default kgo's own, 1; with idempotence 5)")
	f.IntVar(&b.variantPar, "against-partitions", 0, "measure in turn a topic of so many partitions, too")
	f.StringArrayVar(&b.variant, "against-config", nil, "measure in turn a topic with this setting, too; may be repeated")
}

func (b *benchmark) prepare() error {
	b.load.RecordBytes, b.load.BatchBytes = int(b.size), int32(b.batch)
	if b.load.Producers == 0 {
		b.load.Producers = 1
	}
	switch {
	case b.size < 1 || b.size > 64<<20:
		return usagef("", "--size %s: want 1 byte to 64 MiB", &b.size)
	case b.partitions < 1:
		return usagef("", "--partitions %d: a topic has at least one", b.partitions)
	case b.rounds < 1:
		return usagef("", "--rounds %d: want at least one", b.rounds)
	case b.inProcess && b.brokers != "":
		return usagef("leave one of them out", "--in-process is a broker of its own, and --brokers names others")
	case b.cold && b.brokers != "":
		return usagef("leave --brokers out", "--cold restarts the broker, which must be a process of its own then")
	case b.needsItsOwn() && b.brokers != "":
		return usagef("leave --brokers out", "bench %s starts, asks and watches the broker, which must be a process of its own then", b.name)
	case b.checkpoints < 0 || b.checkpoints > 0 && (b.varied() || b.ceiling):
		return usagef("", "--checkpoints %d goes with neither --ceiling nor --against-…: the same load without checkpoints is what it is held against", b.checkpoints)
	case b.topic != "" && b.ceiling && (b.variantPar > 0 || b.variant != nil):
		return usagef("leave --topic out", "a topic of other settings cannot be --topic")
	}
	for _, config := range slices.Concat(b.configs, b.variant) {
		if !strings.Contains(config, "=") {
			return usagef("give it as NAME=VALUE", "%q is no setting", config)
		}
	}
	var err error
	switch b.name {
	case "e2e":
		err = b.load.CheckEndToEnd(b.groups)
	case "consume", "fanout", "start":
		if b.total < b.size {
			return usagef("", "--bytes %s is less than one record", &b.total)
		}
		if b.groups < 0 || b.name == "fanout" && b.groups == 0 {
			return usagef("", "--groups %d: want more", b.groups)
		}
		err = b.load.Check()
	case "idle":
		if b.groups < 0 {
			return usagef("", "--groups %d: want none or more", b.groups)
		}
	case "mixed":
		if b.share <= 0 || b.share > 1 {
			return usagef("", "--share %g: want more than 0 and at most 1", b.share)
		}
		if b.load.Keys < 1 {
			return usagef("", "--keys %d: compaction needs keys", b.load.Keys)
		}
		err = b.load.Check()
	default:
		err = b.load.Check()
	}
	if err != nil {
		return &Fault{Code: "usage", Message: err.Error(), Exit: ExitUsage, Err: err}
	}
	return nil
}

// needsItsOwn says that no broker will do which is there already.
func (b *benchmark) needsItsOwn() bool {
	return b.name == "idle" || b.name == "start" || b.checkpoints > 0
}

// play sets the stage, lets the contenders run, and reports.
func (b *benchmark) play(ctx context.Context, flags *pflag.FlagSet, run func(context.Context) ([]bench.Contender, []bench.Compared, error)) (err error) {
	began := time.Now()
	b.progress = &bench.Progress{}
	defer b.watch()()
	b.progress.Stage("start")
	if b.stage, err = b.openStage(ctx); err != nil {
		return err
	}
	defer func() {
		if closeErr := b.stage.close(); err == nil {
			err = closeErr
		}
	}()
	contenders, compared, err := run(ctx)
	var rounds []bench.Round
	if err == nil {
		rounds, err = bench.Alternate(ctx, b.rounds, b.rest, contenders, b.progress)
	}
	if b.cleanUp != nil {
		if cleanErr := b.cleanUp(context.WithoutCancel(ctx)); err == nil {
			err = cleanErr
		}
	}
	if err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return err
	}
	for i := range compared {
		compared[i].Goal = b.goals[compared[i].Name]
	}
	report := bench.Report{
		Benchmark: b.name, Preset: b.preset, At: time.Now().UTC().Truncate(time.Second), Machine: bench.ThisMachine(), Target: b.stage.target,
		Workload: map[string]any{}, Rounds: b.rounds, Ceilings: []bench.Result{}, Ratios: bench.Compare(rounds, compared),
	}
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Changed && f.Name != "output" && f.Name != "preset" && f.Name != "data" || workloadFlags[f.Name] {
			report.Workload[strings.ReplaceAll(f.Name, "-", "_")] = f.Value.String()
		}
	})
	for _, c := range contenders {
		result := bench.Summarize(c.Name, rounds)
		if c.Name == theBroker {
			report.Result = result
		} else {
			report.Ceilings = append(report.Ceilings, result)
		}
	}
	b.progress.Stage("")
	report.TookSeconds = math.Round(time.Since(began).Seconds()*10) / 10
	if err := b.output().thing(report, func(w io.Writer) error { return writeBenchReport(w, report) }); err != nil {
		return err
	}
	return b.judge(report.Ratios)
}

// workloadFlags are reported even where they were not given, if the command has them.
var workloadFlags = map[string]bool{
	"size": true, "partitions": true, "keys": true, "producers": true, "emitters": true, "rate": true, "linger": true, "acks": true,
	"compression": true, "groups": true, "duration": true, "bytes": true, "no-idempotence": true, "checkpoints": true, "share": true,
	"kill": true, "cold": true,
}

// judge is --check.
func (b *benchmark) judge(ratios []bench.Ratio) error {
	if !b.check {
		return nil
	}
	for _, r := range ratios {
		if r.Met != nil && !*r.Met {
			return &Fault{Code: "threshold", Exit: ExitThreshold, Message: fmt.Sprintf("%s is %.3g, the goal is %s", r.Name, r.Median, r.Goal),
				Hint: "measure on an idle machine; its lowest and highest rounds say how steady it was"}
		}
	}
	return nil
}

// watch shows on a terminal what goes on, until the caller calls what it returns.
func (b *benchmark) watch() (stop func()) {
	file, ok := b.stderr.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return func() {}
	}
	over, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(progressEvery)
		defer tick.Stop()
		var last int64
		var lastStage string
		for {
			select {
			case <-over:
				fmt.Fprint(b.stderr, "\r\033[K")
				return
			case <-tick.C:
			}
			stage, done := b.progress.Now()
			if stage != lastStage || done < last {
				last = done
			}
			rate := float64(done-last) / progressEvery.Seconds()
			last, lastStage = done, stage
			switch {
			case stage == "":
				fmt.Fprint(b.stderr, "\r\033[K")
			case rate > 0:
				fmt.Fprintf(b.stderr, "\r\033[K%s  %s/s", stage, thousands(rate))
			default:
				fmt.Fprintf(b.stderr, "\r\033[K%s", stage)
			}
		}
	}()
	return func() {
		close(over)
		<-ended
	}
}
