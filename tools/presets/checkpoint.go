package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tidings.dev/broker"
	"tidings.dev/internal/bench"
)

// checkpoint measures acknowledgements while the broker takes checkpoints, compared with the same load without
// checkpoints.
type checkpoint struct {
	measurement
	checkpoints int
	took        time.Duration // duration of the last checkpoint, but at least minCheckpointTime
}

const (
	dirtyBytes        = 64 << 10 // bytes that are written to each partition before a checkpoint
	minCheckpointTime = time.Second
	// afterDirtying is the pause after the partitions were made dirty, before the measurement begins.
	afterDirtying = 200 * time.Millisecond
	// quiet is the name of the contender without checkpoints during the measured time.
	quiet = "quiet"
)

func checkpointCommand(o *options) *cobra.Command {
	c := &checkpoint{measurement: measurement{options: o}}
	c.rounds.Rounds, c.topic.Partitions = 5, 1000
	c.load.Flags.Emitters, c.load.Flags.Rate, c.load.Flags.Keys = 16, 2000, 10_000
	return preset{
		name: "checkpoint", kind: "produce",
		short: "2,000 records/s over 1,000 partitions: p99.9 during checkpoints of all of them against that without",
		long: "Each partition gets 64 KiB, and a checkpoint is taken while the load is measured; in turn the load is measured after the\n" +
			"same 64 KiB for as long, without a checkpoint. The broker takes none by itself.",
		goals: goals{"p99.9 / quiet": {AtMost: 3}},
	}.commandOf(&c.measurement, c)
}

func (c *checkpoint) flags(f *pflag.FlagSet) {
	c.load.AddClient(f)
	c.load.AddSending(f)
	c.load.AddWarmup(f)
	f.IntVar(&c.checkpoints, "checkpoints", 5, "in each measurement")
}

func (c *checkpoint) check() error {
	if c.checkpoints < 1 {
		return fmt.Errorf("--checkpoints %d: want at least one", c.checkpoints)
	}
	return nil
}

func (c *checkpoint) contenders(context.Context) ([]bench.Contender, []bench.Comparison, error) {
	c.broker.CheckpointBytes, c.took = noCheckpoint, minCheckpointTime
	if err := c.broker.Restart(); err != nil {
		return nil, nil, err
	}
	nothing := func(context.Context) error { return nil }
	wait := func(ctx context.Context) error { return sleep(ctx, c.took) }
	contenders := []bench.Contender{
		c.contender(bench.BrokerName, c.take, nothing),
		c.contender(quiet, wait, c.take),
	}
	return contenders, []bench.Comparison{bench.QuantileRatio("p99.9", 0.999, quiet), bench.QuantileRatio("p50", 0.5, quiet)}, nil
}

// take makes the broker take a checkpoint and returns when it is complete.
func (c *checkpoint) take(ctx context.Context) error {
	began := time.Now()
	err := broker.CheckpointOf(ctx, c.broker.Data)
	c.took = max(time.Since(began), minCheckpointTime)
	return err
}

// contender returns a contender that measures the load while during runs, once for each checkpoint, after all
// partitions were made dirty. after runs outside the measured time, so that both contenders do the same work in
// total.
func (c *checkpoint) contender(name string, during, after func(context.Context) error) bench.Contender {
	return bench.Contender{Name: name, Run: func(ctx context.Context) (m bench.Measured, err error) {
		e := c.broker.Endpoint()
		err = c.withTopic(ctx, e, func(topic string) error {
			load := bench.Produce{Topic: topic, Load: c.load.Load()}
			intervals, err := load.RunIntervals(ctx, e, c.progress, func(ctx context.Context, measure bench.Measure) error {
				for range c.checkpoints {
					if err := bench.DirtyPartitions(ctx, e, topic, c.topic.Partitions, dirtyBytes); err != nil {
						return err
					}
					if err := sleep(ctx, afterDirtying); err != nil {
						return err
					}
					if err := measure(during); err != nil {
						return err
					}
					if err := after(ctx); err != nil {
						return err
					}
				}
				return nil
			})
			m = bench.Sum(intervals)
			return err
		})
		return m, err
	}}
}
