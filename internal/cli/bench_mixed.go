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

func (s *session) benchMixedCommand() *cobra.Command {
	b := &benchmark{session: s, name: "mixed"}
	b.load.Keys = 10_000
	c := b.command("Measure a long run below the maximum, with retention, compaction and consumers", b.mixed)
	c.Long += "\nTwo topics share the load: one that retention cuts to 256 MiB, and one that is compacted to its --keys. A consumer group\n" +
		"of each reads along. First the maximum of the same is measured, on topics of its own, as fast as it goes; then the broker\n" +
		"starts anew and gets --share of it for --duration, measured in ten parts."
	b.clientFlags(c.Flags())
	f := c.Flags()
	f.Float64Var(&b.share, "share", 0.5, "of the maximum rate that is sent")
	f.Float64Var(&b.load.Rate, "rate", 0, "records a second in all; 0: --share of the maximum, which is measured first")
	f.DurationVarP(&b.load.Duration, "duration", "d", time.Minute, "that is measured at --share of the maximum")
	f.DurationVar(&b.maximumTime, "maximum-time", 10*time.Second, "for which the maximum is measured")
	f.DurationVar(&b.load.Warmup, "warmup", 3*time.Second, "before each, with the same load")
	return c
}

const (
	mixedParts        = 10
	mixedSegmentBytes = 16 << 20
	retainedBytes     = 256 << 20 // of all partitions of the topic under retention
	mixedRetention    = 5 * time.Second
)

func (b *benchmark) mixed(context.Context) ([]bench.Contender, []bench.Compared, error) {
	if b.brokers == "" {
		b.childConfig.RetentionInterval = mixedRetention
		if err := b.stage.restart(); err != nil {
			return nil, nil, err
		}
		b.note("bench mixed: this takes about %v", (time.Duration(b.rounds) * (b.maximumTime + b.load.Duration + 4*b.load.Warmup)).Round(time.Second))
	}
	rate := b.load.Rate
	var contenders []bench.Contender
	if rate == 0 {
		contenders = append(contenders, bench.Contender{Name: theMaximum, Run: func(ctx context.Context) (bench.Measured, error) {
			l := b.load
			l.Rate, l.Duration = 0, b.maximumTime
			m, err := b.mix(ctx, l, 1)
			rate = b.share * m.RecordsPerSecond()
			m.Series = nil
			return m, err
		}})
	}
	contenders = append(contenders, bench.Contender{Name: theBroker, Run: func(ctx context.Context) (bench.Measured, error) {
		if b.stage.child != nil {
			if err := b.stage.restart(); err != nil {
				return bench.Measured{}, err
			}
		}
		l := b.load
		l.Rate = rate
		return b.mix(ctx, l, mixedParts)
	}})
	compared := []bench.Compared{{Name: ratioFlat, Of: func(r bench.Round) float64 {
		parts := r[theBroker].Series
		return bench.Divide(bench.Sum(parts[len(parts)-flatParts:]).Quantile(0.99), bench.Sum(parts[:flatParts]).Quantile(0.99))
	}}}
	if b.brokers == "" {
		compared = append(compared, bench.Compared{Name: figurePeakRSS, Of: func(r bench.Round) float64 {
			if used := r[theBroker].Server; used != nil {
				return float64(used.PeakRSSBytes) / (1 << 20)
			}
			return 0
		}})
	}
	compared = append(compared, bench.Compared{Name: "delivered / acknowledged", Of: func(r bench.Round) float64 {
		return bench.Divide(float64(r[theBroker].Delivered), float64(r[theBroker].Records))
	}})
	return contenders, compared, nil
}

// flatParts is how many parts of a mixed run, at either end, are held against each other.
const flatParts = 3

// mix makes the two topics, runs the load, and removes them.
func (b *benchmark) mix(ctx context.Context, l bench.Load, parts int) (m bench.Measured, err error) {
	e := b.stage.broker()
	b.topics++
	names := []string{fmt.Sprintf("%s%d-%d-retained", benchTopicStart, os.Getpid(), b.topics), fmt.Sprintf("%s%d-%d-compacted", benchTopicStart, os.Getpid(), b.topics)}
	segment := fmt.Sprintf("segment.bytes=%d", mixedSegmentBytes)
	configs := [][]string{
		{segment, fmt.Sprintf("retention.bytes=%d", retainedBytes/b.partitions)},
		{segment, "cleanup.policy=compact"},
	}
	made := 0
	defer func() { // even if the run was interrupted
		for _, name := range names[:made] {
			if removeErr := e.DeleteTopic(context.WithoutCancel(ctx), name); err == nil {
				err = removeErr
			}
		}
	}()
	for i, name := range names {
		all := slices.Concat(configs[i], b.configs)
		if err := e.CreateTopic(ctx, bench.Topic{Name: name, Partitions: b.partitions, Configs: settings(all)}); err != nil {
			return m, err
		}
		made++
	}
	return bench.Mixed(ctx, e, names, l, parts, b.progress)
}
