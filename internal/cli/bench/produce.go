package bench

import (
	"context"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tidings.dev/internal/bench"
	"tidings.dev/internal/bench/testbed"
	"tidings.dev/internal/cli/shell"
)

// produce is the command `tidings bench produce` with the values of its flags.
type produce struct {
	common
	variant variant
}

func produceCommand(s *shell.Session) *cobra.Command {
	p := &produce{common: common{session: s}}
	return newCommand("produce", "Measure how fast records are acknowledged, and how soon",
		"  tidings bench produce --ceiling\n  tidings bench produce --brokers localhost:9092 --size 100 --emitters 64 --keys 10000", &p.common, p)
}

func (p *produce) flags(f *pflag.FlagSet) {
	p.load.AddSending(f)
	p.load.AddDuration(f)
	p.variant.flags(f)
}

func (p *produce) check() error { return p.variant.check(&p.common) }

func (p *produce) contenders(context.Context) (contenders []bench.Contender, comparisons []bench.Comparison, _ error) {
	contenders = append(contenders, p.on(bench.BrokerName, p.env.broker.Endpoint, p.topic))
	if p.variant.given() {
		contenders = append(contenders, p.on(against, p.env.broker.Endpoint, p.variant.topic(p.topic)))
		comparisons = append(comparisons, bench.RateRatio(against))
	}
	if !p.ceiling {
		return contenders, comparisons, nil
	}
	limits := p.env.ceilings
	null := testbed.TopicFlags{Partitions: p.topic.Partitions}
	contenders = append(contenders, p.on(nullSink, limits.nullServer, null), limits.sync(sync4K, 4<<10))
	comparisons = append(comparisons, bench.RateRatio(nullSink))
	if p.load.Flags.Emitters == 0 {
		stream := limits.transport(1)[0]
		contenders = append(contenders, limits.sync(sync1M, 1<<20), limits.appendFile(), stream)
		return contenders, append(comparisons, bench.BytesRatio(sync1M), bench.BytesRatio(append1M), bench.BytesRatio(stream.Name)), nil
	}
	comparisons = append(comparisons, bench.RateRatio(sync4K))
	if p.load.Flags.Emitters == 1 && p.load.Flags.Rate == 0 {
		comparisons = append(comparisons, bench.Comparison{Name: "p50 / (" + sync4K + " p50 + " + nullSink + " p50)", Of: func(r bench.Round) float64 {
			return bench.Divide(r[bench.BrokerName].Quantile(0.5), r[sync4K].Quantile(0.5)+r[nullSink].Quantile(0.5))
		}})
	}
	return contenders, comparisons, nil
}

// on returns a contender that produces to a topic at an endpoint. endpoint is called when the contender runs.
func (p *produce) on(name string, endpoint func() bench.Endpoint, topic testbed.TopicFlags) bench.Contender {
	return bench.Contender{Name: name, Run: func(ctx context.Context) (m bench.Measured, err error) {
		e := endpoint()
		err = withTopic(ctx, e, topic, func(name string) error {
			m, err = bench.Produce{Topic: name, Load: p.load.Load()}.Run(ctx, e, p.progress)
			return err
		})
		return m, err
	}}
}

// withTopic calls use with the name of a topic. If the flags name a topic, it creates the topic if necessary and
// keeps it; otherwise it creates a new topic and deletes it afterwards.
func withTopic(ctx context.Context, e bench.Endpoint, flags testbed.TopicFlags, use func(name string) error) error {
	topic := flags.Topic()
	if flags.Name == "" {
		return e.WithTopic(ctx, topic, func() error { return use(topic.Name) })
	}
	if _, _, err := e.EnsureTopic(ctx, topic); err != nil {
		return err
	}
	return use(topic.Name)
}
