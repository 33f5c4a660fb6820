package bench

import (
	"context"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tidings.dev/internal/bench"
	"tidings.dev/internal/bench/framework"
	"tidings.dev/internal/cli/shell"
)

// latency is the command `tidings bench react latency` with the values of its flags.
type latency struct {
	common
	subjects int
	emitters int
}

func latencyCommand(s *shell.Session) *cobra.Command {
	l := &latency{common: common{session: s}}
	l.load.Flags.Rate = 1000
	c := newReactCommand("latency", "Measure how long an event takes from Emit until it is handled",
		"  tidings bench react latency --rate 1000", &l.common, l)
	c.Long = `Emits events at a rate with Emit in one service, and measures how long each takes until the reaction of the same service has handled
it, beside a kgo client that produces (ProduceSync), consumes and decodes the same, and beside writes of 4 KiB that the disk is
made to sync. Latency is counted from the moment at which an event was meant to be emitted.`
	return c
}

func (l *latency) flags(f *pflag.FlagSet) {
	addSubjects(f, &l.subjects)
	l.addInProcess(f)
	f.Float64Var(&l.load.Flags.Rate, "rate", l.load.Flags.Rate, "events a second in all")
	f.IntVar(&l.emitters, "emitters", 8, "callers that emit one event at a time and wait for its acknowledgement")
	l.load.AddDuration(f)
}

func (l *latency) check() error {
	if err := checkSubjects(l.subjects); err != nil {
		return err
	}
	if err := l.checkEventSize(); err != nil {
		return err
	}
	return usage(l.measurement().Check())
}

func (l *latency) measurement() framework.Latency {
	return framework.Latency{
		Size: int(l.load.Size), Subjects: l.subjects, Rate: l.load.Flags.Rate, Emitters: l.emitters,
		Warmup: l.load.Flags.Warmup, Duration: l.load.Flags.Duration, Log: l.session.Logger(),
	}
}

func (l *latency) contenders(context.Context) ([]bench.Contender, []bench.Comparison, error) {
	var err error
	if l.env.ceilings, err = openDiskCeiling(&l.common, l.env.directory.Scratch); err != nil {
		return nil, nil, err
	}
	on := func(name string, side framework.Side[framework.Latency]) bench.Contender {
		return l.onNewTopic(name, func(ctx context.Context, e bench.Endpoint, topic string) (bench.Measured, error) {
			m := l.measurement()
			m.Topic = topic
			return side(m, ctx, e, l.progress)
		})
	}
	sides := []bench.Contender{on(framework.Name, framework.Latency.React), on(framework.BareKgo, framework.Latency.Bare)}
	return append(sides, l.env.ceilings.sync(sync4K, 4<<10)), []bench.Comparison{
		bench.QuantileRatioOf(framework.Name, "p50", 0.5, framework.BareKgo),
		bench.QuantileRatioOf(framework.Name, "p99", 0.99, framework.BareKgo),
		bench.QuantileRatioOf(framework.Name, "p50", 0.5, sync4K),
		bench.QuantileRatioOf(framework.Name, "p99", 0.99, sync4K),
	}, nil
}
