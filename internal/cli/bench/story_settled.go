package bench

import (
	"context"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tidings.dev/internal/bench"
	"tidings.dev/internal/bench/stories"
	"tidings.dev/internal/cli/shell"
)

// storySettled is the command `tidings bench story settled` with the values of its flags.
type storySettled struct {
	common
	rate     float64
	duration time.Duration
	late     int
}

func storySettledCommand(s *shell.Session) *cobra.Command {
	b := &storySettled{common: common{session: s, measures: stories.Indexer}}
	c := newStoryCommand("settled", "Measure how soon Receipt.Settled returns",
		"  tidings bench story settled --rate 500", &b.common, b)
	c.Long = `Calls Settled for orders that have settled, one after the other, which the app has to ask the indexer about (late). Then it places orders with
a shop at a rate, calls Settled for each at once, and measures how long after the end of the last handler of an order the call returns (early).`
	return c
}

func (b *storySettled) flags(f *pflag.FlagSet) {
	f.Float64Var(&b.rate, "rate", 500, "orders a second, each of which has seven events")
	f.DurationVarP(&b.duration, "duration", "d", 5*time.Second, "for which orders are placed in a round")
	f.IntVar(&b.late, "late", 500, "calls in a round about orders that have settled")
}

func (b *storySettled) check() error {
	switch {
	case b.rate*b.duration.Seconds() < 1:
		return shell.Usagef("", "--rate %g and --duration %v: want at least one order", b.rate, b.duration)
	case b.late < 1:
		return shell.Usagef("", "--late %d: want at least one", b.late)
	}
	return nil
}

func (b *storySettled) contenders(context.Context) ([]bench.Contender, []bench.Comparison, error) {
	run := func(ctx context.Context) (m bench.Measured, err error) {
		shop, err := b.newShop(ctx)
		if err != nil {
			return m, err
		}
		settling := stories.Settling{Shop: shop, Rate: b.rate, Duration: b.duration, Late: b.late, Dir: b.env.directory.Scratch}
		return settling.Run(ctx, b.env.broker.Endpoint(), b.progress)
	}
	return []bench.Contender{{Name: stories.Indexer, Run: run}}, []bench.Comparison{
		{Name: "early_p50_ms", Of: func(r bench.Round) float64 { return 1e3 * r[stories.Indexer].Quantile(0.5) }},
		{Name: "early_p99_ms", Of: func(r bench.Round) float64 { return 1e3 * r[stories.Indexer].Quantile(0.99) }},
		bench.Figure(stories.Indexer, stories.LateP50Millis),
		bench.Figure(stories.Indexer, stories.LateP99Millis),
	}, nil
}
