package bench

import (
	"context"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tidings.dev/internal/bench"
	"tidings.dev/internal/bench/framework"
	"tidings.dev/internal/cli/shell"
)

// emit is the command `tidings bench react emit` with the values of its flags.
type emit struct {
	common
	subjects int
	emitters int
}

func emitCommand(s *shell.Session) *cobra.Command {
	e := &emit{common: common{session: s}}
	c := newReactCommand("emit", "Measure how many events concurrent callers of Emit have acknowledged",
		"  tidings bench react emit --emitters 64 --partitions 16", &e.common, e)
	c.Long = `Has goroutines call Emit one event after the other, each waiting until its event is durable, beside as many that call ProduceSync of
one kgo client with records of the same keys and sizes. An event has some 320 bytes of headers besides; the records have none.`
	return c
}

func (e *emit) flags(f *pflag.FlagSet) {
	addSubjects(f, &e.subjects)
	e.addInProcess(f)
	f.IntVar(&e.emitters, "emitters", 64, "callers that emit one event at a time and wait for its acknowledgement")
	e.load.AddDuration(f)
}

func (e *emit) check() error {
	if err := checkSubjects(e.subjects); err != nil {
		return err
	}
	if err := e.checkEventSize(); err != nil {
		return err
	}
	return usage(e.measurement("").Check())
}

func (e *emit) measurement(topic string) framework.Emitting {
	return framework.Emitting{
		Topic: topic, Size: int(e.load.Size), Subjects: e.subjects, Emitters: e.emitters,
		Warmup: e.load.Flags.Warmup, Duration: e.load.Flags.Duration, Log: e.session.Logger(),
	}
}

func (e *emit) contenders(context.Context) ([]bench.Contender, []bench.Comparison, error) {
	on := func(name string, side framework.Side[framework.Emitting]) bench.Contender {
		return e.onNewTopic(name, func(ctx context.Context, endpoint bench.Endpoint, topic string) (bench.Measured, error) {
			return side(e.measurement(topic), ctx, endpoint, e.progress)
		})
	}
	return []bench.Contender{on(framework.Name, framework.Emitting.Emit), on(framework.BareKgo, framework.Emitting.Bare)},
		[]bench.Comparison{
			bench.RateRatioOf(framework.Name, framework.BareKgo),
			bench.QuantileRatioOf(framework.Name, "p50", 0.5, framework.BareKgo),
			bench.QuantileRatioOf(framework.Name, "p99", 0.99, framework.BareKgo),
		}, nil
}
