package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tidings.dev/internal/bench"
)

// idle measures the resources that a broker uses while its consumers wait and no records arrive.
type idle struct {
	measurement
	groups           int
	duration, warmup time.Duration
	history          bench.ByteSize // bytes that are produced and consumed before the measurement
}

// Names of figures about the broker's process.
const (
	residentMiB = "server_rss_mib"
	cpuPercent  = "server_cpu_percent" // percent of one core
)

// cpuResolution is the unit in which the CPU time of another process is known. A smaller time is reported as one
// unit, because a figure of 0 means that it was not measured.
const cpuResolution = 10 * time.Millisecond

func idleCommand(o *options) *cobra.Command {
	i := &idle{measurement: measurement{options: o}}
	i.topic.Partitions = 1000
	return preset{
		name: "idle-1000", alias: "idle", kind: "idle",
		short: "1,000 partitions, 10 groups in long poll on all of them",
		long: "Each partition holds one record; each group, of one member, reads all of them and then waits in its long polls.\n" +
			"A group's heartbeats are part of the cost.",
		goals: goals{residentMiB: {AtMost: 64}, cpuPercent: {AtMost: 1}},
	}.commandOf(&i.measurement, i)
}

func (i *idle) flags(f *pflag.FlagSet) {
	f.IntVar(&i.groups, "groups", 10, "consumer groups of one member, each with all partitions")
	f.DurationVarP(&i.duration, "duration", "d", 30*time.Second, "that is measured in a round")
	f.DurationVar(&i.warmup, "warmup", 5*time.Second, "before it, so that the cost of joining is over")
	f.Var(&i.history, "bytes", "how much is produced and replayed before (default none)")
}

func (i *idle) check() error {
	if i.groups < 0 {
		return fmt.Errorf("--groups %d: want none or more", i.groups)
	}
	return nil
}

func (i *idle) contenders(context.Context) ([]bench.Contender, []bench.Comparison, error) {
	run := func(ctx context.Context) (m bench.Measured, err error) {
		e := i.broker.Endpoint()
		if err := i.makeHistory(ctx, e); err != nil {
			return m, err
		}
		err = i.withTopic(ctx, e, func(topic string) error {
			if err := bench.DirtyPartitions(ctx, e, topic, i.topic.Partitions, int(i.load.Size)); err != nil {
				return err
			}
			m, err = bench.Idle{Topic: topic, Partitions: i.topic.Partitions, Groups: i.groups, Warmup: i.warmup, Duration: i.duration}.Run(ctx, e, i.progress)
			return err
		})
		return m, err
	}
	return []bench.Contender{{Name: bench.BrokerName, Run: run}}, []bench.Comparison{
		serverFigure(residentMiB, func(m bench.Measured) float64 { return float64(m.Server.RSSBytes) / (1 << 20) }),
		serverFigure(cpuPercent, func(m bench.Measured) float64 {
			return 100 * bench.Divide(max(m.Server.CPU, cpuResolution).Seconds(), m.Elapsed.Seconds())
		}),
	}, nil
}

// serverFigure returns a comparison whose value is a figure of the broker's process, or 0 if the process is not
// known.
func serverFigure(name string, of func(bench.Measured) float64) bench.Comparison {
	return bench.Comparison{Name: name, Of: func(r bench.Round) float64 {
		if m := r[bench.BrokerName]; m.Server != nil {
			return of(m)
		}
		return 0
	}}
}

// makeHistory produces records to a separate topic and consumes them. The topic is kept.
func (i *idle) makeHistory(ctx context.Context, e bench.Endpoint) error {
	records := int64(i.history) / int64(i.load.Size)
	if records == 0 {
		return nil
	}
	topic := bench.Topic{Name: bench.TopicPrefix + "history", Partitions: i.topic.Partitions}
	partitions, err := e.EnsureRecords(ctx, topic, i.load.Load(), records, i.progress)
	if err != nil {
		return err
	}
	_, err = bench.Consume{Topic: topic.Name, Records: records, Partitions: partitions}.Run(ctx, e, i.progress)
	return err
}
