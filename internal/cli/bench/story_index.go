package bench

import (
	"context"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tidings.dev/internal/bench"
	"tidings.dev/internal/bench/stories"
	"tidings.dev/internal/cli/shell"
)

// storyIndex is the command `tidings bench story index` with the values of its flags.
type storyIndex struct {
	common
	orders orders
}

func storyIndexCommand(s *shell.Session) *cobra.Command {
	i := &storyIndex{common: common{session: s, measures: stories.Indexer}}
	c := newStoryCommand("index", "Measure how fast an indexer catches up with a log, and what its file takes",
		"  tidings bench story index\n  tidings bench story index --events 2000000", &i.common, i)
	c.Long = `Has a shop's services make a log, and measures how fast a new indexer reads it from the beginning, beside a bare kgo client that
reads the same topics and does nothing with them. CPU time is that of this process, and includes the client's.`
	return c
}

func (i *storyIndex) flags(f *pflag.FlagSet) { i.orders.add(f, 200_000, "that the log holds") }
func (i *storyIndex) check() error           { return i.orders.check() }

func (i *storyIndex) contenders(ctx context.Context) ([]bench.Contender, []bench.Comparison, error) {
	n := i.orders.number()
	if err := i.fillShop(ctx, n); err != nil {
		return nil, nil, err
	}
	indexing := stories.Indexing{Events: int64(n * stories.EventsPerOrder), Dir: i.env.directory.Scratch, Log: i.session.Logger()}
	e := i.env.broker.Endpoint()
	return []bench.Contender{
			{Name: stories.Indexer, Run: func(ctx context.Context) (bench.Measured, error) { return indexing.Index(ctx, e, i.progress) }},
			{Name: stories.BareKgo, Run: func(ctx context.Context) (bench.Measured, error) { return indexing.Bare(ctx, e, i.progress) }},
		}, []bench.Comparison{
			bench.Figure(stories.Indexer, stories.CPUMicrosPerEvent),
			bench.Figure(stories.Indexer, stories.DiskPerEvent),
			bench.RateRatioOf(stories.Indexer, stories.BareKgo),
			bench.FigureRatio(stories.Indexer, stories.CPUMicrosPerEvent, stories.BareKgo),
		}, nil
}
