package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tidings.dev/internal/bench"
	"tidings.dev/internal/bench/stories"
	"tidings.dev/internal/bench/testbed"
	"tidings.dev/internal/cli/shell"
	"tidings.dev/story"
)

// storyLookup is the command `tidings bench story lookup` with the values of its flags.
type storyLookup struct {
	common
	orders   orders
	lookups  int
	commands int
}

func storyLookupCommand(s *shell.Session) *cobra.Command {
	l := &storyLookup{common: common{session: s, measures: stories.OfIndex}}
	c := newStoryCommand("lookup", "Measure how long it takes to get the story of a subject",
		"  tidings bench story lookup\n  tidings bench story lookup --events 2000000", &l.common, l)
	c.Long = `Has a shop's services make a log, and asks for stories of orders, which are drawn at random: of an index (index), of an indexer that reads
what is new and asks the brokers for positions first (indexer), and of ` + "`tidings story KEY`" + `, a process for each, until it has
ended (command). The broker must be reachable over TCP.`
	return c
}

func (l *storyLookup) flags(f *pflag.FlagSet) {
	l.orders.add(f, 200_000, "that the log holds")
	f.IntVar(&l.lookups, "lookups", 2000, "of stories in a round, of the index and of the indexer")
	f.IntVar(&l.commands, "commands", 100, "`tidings story KEY` in a round")
	f.Lookup("in-process").Hidden = true
}

func (l *storyLookup) check() error {
	switch {
	case l.inProcess:
		return shell.Usagef("", "--in-process: `tidings story` runs in a process of its own, which reaches the broker over TCP")
	case l.lookups < 1:
		return shell.Usagef("", "--lookups %d: want at least one", l.lookups)
	case l.commands < 1:
		return shell.Usagef("", "--commands %d: want at least one", l.commands)
	}
	return l.orders.check()
}

func (l *storyLookup) contenders(ctx context.Context) ([]bench.Contender, []bench.Comparison, error) {
	n := l.orders.number()
	if err := l.fillShop(ctx, n); err != nil {
		return nil, nil, err
	}
	e := l.env.broker.Endpoint()
	l.progress.Stage("index")
	x, closeIndexer, err := stories.OpenIndexer(context.WithoutCancel(ctx), e, filepath.Join(l.env.directory.Scratch, "lookup.db"), l.session.Logger())
	if err != nil {
		return nil, nil, err
	}
	l.env.closing = append(l.env.closing, closeIndexer)
	command, err := l.command(e)
	if err != nil {
		return nil, nil, err
	}
	l.progress.Stage("index of the command")
	if _, err := (stories.Lookup{Orders: n, Count: 1}).Command(ctx, e, l.progress, command); err != nil { // the first reads the whole log
		return nil, nil, err
	}
	lookup := stories.Lookup{Orders: n, Count: l.lookups}
	of := func(name string, ask func(stories.Lookup, context.Context, bench.Endpoint, *bench.Progress, *story.Indexer) (bench.Measured, error)) bench.Contender {
		return bench.Contender{Name: name, Run: func(ctx context.Context) (bench.Measured, error) { return ask(lookup, ctx, e, l.progress, x) }}
	}
	return []bench.Contender{
			of(stories.OfIndex, stories.Lookup.Index),
			of(stories.OfIndexer, stories.Lookup.Indexer),
			{Name: stories.OfCommand, Run: func(ctx context.Context) (bench.Measured, error) {
				return stories.Lookup{Orders: n, Count: l.commands}.Command(ctx, e, l.progress, command)
			}},
		}, []bench.Comparison{
			quantileMillis(stories.OfIndex, 0.5), quantileMillis(stories.OfIndex, 0.99),
			quantileMillis(stories.OfIndexer, 0.5), quantileMillis(stories.OfIndexer, 0.99),
			quantileMillis(stories.OfCommand, 0.5), quantileMillis(stories.OfCommand, 0.99),
		}, nil
}

// quantileMillis returns a quantile of the latency of a contender in milliseconds as a comparison, which may have a goal.
func quantileMillis(contender string, q float64) bench.Comparison {
	return bench.Comparison{Name: fmt.Sprintf("%s_p%g_ms", contender, 100*q), Of: func(r bench.Round) float64 { return 1e3 * r[contender].Quantile(q) }}
}

// command returns a function that runs `tidings story` for a subject, and returns the number of events that it prints. The
// index of the command is kept in a directory of the benchmark, as others are in the user's cache directory.
func (l *storyLookup) command(e bench.Endpoint) (func(ctx context.Context, subject string) (events int, err error), error) {
	program, err := thisProgram()
	if err != nil {
		return nil, err
	}
	cache := filepath.Join(l.env.directory.Scratch, "cache")
	if err := os.MkdirAll(cache, 0o700); err != nil {
		return nil, err
	}
	env := testbed.Environment()
	for _, name := range []string{"XDG_CACHE_HOME", "HOME", "LocalAppData"} { // of which os.UserCacheDir takes one
		env = append(env, name+"="+cache)
	}
	return func(ctx context.Context, subject string) (int, error) {
		cmd := exec.CommandContext(ctx, program, "story", subject, "--brokers", strings.Join(e.Seeds, ","), "-o", "json")
		cmd.Env, cmd.Stderr = env, l.session.Stderr
		out, err := cmd.Output()
		if err != nil {
			return 0, fmt.Errorf("`tidings story %s`: %w", subject, err)
		}
		var s struct {
			Events int `json:"events"`
		}
		err = json.Unmarshal(out, &s)
		return s.Events, err
	}, nil
}
