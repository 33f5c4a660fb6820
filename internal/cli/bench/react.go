package bench

import (
	"context"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tidings.dev/internal/bench"
	"tidings.dev/internal/bench/framework"
	"tidings.dev/internal/cli/shell"
)

// reactCommand returns the command react, which has a command for each thing that is measured of the framework: each
// has few flags then, all of which count.
func reactCommand(s *shell.Session) *cobra.Command {
	c := shell.Family("react", "Measure reactions and Emit beside a bare Kafka client",
		backlogCommand(s), latencyCommand(s), emitCommand(s), memoryCommand(s), membersCommand(s))
	c.Long = "Measures package tidings, by what an application can import of it, beside a program that does the same with a bare\n" +
		"kgo client on the same broker, in rounds that alternate. The ratios are of one round each: framework / bare kgo."
	return c
}

// reactRounds is the default of --rounds.
const reactRounds = 5

// newReactCommand returns a command of react. c must be the common part of b.
func newReactCommand(use, short, example string, c *common, b benchmark) *cobra.Command {
	c.benchmark, c.measures = "react-"+use, framework.Name
	cmd := c.command(use, short, example, b)
	f := cmd.Flags()
	c.rounds.Rounds = reactRounds
	c.rounds.Add(f)
	if c.load.Size == 0 {
		c.load.Size = 100
	}
	c.load.AddSize(f)
	f.Lookup("size").Usage = "of an event's JSON"
	f.IntVarP(&c.topic.Partitions, "partitions", "p", 1, "of the topic")
	b.flags(f)
	return cmd
}

// addSubjects adds the flag for the number of subjects.
func addSubjects(f *pflag.FlagSet, subjects *int) {
	f.IntVar(subjects, "subjects", 10_000, "that the events are about")
}

// checkEventSize returns a usage fault if events cannot be of --size.
func (c *common) checkEventSize() error {
	if c.load.Size < framework.MinBytes || c.load.Size > framework.MaxBytes {
		return shell.Usagef("", "--size %s: want %d bytes to 512 KiB", &c.load.Size, framework.MinBytes)
	}
	return nil
}

// checkSubjects returns a usage fault if --subjects is not valid.
func checkSubjects(subjects int) error {
	if subjects < 1 {
		return shell.Usagef("", "--subjects %d: events are about one at least", subjects)
	}
	return nil
}

// onTopic measures something with a topic of a broker.
type onTopic func(ctx context.Context, e bench.Endpoint, topic string) (bench.Measured, error)

// onNewTopic returns a contender that runs with a topic of its own, which is deleted afterwards.
func (c *common) onNewTopic(name string, run onTopic) bench.Contender {
	return bench.Contender{Name: name, Run: func(ctx context.Context) (m bench.Measured, err error) {
		e, topic := c.env.broker.Endpoint(), c.topic.Topic()
		err = e.WithTopic(ctx, topic, func() error {
			m, err = run(ctx, e, topic.Name)
			return err
		})
		return m, err
	}}
}

// fillEvents makes a topic with events, which is deleted when the environment is closed. It returns the name of the
// topic and the bytes of its batches.
func (c *common) fillEvents(ctx context.Context, f framework.Filling) (topic string, bytes int64, err error) {
	t, e := c.topic.Topic(), c.env.broker.Endpoint()
	if err := e.CreateTopic(ctx, t); err != nil {
		return "", 0, err
	}
	c.env.filled = append(c.env.filled, t.Name)
	c.progress.Stage("fill " + t.Name)
	bytes, err = f.Fill(ctx, e, t.Name, c.session.Logger(), c.progress)
	return t.Name, bytes, err
}
