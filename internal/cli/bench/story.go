package bench

import (
	"context"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tidings.dev/internal/bench"
	"tidings.dev/internal/bench/stories"
	"tidings.dev/internal/cli/shell"
)

// storyCommand returns the command story, which has a command for each thing that is measured of the story.
func storyCommand(s *shell.Session) *cobra.Command {
	c := shell.Family("story", "Measure the indexer of stories, lookups, and how soon stories are known to have settled",
		storyIndexCommand(s), storyLookupCommand(s), storyLagCommand(s), storySettledCommand(s))
	c.Long = "Measures package story on the log of a shop: seven services, which really run, each an app in this process, and stories of\n" +
		"seven events, each of which is handled. The broker is in another process."
	return c
}

// newStoryCommand returns a command of story. c must be the common part of b, and have the defaults of its flags.
func newStoryCommand(use, short, example string, c *common, b benchmark) *cobra.Command {
	c.benchmark = "story-" + use
	c.load.Size = 100 // which is not a flag: the events of the shop are as they are
	if c.topic.Partitions == 0 {
		c.topic.Partitions = 4
	}
	cmd := c.command(use, short, example, b)
	f := cmd.Flags()
	c.rounds.Rounds = 5
	c.rounds.Add(f)
	f.IntVarP(&c.topic.Partitions, "partitions", "p", c.topic.Partitions, "of each of the shop's six topics")
	c.addInProcess(f)
	b.flags(f)
	return cmd
}

// orders is a number of events of a shop's log, as a flag.
type orders struct{ events int }

// add adds the flag.
func (o *orders) add(f *pflag.FlagSet, events int, usage string) {
	f.IntVar(&o.events, "events", events, usage)
}

// check returns a usage fault if there is no order.
func (o *orders) check() error {
	if o.events < stories.EventsPerOrder {
		return shell.Usagef("", "--events %d: an order has %d", o.events, stories.EventsPerOrder)
	}
	return nil
}

// number returns the number of orders that have so many events, or a few less.
func (o *orders) number() int { return o.events / stories.EventsPerOrder }

// newShop makes the topics of a shop, which are deleted when the environment is closed.
func (c *common) newShop(ctx context.Context) (stories.Shop, error) {
	shop := stories.Shop{
		Name: strings.ToLower(bench.NewTopicName()), Partitions: c.topic.Partitions, Log: c.session.Logger(),
	}
	for _, t := range shop.Topics() {
		if err := c.env.broker.Endpoint().CreateTopic(ctx, t); err != nil {
			return shop, err
		}
		c.env.filled = append(c.env.filled, t.Name)
	}
	return shop, nil
}

// fillShop has a shop take so many orders, all of which have settled when it returns.
func (c *common) fillShop(ctx context.Context, orders int) error {
	shop, err := c.newShop(ctx)
	if err != nil {
		return err
	}
	c.progress.Stage("fill " + shop.Name)
	return shop.Fill(ctx, c.env.broker.Endpoint(), orders, c.env.directory.Scratch, c.progress)
}
