package bench

import (
	"context"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tidings.dev/internal/bench"
	"tidings.dev/internal/bench/testbed"
	"tidings.dev/internal/cli/shell"
)

// endToEnd is the command `tidings bench e2e` with the values of its flags.
type endToEnd struct {
	common
	variant variant
	groups  int
}

func endToEndCommand(s *shell.Session) *cobra.Command {
	e := &endToEnd{common: common{session: s}}
	e.load.Flags.Rate = 10_000
	return newCommand("e2e", "Measure how long a record takes from being sent at a rate to its consumers",
		"  tidings bench e2e --rate 10000 --groups 2 --ceiling", &e.common, e)
}

func (e *endToEnd) flags(f *pflag.FlagSet) {
	e.load.AddSending(f)
	e.load.AddDuration(f)
	e.variant.flags(f)
	f.IntVar(&e.groups, "groups", 1, "consumer groups of one member that read the topic")
}

func (e *endToEnd) check() error {
	if err := e.variant.check(&e.common); err != nil {
		return err
	}
	return usage(e.benchmark("").Check())
}

func (e *endToEnd) benchmark(topic string) bench.EndToEnd {
	return bench.EndToEnd{Topic: topic, Load: e.load.Load(), Groups: e.groups}
}

func (e *endToEnd) contenders(context.Context) (contenders []bench.Contender, comparisons []bench.Comparison, _ error) {
	contenders = append(contenders, e.on(bench.BrokerName, e.topic))
	if e.variant.given() {
		contenders = append(contenders, e.on(against, e.variant.topic(e.topic)))
		comparisons = append(comparisons, bench.QuantileRatio("p99", 0.99, against))
	}
	if !e.ceiling {
		return contenders, comparisons, nil
	}
	contenders = append(contenders, e.env.ceilings.sync(sync4K, 4<<10))
	comparisons = append(comparisons, bench.QuantileRatio("p99", 0.99, sync4K))
	if e.variant.given() {
		comparisons = append(comparisons, bench.Comparison{Name: "p99 / (" + against + " p99 + " + sync4K + " p99)", Of: func(r bench.Round) float64 {
			return bench.Divide(r[bench.BrokerName].Quantile(0.99), r[against].Quantile(0.99)+r[sync4K].Quantile(0.99))
		}})
	}
	return contenders, comparisons, nil
}

// on returns a contender that measures a topic of the broker.
func (e *endToEnd) on(name string, topic testbed.TopicFlags) bench.Contender {
	return bench.Contender{Name: name, Run: func(ctx context.Context) (m bench.Measured, err error) {
		endpoint := e.env.broker.Endpoint()
		err = withTopic(ctx, endpoint, topic, func(name string) error {
			m, err = e.benchmark(name).Run(ctx, endpoint, e.progress)
			return err
		})
		return m, err
	}}
}
