package bench

import (
	"context"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tidings.dev/internal/bench"
	"tidings.dev/internal/bench/framework"
	"tidings.dev/internal/cli/shell"
)

// backlog is the command `tidings bench react backlog` with the values of its flags.
type backlog struct {
	common
	events    int64
	subjects  int
	reactions int
	work      time.Duration
	emit      bool
	state     bool
	payload   string // raw or struct
}

func backlogCommand(s *shell.Session) *cobra.Command {
	b := &backlog{common: common{session: s}}
	c := newReactCommand("backlog", "Measure how fast reactions handle what a topic holds",
		"  tidings bench react backlog\n  tidings bench react backlog --payload struct --emit --partitions 4 --backlog 200000", &b.common, b)
	c.Long = `Fills a topic with events, and measures how fast a new reaction handles them from the beginning, beside a consumer group of a
bare kgo client that reads, decodes, handles, produces and commits the same. A rate is from the first event to the last. CPU
time, allocations and memory are those of this process in the whole run, from the connection until the group was left.`
	return c
}

func (b *backlog) flags(f *pflag.FlagSet) {
	f.Int64Var(&b.events, "backlog", 1_000_000, "events that the topic holds")
	addSubjects(f, &b.subjects)
	b.addInProcess(f)
	f.IntVar(&b.reactions, "reactions", 1, "of one app, each of which gets every event; as many bare groups")
	f.StringVar(&b.payload, "payload", "raw", "what handlers take: raw, the JSON as it is, or struct, which it is decoded to")
	f.DurationVar(&b.work, "work", 0, "for which a handler sleeps, 16 at a time on both sides; it is up to 1 ms more while the processors are idle")
	f.BoolVar(&b.emit, "emit", false, "emit one event of 100 B for each that is handled")
	f.BoolVar(&b.state, "state", false, "keep a state for each subject (ReactWith)")
}

func (b *backlog) check() error {
	if b.payload != "raw" && b.payload != "struct" {
		return shell.Usagef("", "--payload %s: want raw or struct", b.payload)
	}
	if b.events < 1 {
		return shell.Usagef("", "--backlog %d: want at least one event", b.events)
	}
	if err := checkSubjects(b.subjects); err != nil {
		return err
	}
	if err := b.checkEventSize(); err != nil {
		return err
	}
	return usage(b.measurement().Check())
}

// measurement returns what the flags describe, without what filling the topic gives.
func (b *backlog) measurement() framework.Backlog {
	return framework.Backlog{
		Events: b.events, Reactions: b.reactions, Work: b.work, Decode: b.payload == "struct", State: b.state, Log: b.session.Logger(),
	}
}

func (b *backlog) contenders(ctx context.Context) ([]bench.Contender, []bench.Comparison, error) {
	m, err := b.fill(ctx)
	if err != nil {
		return nil, nil, err
	}
	return []bench.Contender{b.on(framework.Name, m, framework.Backlog.React), b.on(framework.BareKgo, m, framework.Backlog.Bare)},
		[]bench.Comparison{
			bench.RateRatioOf(framework.Name, framework.BareKgo),
			bench.FigureRatio(framework.Name, framework.CPUMicrosPerEvent, framework.BareKgo),
			bench.Figure(framework.Name, framework.CPUMicrosPerEvent),
			bench.Figure(framework.Name, framework.AllocsPerEvent),
			bench.Figure(framework.Name, framework.ReadBytesPerLogByte),
			bench.Figure(framework.Name, framework.PeakMiB),
		}, nil
}

// fill makes the topic with the backlog.
func (b *backlog) fill(ctx context.Context) (framework.Backlog, error) {
	m := b.measurement()
	var err error
	m.Topic, m.Bytes, err = b.fillEvents(ctx, framework.Filling{Events: b.events, Size: int(b.load.Size), Subjects: b.subjects})
	return m, err
}

// on returns the contender of one of the two sides. With --emit it has a new topic for what is emitted.
func (b *backlog) on(name string, m framework.Backlog, side framework.Side[framework.Backlog]) bench.Contender {
	if b.emit {
		return b.onNewTopic(name, func(ctx context.Context, e bench.Endpoint, topic string) (bench.Measured, error) {
			m.EmitTo = topic
			measured, err := side(m, ctx, e, b.progress)
			if err != nil {
				return measured, err
			}
			_, emitted, err := e.Describe(ctx, topic)
			measured.Figures[framework.EmittedPerEvent] = bench.Divide(float64(emitted), float64(measured.Records))
			return measured, err
		})
	}
	return bench.Contender{Name: name, Run: func(ctx context.Context) (bench.Measured, error) {
		return side(m, ctx, b.env.broker.Endpoint(), b.progress)
	}}
}
