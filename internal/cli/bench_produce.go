package cli

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"tidings.dev/internal/bench"
)

func (s *session) benchProduceCommand() *cobra.Command {
	b := &benchmark{session: s, name: "produce"}
	c := b.command("Measure how fast records are acknowledged, and how soon", b.produce)
	b.loadFlags(c.Flags())
	b.sendingFlags(c.Flags())
	c.Flags().IntVar(&b.checkpoints, "checkpoints", 0, "measure during so many checkpoints, before each of which all partitions get 64 KiB, and in turn without; 0: the load alone")
	return c
}

func (b *benchmark) produce(context.Context) ([]bench.Contender, []bench.Compared, error) {
	if b.checkpoints > 0 {
		return b.duringCheckpoints()
	}
	contenders := []bench.Contender{b.producing(theBroker, b.stage.broker, b.partitions, b.configs)}
	if b.varied() {
		contenders = append(contenders, b.producing(theVariant, b.stage.broker, b.variantPartitions(), slices.Concat(b.configs, b.variant)))
	}
	compared := []bench.Compared{}
	if b.varied() {
		compared = append(compared, rateRatio(ratioToVariant, theVariant))
	}
	if !b.ceiling {
		return contenders, compared, nil
	}
	contenders = append(contenders, b.producing(nullSink, b.stage.nullServer, b.partitions, nil), b.syncing(sync4K, 4<<10))
	compared = append(compared, rateRatio(ratioToNull, nullSink))
	if b.load.Emitters == 0 {
		contenders = append(contenders, b.syncing(sync1M, 1<<20), b.growing(), b.streaming(1))
		compared = append(compared, bytesRatio("mb_per_s / "+sync1M, sync1M), bytesRatio("mb_per_s / "+append1M, append1M), bytesRatio("mb_per_s / "+b.stage.streamName(), b.stage.streamName()))
		return contenders, compared, nil
	}
	compared = append(compared, rateRatio(ratioToSyncs, sync4K))
	if b.load.Emitters == 1 && b.load.Rate == 0 {
		compared = append(compared, bench.Compared{Name: ratioOneRecord, Of: func(r bench.Round) float64 {
			return bench.Divide(r[theBroker].Quantile(0.5), r[sync4K].Quantile(0.5)+r[nullSink].Quantile(0.5))
		}})
	}
	return contenders, compared, nil
}

// varied says that a second topic is measured, too.
func (b *benchmark) varied() bool { return b.variantPar > 0 || b.variant != nil }

func (b *benchmark) variantPartitions() int {
	if b.variantPar > 0 {
		return b.variantPar
	}
	return b.partitions
}

func (b *benchmark) producing(name string, where func() bench.Endpoint, partitions int, configs []string) bench.Contender {
	return bench.Contender{Name: name, Run: func(ctx context.Context) (m bench.Measured, err error) {
		err = b.withTopic(ctx, where(), partitions, configs, func(topic string) error {
			m, err = bench.Produce(ctx, where(), topic, b.load, b.progress)
			return err
		})
		return m, err
	}}
}

// syncing is the disk's own speed with writes of a size.
func (b *benchmark) syncing(name string, writeBytes int) bench.Contender {
	return bench.Contender{Name: name, Run: func(ctx context.Context) (bench.Measured, error) {
		return b.stage.disk.Rewrite(ctx, writeBytes, b.rawTime())
	}}
}

// growing is the disk's own speed where a file grows, with syncs of 1 MiB.
func (b *benchmark) growing() bench.Contender {
	return bench.Contender{Name: append1M, Run: func(ctx context.Context) (bench.Measured, error) {
		return b.stage.disk.Append(ctx, 1<<20, b.rawTime())
	}}
}

// streaming is the transport's own speed over a number of connections.
func (b *benchmark) streaming(conns int) bench.Contender {
	return bench.Contender{Name: b.stage.streamName(), Run: func(ctx context.Context) (bench.Measured, error) {
		return bench.StreamLimit(ctx, b.stage.rawServer(), conns, b.rawTime())
	}}
}

// withTopic makes a topic of its own, or takes the one that was named, for the time of a call.
func (b *benchmark) withTopic(ctx context.Context, e bench.Endpoint, partitions int, configs []string, use func(string) error) (err error) {
	if b.topic != "" {
		there, _, err := e.Describe(ctx, b.topic)
		if err == nil && there == 0 {
			err = e.CreateTopic(ctx, bench.Topic{Name: b.topic, Partitions: partitions, Configs: settings(configs)})
		}
		if err != nil {
			return err
		}
		return use(b.topic)
	}
	b.topics++
	name := fmt.Sprintf("%s%d-%d", benchTopicStart, os.Getpid(), b.topics)
	if err := e.CreateTopic(ctx, bench.Topic{Name: name, Partitions: partitions, Configs: settings(configs)}); err != nil {
		return err
	}
	err = use(name)
	// The topic goes even if the run was interrupted: on another's broker nobody else would remove it.
	if removeErr := e.DeleteTopic(context.WithoutCancel(ctx), name); err == nil {
		err = removeErr
	}
	return err
}

func settings(configs []string) map[string]string {
	all := map[string]string{}
	for _, config := range configs {
		name, value, _ := strings.Cut(config, "=")
		all[name] = value
	}
	return all
}

func rateRatio(name, ceiling string) bench.Compared {
	return bench.Compared{Name: name, Of: func(r bench.Round) float64 {
		return bench.Divide(r[theBroker].RecordsPerSecond(), r[ceiling].RecordsPerSecond())
	}}
}

func bytesRatio(name, ceiling string) bench.Compared {
	return bench.Compared{Name: name, Of: func(r bench.Round) float64 {
		return bench.Divide(r[theBroker].BytesPerSecond(), r[ceiling].BytesPerSecond())
	}}
}
