package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tidings.dev/internal/bench"
)

// halfMaximum measures a long run below the maximum rate, with retention, compaction and consumers.
type halfMaximum struct {
	measurement
	// share is the part of the maximum rate that is sent, in (0, 1].
	share float64
	// maximumTime is how long the maximum is measured.
	maximumTime time.Duration
	rate        float64 // records per second: the value of --rate, or share of the maximum after that was measured
}

const (
	mixedIntervals    = 10
	comparedIntervals = 3 // number of intervals at the beginning, and at the end, that are compared
	mixedSegmentBytes = 16 << 20
	retainedBytes     = 256 << 20 // bytes that retention keeps, over all partitions of the topic
	mixedRetention    = 5 * time.Second

	// maximum is the name of the contender that sends as fast as the broker accepts.
	maximum = "maximum"

	// Names of figures in the report.
	steadiness = "p99 of the last 3 parts / of the first 3"
	peakMiB    = "server_peak_rss_mib"
)

func halfMaximumCommand(o *options) *cobra.Command {
	h := &halfMaximum{measurement: measurement{options: o}}
	h.topic.Partitions = 4
	h.load.Flags.Keys, h.load.Flags.Duration, h.load.Flags.Warmup = 10_000, 10*time.Minute, 3*time.Second
	return preset{
		name: "half-maximum", alias: "mixed", kind: "mixed",
		short: "10 minutes at half of the maximum: is p99 as low at the end as at the beginning, and memory bounded",
		long: "Two topics share the load: one that retention cuts to 256 MiB, and one that is compacted to its --keys. A consumer group\n" +
			"reads each. First the maximum of the same load is measured, on topics of its own; then the broker starts anew and gets\n" +
			"--share of it for --duration, measured in ten intervals.",
		goals: goals{steadiness: {AtMost: 1.5}, peakMiB: {AtMost: 256}},
	}.commandOf(&h.measurement, h)
}

func (h *halfMaximum) flags(f *pflag.FlagSet) {
	h.load.AddClient(f)
	h.load.AddDuration(f)
	f.StringVar(&h.brokers, "brokers", "", "measure the cluster at these addresses, HOST:PORT with commas between, in place of a broker of its own")
	f.Float64Var(&h.share, "share", 0.5, "of the maximum rate that is sent")
	f.Float64Var(&h.load.Flags.Rate, "rate", 0, "records a second in all; 0: --share of the maximum, which is measured first")
	f.DurationVar(&h.maximumTime, "maximum-time", 10*time.Second, "for which the maximum is measured")
}

func (h *halfMaximum) check() error {
	switch {
	case h.share <= 0 || h.share > 1:
		return fmt.Errorf("--share %g: want more than 0 and at most 1", h.share)
	case h.load.Flags.Keys < 1:
		return fmt.Errorf("--keys %d: compaction needs keys", h.load.Flags.Keys)
	case h.brokers != "" && (h.data != "" || h.tidings != ""):
		return fmt.Errorf("--brokers %s: leave --data and --tidings out, they are for a broker of its own", h.brokers)
	case h.topic.Name != "":
		return fmt.Errorf("--topic %s: the preset makes two topics of its own", h.topic.Name)
	}
	return nil
}

func (h *halfMaximum) contenders(context.Context) (contenders []bench.Contender, _ []bench.Comparison, _ error) {
	if h.broker != nil {
		h.broker.RetentionInterval = mixedRetention
		if err := h.broker.Restart(); err != nil {
			return nil, nil, err
		}
	}
	load := h.load.Load()
	length := time.Duration(h.rounds.Rounds) * (load.Duration + load.Warmup)
	if h.rate = load.Rate; h.rate == 0 {
		length += time.Duration(h.rounds.Rounds) * (h.maximumTime + load.Warmup)
		contenders = append(contenders, bench.Contender{Name: maximum, Run: h.measureMaximum})
	}
	fmt.Fprintf(h.stderr, "presets: half-maximum takes about %v\n", length.Round(time.Second))
	contenders = append(contenders, bench.Contender{Name: bench.BrokerName, Run: h.measureShare})
	comparisons := []bench.Comparison{
		{Name: steadiness, Of: func(r bench.Round) float64 {
			series := r[bench.BrokerName].Series
			last, first := bench.Sum(series[len(series)-comparedIntervals:]), bench.Sum(series[:comparedIntervals])
			return bench.Divide(last.Quantile(0.99), first.Quantile(0.99))
		}},
		{Name: "delivered / acknowledged", Of: func(r bench.Round) float64 {
			return bench.Divide(float64(r[bench.BrokerName].Delivered), float64(r[bench.BrokerName].Records))
		}},
	}
	if h.broker == nil { // the memory of the broker is not known
		delete(h.goals, peakMiB)
		return contenders, comparisons, nil
	}
	peak := serverFigure(peakMiB, func(m bench.Measured) float64 { return float64(m.Server.PeakRSSBytes) / (1 << 20) })
	return contenders, append(comparisons, peak), nil
}

// measureMaximum measures the load at the maximum rate, and sets h.rate to the share of that rate.
func (h *halfMaximum) measureMaximum(ctx context.Context) (bench.Measured, error) {
	load := h.load.Load()
	load.Rate, load.Duration = 0, h.maximumTime
	m, err := h.mixed(ctx, load, 1)
	h.rate, m.Series = h.share*m.RecordsPerSecond(), nil
	return m, err
}

// measureShare measures the load at h.rate. Unless --brokers is given, the broker is restarted first.
func (h *halfMaximum) measureShare(ctx context.Context) (bench.Measured, error) {
	if h.broker != nil {
		if err := h.broker.Restart(); err != nil {
			return bench.Measured{}, err
		}
	}
	load := h.load.Load()
	load.Rate = h.rate
	return h.mixed(ctx, load, mixedIntervals)
}

// mixed creates the two topics, runs a load on them, and deletes them.
func (h *halfMaximum) mixed(ctx context.Context, load bench.Load, intervals int) (m bench.Measured, err error) {
	e, segment := h.endpoint(), fmt.Sprintf("segment.bytes=%d", mixedSegmentBytes)
	retained := h.topic.Topic(segment, fmt.Sprintf("retention.bytes=%d", retainedBytes/h.topic.Partitions))
	compacted := h.topic.Topic(segment, "cleanup.policy=compact")
	err = e.WithTopic(ctx, retained, func() error {
		return e.WithTopic(ctx, compacted, func() error {
			m, err = bench.Mixed{Topics: []string{retained.Name, compacted.Name}, Load: load, Intervals: intervals}.Run(ctx, e, h.progress)
			return err
		})
	})
	return m, err
}
