package bench

import (
	"context"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tidings.dev/internal/bench"
	"tidings.dev/internal/bench/stories"
	"tidings.dev/internal/cli/shell"
)

// storyLag is the command `tidings bench story lag` with the values of its flags.
type storyLag struct {
	common
	orders   orders
	inFlight int
}

func storyLagCommand(s *shell.Session) *cobra.Command {
	l := &storyLag{common: common{session: s, measures: stories.Indexer}}
	c := newStoryCommand("lag", "Measure how far an indexer is behind services that work as fast as they can",
		"  tidings bench story lag\n  tidings bench story lag --events 2000000 --rounds 1", &l.common, l)
	c.Long = `Has a shop's services take orders, always --in-flight of them at a time, so that the rate is the one at which the services keep up, and
measures every 50 ms how long it takes until the index has all that is in the log. The indexer is in the process of the services, and
judges the stories, as that of ` + "`tidings serve`" + ` does.`
	return c
}

func (l *storyLag) flags(f *pflag.FlagSet) {
	l.orders.add(f, 200_000, "of a round")
	f.IntVar(&l.inFlight, "in-flight", 1000, "orders that were placed and have not come to the end of the longest chain of services")
}

func (l *storyLag) check() error {
	if l.inFlight < 1 {
		return shell.Usagef("", "--in-flight %d: want at least one", l.inFlight)
	}
	return l.orders.check()
}

func (l *storyLag) contenders(context.Context) ([]bench.Contender, []bench.Comparison, error) {
	run := func(ctx context.Context) (m bench.Measured, err error) {
		shop, err := l.newShop(ctx)
		if err != nil {
			return m, err
		}
		lag := stories.Lag{Shop: shop, Orders: l.orders.number(), InFlight: l.inFlight, Dir: l.env.directory.Scratch}
		return lag.Run(ctx, l.env.broker.Endpoint(), l.progress)
	}
	return []bench.Contender{{Name: stories.Indexer, Run: run}}, []bench.Comparison{
		bench.Figure(stories.Indexer, stories.LagMaxMillis),
		quantileMillis(stories.Indexer, 0.5), quantileMillis(stories.Indexer, 0.99),
	}, nil
}
