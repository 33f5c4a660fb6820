package bench

import (
	"context"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tidings.dev/internal/bench"
	"tidings.dev/internal/cli/shell"
)

// consume is the command `tidings bench consume` with the values of its flags.
type consume struct {
	replay
	cold bool
}

func consumeCommand(s *shell.Session) *cobra.Command {
	c := &consume{replay: replay{common: common{session: s}, total: 1 << 30}}
	return newCommand("consume", "Measure how fast a topic is replayed",
		"  tidings bench consume --bytes 4GiB --cold --ceiling", &c.common, c)
}

func (c *consume) flags(f *pflag.FlagSet) {
	c.replay.flags(f)
	f.IntVar(&c.groups, "groups", 0, "consumer groups of one member, which read at the same time; 0: one reader without a group")
	f.BoolVar(&c.cold, "cold", false, "before each round restart the broker and drop its files from the page cache")
}

func (c *consume) check() error {
	if c.cold && c.session.Brokers != "" {
		return shell.Usagef("leave --brokers out", "--cold restarts the broker, which must be one of its own then")
	}
	if c.groups < 0 {
		return shell.Usagef("", "--groups %d: want none or more", c.groups)
	}
	return c.replay.check()
}

func (c *consume) contenders(ctx context.Context) (contenders []bench.Contender, comparisons []bench.Comparison, err error) {
	topic, partitions, err := c.fill(ctx)
	if err != nil {
		return nil, nil, err
	}
	reading := bench.Consume{Topic: topic, Records: c.records(), Groups: c.groups, Partitions: partitions, FetchBytes: int32(c.fetchBytes)}
	contenders = append(contenders, bench.Contender{Name: bench.BrokerName, Run: func(ctx context.Context) (bench.Measured, error) {
		if c.cold {
			if err := c.env.restartCold(); err != nil {
				return bench.Measured{}, err
			}
		}
		return reading.Run(ctx, c.env.broker.Endpoint(), c.progress)
	}})
	if !c.ceiling {
		return contenders, nil, nil
	}
	source, err := c.source(ctx, reading)
	if err != nil {
		return nil, nil, err
	}
	contenders, comparisons = append(contenders, source), append(comparisons, bench.RateRatio(nullSource))
	for _, limit := range c.limits() {
		contenders, comparisons = append(contenders, limit), append(comparisons, bench.BytesRatio(limit.Name))
	}
	return contenders, comparisons, nil
}

// source fills the null server with batches and returns a contender in which one reader, with the options of reading,
// reads them. The batches are produced by the client, and with the options, that have filled the topic of the broker
// under test.
func (c *consume) source(ctx context.Context, reading bench.Consume) (bench.Contender, error) {
	null := c.env.ceilings.nullServer()
	kept := max(min(reading.Records, keepBytes/2/int64(c.load.Size)), 1)
	topic := bench.Topic{Name: reading.Topic, Partitions: c.topic.Partitions}
	_, err := null.EnsureRecords(ctx, topic, c.load.Load(), kept, c.progress)
	reading.Groups = 0
	return bench.Contender{Name: nullSource, Run: func(ctx context.Context) (bench.Measured, error) {
		return reading.Run(ctx, null, c.progress)
	}}, err
}

// limits returns the limits of the machine for one reader: of the connection, and with --cold of the disk.
func (c *consume) limits() []bench.Contender {
	limits := c.env.ceilings.transport(1)
	if c.cold {
		limits = append(limits, c.env.ceilings.readCold(c.env.directory.Data))
	}
	return limits
}
