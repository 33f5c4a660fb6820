// Package bench has the commands `tidings bench` produce, consume, e2e and fanout, which measure a Kafka broker and
// the limits of the machine, react, which measures package tidings beside a bare Kafka client, story, which measures
// package story, and the hidden commands with which they start servers in other processes.
package bench

import (
	"cmp"
	"context"
	"io"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tidings.dev/internal/bench"
	"tidings.dev/internal/bench/testbed"
	"tidings.dev/internal/cli/shell"
)

// Command returns the command bench with its subcommands.
func Command(s *shell.Session) *cobra.Command {
	c := shell.Family("bench", "Measure a broker, the framework or the story, and what it could reach at best",
		produceCommand(s), consumeCommand(s), endToEndCommand(s), fanOutCommand(s), reactCommand(s), storyCommand(s), serveCommand(s), ceilingsCommand(s))
	c.Long = "Measures a Kafka broker: the one at --brokers, or one of its own in another process (with --in-process, in this one),\n" +
		"on --data or a temporary directory. --ceiling measures what it could reach at best in the same rounds, and gives\n" +
		"ratios. react measures reactions on that broker beside a bare Kafka client, and story an indexer of it.\n" +
		"docs/performance.md says how to read them."
	return c
}

// benchmark is one of the subcommands that measure. Each implementation embeds common.
type benchmark interface {
	// flags adds the flags of this benchmark to a set.
	flags(*pflag.FlagSet)
	// check returns a usage fault if the flags are not valid.
	check() error
	// contenders returns what is measured and the ratios to report. It is called once, when common.env is open.
	// Topics that it fills are deleted when the environment is closed.
	contenders(context.Context) ([]bench.Contender, []bench.Comparison, error)
}

// common is the part that all benchmarks share: common flags, and the environment while the benchmark runs.
type common struct {
	session   *shell.Session
	rounds    testbed.RoundFlags
	topic     testbed.TopicFlags
	load      testbed.LoadFlags
	inProcess bool
	ceiling   bool

	// benchmark is the name in the report, and measures that of the contender that the others are compared with. Both may
	// be "": the name of the command, and bench.BrokerName.
	benchmark, measures string

	// The following fields are set while the benchmark runs.
	progress *bench.Progress
	env      *environment
}

// ceilingRounds is the default of --rounds if --ceiling is given.
const ceilingRounds = 5

// newCommand returns the command of benchmark b, which measures a broker. c must be the common part of b.
func newCommand(use, short, example string, c *common, b benchmark) *cobra.Command {
	cmd := c.command(use, short, example, b)
	f := cmd.Flags()
	c.topic.Add(f)
	c.rounds.Add(f)
	f.Lookup("rounds").Usage += " (default with --ceiling 5)"
	c.load.AddSize(f)
	c.load.AddClient(f)
	c.addInProcess(f)
	f.BoolVar(&c.ceiling, "ceiling", false, "measure in turn what is possible at best, and give ratios")
	b.flags(f)
	return cmd
}

// addInProcess adds the flag for a broker in this process.
func (c *common) addInProcess(f *pflag.FlagSet) {
	f.BoolVar(&c.inProcess, "in-process", false, "run the broker in this process and reach it in memory")
}

// command returns the command of benchmark b without its flags. c must be the common part of b.
func (c *common) command(use, short, example string, b benchmark) *cobra.Command {
	return shell.TakesLog(&cobra.Command{
		Use: use, Short: short, Example: example, Args: shell.Arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if c.ceiling && !cmd.Flags().Changed("rounds") {
				c.rounds.Rounds = ceilingRounds
			}
			if err := c.check(); err != nil {
				return err
			}
			if err := b.check(); err != nil {
				return err
			}
			return c.run(cmd, b)
		},
	})
}

// check returns a usage fault if a shared flag is not valid.
func (c *common) check() error {
	if c.inProcess && c.session.Brokers != "" {
		return shell.Usagef("leave one of them out", "--in-process is a broker of its own, and --brokers names others")
	}
	for _, err := range []error{c.topic.Check(), c.rounds.Check(), c.load.Check()} {
		if err != nil {
			return usage(err)
		}
	}
	return nil
}

// usage returns err as a usage fault. A nil err gives nil.
func usage(err error) error {
	if err == nil {
		return nil
	}
	return &shell.Fault{Code: "usage", Message: err.Error(), Exit: shell.ExitUsage, Err: err}
}

// run opens the environment, runs all rounds and prints the report.
func (c *common) run(cmd *cobra.Command, b benchmark) (err error) {
	ctx, began := cmd.Context(), time.Now()
	c.progress = &bench.Progress{}
	defer testbed.Watch(c.session.Stderr, c.progress)()
	c.progress.Stage("start")
	if c.env, err = openEnvironment(c); err != nil {
		return err
	}
	defer func() {
		if closeErr := c.env.close(context.WithoutCancel(ctx)); err == nil {
			err = closeErr
		}
	}()
	contenders, comparisons, err := b.contenders(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return err
	}
	plan := bench.Plan{
		Benchmark: cmp.Or(c.benchmark, cmd.Name()), Measures: c.measures, Target: c.env.target, Workload: testbed.Workload(cmd.LocalNonPersistentFlags()),
		Rounds: c.rounds.Rounds, Rest: c.rounds.Rest, Contenders: contenders, Comparisons: comparisons,
	}
	report, err := plan.Run(ctx, began, c.progress)
	if err != nil {
		return err
	}
	return c.session.Output().Value(report, func(w io.Writer) error { return report.WriteText(w) })
}
