package bench

import (
	"github.com/spf13/cobra"

	"tidings.dev/internal/bench/framework"
	"tidings.dev/internal/cli/shell"
)

// reactCommand returns the command react, which has a command for each thing that is measured of the framework: each
// has few flags then, all of which count.
func reactCommand(s *shell.Session) *cobra.Command {
	c := shell.Family("react", "Measure reactions and Emit beside a bare Kafka client",
		backlogCommand(s))
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
	c.addInProcess(f)
	b.flags(f)
	return cmd
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
