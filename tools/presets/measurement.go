package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tidings.dev/internal/bench"
	"tidings.dev/internal/bench/testbed"
)

// benchmark is a preset whose load is produced by this process. Each implementation embeds measurement.
type benchmark interface {
	// flags adds the flags of this benchmark to a set.
	flags(*pflag.FlagSet)
	// check returns an error if the flags are not valid.
	check() error
	// contenders returns what is measured and the comparisons to report. It is called while the broker is running.
	// Topics that it adds to measurement.filled are deleted at the end.
	contenders(context.Context) ([]bench.Contender, []bench.Comparison, error)
}

// measurement is the part that all benchmarks share: flags, and the broker while they run.
type measurement struct {
	*options
	rounds testbed.RoundFlags
	topic  testbed.TopicFlags
	load   testbed.LoadFlags
	// brokers is the value of the flag --brokers, which only some benchmarks have. If it is "", a broker is started.
	brokers string

	// The following fields are set while the benchmark runs.
	progress *bench.Progress
	broker   *testbed.Broker // nil if --brokers is given
	filled   []string        // topics to delete at the end
	goals    goals           // of the preset; contenders deletes the goals that cannot be measured
}

// preset has the name, the help text and the goals of a benchmark. kind is the name of the benchmark in its report.
type preset struct {
	name, alias, kind string
	short, long       string
	goals             goals
}

// commandOf returns the command for benchmark b, whose measurement must be m.
func (p preset) commandOf(m *measurement, b benchmark) *cobra.Command {
	c := &cobra.Command{
		Use: p.name, Short: p.short, Long: p.short + ".\n\n" + p.long + "\nGoal: " + p.goals.String() + ".",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("%s takes no argument %q", p.name, args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			for _, err := range []error{m.validate(), m.rounds.Check(), m.topic.Check(), m.load.Check(), b.check()} {
				if err != nil {
					return &usageError{err}
				}
			}
			r, err := p.measure(cmd, m, b)
			if err != nil {
				return err
			}
			return m.finish(r, p.name, m.goals)
		},
	}
	if p.alias != "" {
		c.Aliases = []string{p.alias}
	}
	m.rounds.Add(c.Flags())
	m.topic.Add(c.Flags())
	m.load.AddSize(c.Flags())
	b.flags(c.Flags())
	return c
}

// measure starts the broker, runs all rounds and returns the report.
func (p preset) measure(cmd *cobra.Command, m *measurement, b benchmark) (r bench.Report, err error) {
	ctx, began := cmd.Context(), time.Now()
	m.progress, m.goals = &bench.Progress{}, maps.Clone(p.goals)
	defer testbed.Watch(m.stderr, m.progress)()
	m.progress.Stage("start")
	target, stop, err := m.start(ctx)
	defer func() { err = errors.Join(err, stop(context.WithoutCancel(ctx))) }()
	if err != nil {
		return r, err
	}
	contenders, comparisons, err := b.contenders(ctx)
	if err != nil {
		return r, err
	}
	plan := bench.Plan{
		Benchmark: p.kind, Target: target, Workload: testbed.Workload(cmd.LocalNonPersistentFlags()),
		Rounds: m.rounds.Rounds, Rest: m.rounds.Rest, Contenders: contenders, Comparisons: comparisons,
	}
	return plan.Run(ctx, began, m.progress)
}

// start starts the broker, unless --brokers is given. The caller must call stop, also after an error. stop deletes
// the filled topics and undoes what start has done.
func (m *measurement) start(ctx context.Context) (target bench.Target, stop func(context.Context) error, err error) {
	var undo []func() error
	stop = func(ctx context.Context) error {
		var errs []error
		for _, topic := range m.filled {
			if m.broker == nil || m.broker.Running() {
				errs = append(errs, m.endpoint().DeleteTopic(ctx, topic))
			}
		}
		for _, do := range slices.Backward(undo) {
			errs = append(errs, do())
		}
		return errors.Join(errs...)
	}
	if m.brokers != "" {
		return bench.Target{Kind: "brokers", Address: m.brokers}, stop, nil
	}
	program, remove, err := m.program(ctx)
	undo = append(undo, func() error { remove(); return nil })
	if err != nil {
		return target, stop, err
	}
	directory, err := testbed.OpenDirectory(m.data)
	if err != nil {
		return target, stop, err
	}
	undo = append(undo, directory.Close)
	if directory.InMemory() {
		fmt.Fprintf(m.stderr, "presets: %s is in memory (tmpfs): syncs cost nothing there; name a directory on a disk with --data\n", directory.Scratch)
	}
	m.broker = &testbed.Broker{Program: program, Data: directory.Data, Stderr: m.stderr}
	undo = append(undo, m.broker.Stop)
	err = m.broker.Start()
	return directory.Target("process"), stop, err
}

// endpoint returns the endpoint of the broker.
func (m *measurement) endpoint() bench.Endpoint {
	if m.broker == nil {
		return bench.Endpoint{Seeds: strings.Split(m.brokers, ",")}
	}
	return m.broker.Endpoint()
}

// withTopic calls use with the name of a topic. If the flags name a topic, it is created if necessary and kept;
// otherwise withTopic creates a new topic and deletes it afterwards.
func (m *measurement) withTopic(ctx context.Context, e bench.Endpoint, use func(name string) error) error {
	topic := m.topic.Topic()
	if m.topic.Name == "" {
		return e.WithTopic(ctx, topic, func() error { return use(topic.Name) })
	}
	if _, _, err := e.EnsureTopic(ctx, topic); err != nil {
		return err
	}
	return use(topic.Name)
}

// noCheckpoint is a value of testbed.Broker.CheckpointBytes that is never reached, so that the broker takes no
// checkpoint by itself.
const noCheckpoint = 1 << 40

// sleep blocks for d or until ctx is done. In the latter case it returns the cause of ctx.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
