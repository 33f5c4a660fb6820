package bench

import (
	"context"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tidings.dev/internal/bench"
	"tidings.dev/internal/cli/shell"
)

// fanOut is the command `tidings bench fanout` with the values of its flags.
type fanOut struct {
	replay
	raw bool
}

func fanOutCommand(s *shell.Session) *cobra.Command {
	o := &fanOut{replay: replay{common: common{session: s}, total: 64 << 20}}
	return newCommand("fanout", "Measure how much many readers of the same records get in all",
		"  tidings bench fanout --groups 10 --ceiling", &o.common, o)
}

func (o *fanOut) flags(f *pflag.FlagSet) {
	o.replay.flags(f)
	f.IntVar(&o.groups, "groups", 10, "readers at the same time, each on a connection of its own")
	f.BoolVar(&o.raw, "raw", true, "readers decode nothing and read the topic again and again; false: they are consumer groups, which read it once")
	f.DurationVarP(&o.load.Flags.Duration, "duration", "d", 3*time.Second, "that is measured in a round of raw readers")
}

func (o *fanOut) check() error {
	if o.groups < 1 {
		return shell.Usagef("", "--groups %d: want at least one", o.groups)
	}
	return o.replay.check()
}

func (o *fanOut) contenders(ctx context.Context) (contenders []bench.Contender, comparisons []bench.Comparison, err error) {
	topic, _, err := o.fill(ctx)
	if err != nil {
		return nil, nil, err
	}
	contenders = append(contenders, o.by(bench.BrokerName, topic, o.groups))
	if o.groups > 1 {
		contenders, comparisons = append(contenders, o.by(oneGroup, topic, 1)), append(comparisons, bench.BytesRatio(oneGroup))
	}
	if o.ceiling {
		for _, limit := range o.env.ceilings.transport(o.groups) {
			contenders, comparisons = append(contenders, limit), append(comparisons, bench.BytesRatio(limit.Name))
		}
	}
	return contenders, comparisons, nil
}

// by returns a contender in which the given number of readers read the topic.
func (o *fanOut) by(name, topic string, readers int) bench.Contender {
	return bench.Contender{Name: name, Run: func(ctx context.Context) (bench.Measured, error) {
		e := o.env.broker.Endpoint()
		if o.raw {
			return bench.FanOut{Topic: topic, Readers: readers, FetchBytes: int32(o.fetchBytes), Duration: o.load.Flags.Duration}.Run(ctx, e, o.progress)
		}
		return bench.Consume{Topic: topic, Records: o.records(), Groups: readers, FetchBytes: int32(o.fetchBytes)}.Run(ctx, e, o.progress)
	}}
}
