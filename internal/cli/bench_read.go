package cli

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"tidings.dev/internal/bench"
)

func (s *session) benchConsumeCommand() *cobra.Command {
	b := &benchmark{session: s, name: "consume"}
	c := b.command("Measure how fast a topic is replayed", b.consume)
	b.loadFlags(c.Flags())
	b.total = 1 << 30
	f := c.Flags()
	f.Var(&b.total, "bytes", "how much each reader replays; it is produced first, unless --topic has it")
	f.IntVar(&b.groups, "groups", 0, "so many consumer groups of one member, all at once; 0: one reader without a group")
	f.Var(&b.fetch, "fetch-bytes", "of one partition in one answer (default kgo's own, 1 MiB)")
	f.BoolVar(&b.cold, "cold", false, "before each round restart the broker and drop its files from the page cache")
	return c
}

func (b *benchmark) consume(ctx context.Context) ([]bench.Contender, []bench.Compared, error) {
	records := int64(b.total) / int64(b.size)
	b.nameTopic()
	partitions, err := b.fill(ctx, b.stage.broker(), b.topic, records)
	if err != nil {
		return nil, nil, err
	}
	reading := bench.Reading{Records: records, Groups: b.groups, Partitions: partitions, FetchBytes: int32(b.fetch)}
	contenders := []bench.Contender{{Name: theBroker, Run: func(ctx context.Context) (bench.Measured, error) {
		if b.cold {
			if err := b.stage.restartCold(); err != nil {
				return bench.Measured{}, err
			}
		}
		return bench.Consume(ctx, b.stage.broker(), b.topic, reading, b.progress)
	}}}
	if !b.ceiling {
		return contenders, nil, nil
	}
	// The null source answers with batches that the same client made with the same options.
	kept := max(min(records, benchKeepBytes/2/int64(b.size)), 1)
	if _, err := b.fill(ctx, b.stage.nullServer(), b.topic, kept); err != nil {
		return nil, nil, err
	}
	reading.Groups = 0
	contenders = append(contenders, bench.Contender{Name: nullSource, Run: func(ctx context.Context) (bench.Measured, error) {
		return bench.Consume(ctx, b.stage.nullServer(), b.topic, reading, b.progress)
	}}, b.streaming(1))
	stream := b.stage.streamName()
	compared := []bench.Compared{rateRatio(ratioToSource, nullSource), bytesRatio("mb_per_s / "+stream, stream)}
	if stream == loopbackTCP {
		contenders = append(contenders, b.sendingFiles(1))
		compared = append(compared, bytesRatio("mb_per_s / "+sendfileName, sendfileName))
	}
	if b.cold && b.stage.data != "" {
		contenders = append(contenders, b.readingCold())
		compared = append(compared, bytesRatio("mb_per_s / "+coldRead, coldRead))
	}
	return contenders, compared, nil
}

// readingCold is the disk's own speed with the broker's segments, 4 MiB at a time.
func (b *benchmark) readingCold() bench.Contender {
	return bench.Contender{Name: coldRead, Run: func(ctx context.Context) (bench.Measured, error) {
		return bench.ReadLimit(ctx, b.stage.data, "*.log", 4<<20, b.rawTime())
	}}
}

// nameTopic gives a topic that stays for all rounds a name, unless it has one; then it is removed at the end.
func (b *benchmark) nameTopic() {
	if b.topic != "" {
		return
	}
	b.topic = fmt.Sprintf("%s%d", benchTopicStart, os.Getpid())
	b.cleanUp = func(ctx context.Context) error { return b.stage.broker().DeleteTopic(ctx, b.topic) }
}

// fill makes a topic hold at least so many records, and returns how many partitions it has.
func (b *benchmark) fill(ctx context.Context, e bench.Endpoint, topic string, records int64) (partitions int, err error) {
	partitions, there, err := e.Describe(ctx, topic)
	if err != nil {
		return 0, err
	}
	if partitions == 0 {
		partitions = b.partitions
		if err := e.CreateTopic(ctx, bench.Topic{Name: topic, Partitions: partitions, Configs: settings(b.configs)}); err != nil {
			return 0, err
		}
	}
	if there < records {
		b.progress.Stage("fill " + topic)
		err = bench.Fill(ctx, e, topic, b.load, records-there, b.progress)
	}
	return partitions, err
}

func (s *session) benchFanOutCommand() *cobra.Command {
	b := &benchmark{session: s, name: "fanout"}
	c := b.command("Measure how much many readers of the same records get in all", b.fanOut)
	b.loadFlags(c.Flags())
	b.total = 64 << 20
	f := c.Flags()
	f.Var(&b.total, "bytes", "how much the topic holds, which the readers read over and over; it is produced first, unless --topic has it")
	f.IntVar(&b.groups, "groups", 10, "so many readers at once, each on a connection of its own")
	f.Var(&b.fetch, "fetch-bytes", "of one partition in one answer (default 1 MiB)")
	f.BoolVar(&b.raw, "raw", true, "readers take bytes and decode nothing; false: they are kgo consumer groups, which read the topic once")
	f.DurationVarP(&b.load.Duration, "duration", "d", 3*time.Second, "that is measured in a round of raw readers")
	return c
}

func (b *benchmark) fanOut(ctx context.Context) ([]bench.Contender, []bench.Compared, error) {
	records := int64(b.total) / int64(b.size)
	b.nameTopic()
	if _, err := b.fill(ctx, b.stage.broker(), b.topic, records); err != nil {
		return nil, nil, err
	}
	const one = "one_group"
	contenders := []bench.Contender{b.fanning(theBroker, b.groups, records)}
	compared := []bench.Compared{}
	if b.groups > 1 {
		contenders = append(contenders, b.fanning(one, 1, records))
		compared = append(compared, bytesRatio("mb_per_s / "+one, one))
	}
	if b.ceiling {
		contenders = append(contenders, b.streaming(b.groups))
		compared = append(compared, bytesRatio("mb_per_s / "+b.stage.streamName(), b.stage.streamName()))
		if b.stage.streamName() == loopbackTCP {
			contenders = append(contenders, b.sendingFiles(b.groups))
			compared = append(compared, bytesRatio("mb_per_s / "+sendfileName, sendfileName))
		}
	}
	return contenders, compared, nil
}

func (b *benchmark) fanning(name string, groups int, records int64) bench.Contender {
	return bench.Contender{Name: name, Run: func(ctx context.Context) (bench.Measured, error) {
		if b.raw {
			return bench.FanOut(ctx, b.stage.broker(), b.topic, groups, int32(b.fetch), b.load.Duration, b.progress)
		}
		return bench.Consume(ctx, b.stage.broker(), b.topic, bench.Reading{Records: records, Groups: groups, FetchBytes: int32(b.fetch)}, b.progress)
	}}
}

// sendingFiles is how fast the kernel sends files over a number of connections.
func (b *benchmark) sendingFiles(conns int) bench.Contender {
	return bench.Contender{Name: sendfileName, Run: func(ctx context.Context) (bench.Measured, error) {
		return bench.SendfileLimit(ctx, b.stage.rawServer(), conns, b.rawTime())
	}}
}

// rawTime is how long a raw limit is measured.
func (b *benchmark) rawTime() time.Duration {
	if b.load.Duration > 0 {
		return min(rawTime, b.load.Duration)
	}
	return rawTime
}

func (s *session) benchEndToEndCommand() *cobra.Command {
	b := &benchmark{session: s, name: "e2e"}
	c := b.command("Measure how long a record takes from being sent at a rate to its consumers", b.endToEnd)
	b.loadFlags(c.Flags())
	b.load.Rate = 10_000
	b.sendingFlags(c.Flags())
	c.Flags().IntVar(&b.groups, "groups", 1, "so many consumer groups of one member read along")
	return c
}

func (b *benchmark) endToEnd(context.Context) ([]bench.Contender, []bench.Compared, error) {
	contenders := []bench.Contender{b.passing(theBroker, b.partitions, b.configs)}
	compared := []bench.Compared{}
	p99 := func(r bench.Round, name string) float64 { return r[name].Quantile(0.99) }
	if b.varied() {
		contenders = append(contenders, b.passing(theVariant, b.variantPartitions(), slices.Concat(b.configs, b.variant)))
		compared = append(compared, bench.Compared{Name: "p99 / " + theVariant, Of: func(r bench.Round) float64 {
			return bench.Divide(p99(r, theBroker), p99(r, theVariant))
		}})
	}
	if b.ceiling {
		contenders = append(contenders, b.syncing(sync4K, 4<<10))
		compared = append(compared, bench.Compared{Name: "p99 / " + sync4K, Of: func(r bench.Round) float64 {
			return bench.Divide(p99(r, theBroker), p99(r, sync4K))
		}})
	}
	if b.ceiling && b.varied() {
		compared = append(compared, bench.Compared{Name: ratioEndToEnd, Of: func(r bench.Round) float64 {
			return bench.Divide(p99(r, theBroker), p99(r, theVariant)+p99(r, sync4K))
		}})
	}
	return contenders, compared, nil
}

func (b *benchmark) passing(name string, partitions int, configs []string) bench.Contender {
	return bench.Contender{Name: name, Run: func(ctx context.Context) (m bench.Measured, err error) {
		err = b.withTopic(ctx, b.stage.broker(), partitions, configs, func(topic string) error {
			m, err = bench.EndToEnd(ctx, b.stage.broker(), topic, b.load, b.groups, b.progress)
			return err
		})
		return m, err
	}}
}
