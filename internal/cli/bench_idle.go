package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"tidings.dev/internal/bench"
)

func (s *session) benchIdleCommand() *cobra.Command {
	b := &benchmark{session: s, name: "idle"}
	c := b.command("Measure what a broker costs whose consumers wait for records that do not come", b.idle)
	c.Long += "\nEach partition holds one record; each group, of one member, reads all of them and then waits in its long polls.\n" +
		"A group's heartbeats are part of it."
	f := c.Flags()
	f.IntVar(&b.groups, "groups", 10, "so many consumer groups of one member, each with all partitions")
	f.DurationVarP(&b.load.Duration, "duration", "d", 20*time.Second, "that is measured in a round")
	f.DurationVar(&b.settle, "settle", 5*time.Second, "before it, so that what joining took is over")
	f.Var(&b.total, "bytes", "how much is produced and replayed before, so that the broker has a past (default none)")
	return c
}

func (b *benchmark) idle(ctx context.Context) ([]bench.Contender, []bench.Compared, error) {
	run := func(ctx context.Context) (m bench.Measured, err error) {
		e := b.stage.broker()
		if b.total > 0 {
			if err := b.past(ctx, e); err != nil {
				return m, err
			}
		}
		err = b.withTopic(ctx, e, b.partitions, b.configs, func(topic string) error {
			if err := bench.Soil(ctx, e, topic, b.partitions, int(b.size)); err != nil {
				return err
			}
			m, err = bench.Idle(ctx, e, topic, b.partitions, b.groups, b.settle, b.load.Duration, b.progress)
			return err
		})
		return m, err
	}
	server := func(figure func(bench.Usage) float64) func(bench.Round) float64 {
		return func(r bench.Round) float64 {
			if used := r[theBroker].Server; used != nil {
				return figure(*used)
			}
			return 0
		}
	}
	return []bench.Contender{{Name: theBroker, Run: run}}, []bench.Compared{
		{Name: figureRSS, Of: server(func(u bench.Usage) float64 { return float64(u.RSSBytes) / (1 << 20) })},
		{Name: figureCPU, Of: func(r bench.Round) float64 {
			return server(func(u bench.Usage) float64 {
				return 100 * bench.Divide(u.CPU.Seconds(), r[theBroker].Elapsed.Seconds())
			})(r)
		}},
	}, nil
}

// past has the broker take and give some records of another topic, which stays.
func (b *benchmark) past(ctx context.Context, e bench.Endpoint) error {
	const topic = benchTopicStart + "past"
	records := int64(b.total) / int64(b.size)
	load := b.load
	load.Producers = 1
	partitions, err := b.fill(ctx, e, topic, records)
	if err != nil {
		return err
	}
	_, err = bench.Consume(ctx, e, topic, bench.Reading{Records: records, Partitions: partitions}, b.progress)
	return err
}
