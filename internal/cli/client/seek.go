package client

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"tidings.dev/internal/cli/shell"
	"tidings.dev/internal/obligation"
)

// seekFlags are the values of the flags of `group seek`.
type seekFlags struct {
	topic, to        string
	by               int64
	events, subjects []string
	jump, yes        bool
	partitions       []int32
	id, why          string
	timeout, valid   time.Duration
}

func groupSeekCommand(s *shell.Session) *cobra.Command {
	var f seekFlags
	c := &cobra.Command{
		Use: "seek GROUP --topic TOPIC (--to earliest|latest|OFFSET|TIME|AGO | --by N | --event ID | --subject SUBJECT [--jump])", Short: "Move a group's position, or have single events handled again",
		Long: "Prints what a group would handle again (AGAIN) and what it would not get any more (JUMPED), for each partition and type, and\n" +
			"does just that with --yes. Without --yes the exit code is 2.\n\n" +
			"--to moves the position: back, everything from there on is handled again, also what is done ahead of a stuck event; ahead, what\n" +
			"lies between is jumped and what is done beyond stays done. TIME is like 2010-12-01T08:26:00Z or 2010-12-01, AGO like 90m.\n" +
			"What was removed from the log before it was\n" +
			"handled is jumped by every move ahead, and is counted in offsets, as (lost).\n" +
			"--by moves it by so many events of the reaction in each partition: --by=-5 back by five that it handles, --by 1 ahead over\n" +
			"the first one that is not done. --event and --subject are for single events of a reaction, wherever its position is: it handles these again and no\n" +
			"others, or with --jump it does not get these and all others.\n\n" +
			"If the group is a reaction, it may run: then the instances that have the partitions do it, and the command waits for them. What is\n" +
			"handled between the plan and the seek is neither handled again nor jumped. STATE is done; stale if the plan does not fit any more,\n" +
			"since somebody else has moved the position or all was handled meanwhile; refused; expired; or pending. A pending one is done\n" +
			"as soon as an instance has the partition and takes it up, or expires --expires-after the command, by the log's clock: so do those that an\n" +
			"instance of a version that does not know them has. After ctrl-C, or --timeout, `tidings group seek GROUP --id ID` waits for it\n" +
			"again, and `tidings group show` shows it. An id is never done twice: give one with --id to repeat a command line safely.\n\n" +
			"A group that is no reaction must have no members: stop them first. Who moved a reaction is recorded in the log, with --why, and\n" +
			"shown in stories. Exit code 1: not all was done, or the group has members that cannot be told; 3: there is no such group, topic\n" +
			"or event.",
		Example: "  tidings group seek email --topic orders --to earliest\n" +
			"  tidings group seek email --topic orders --to 90m --partition 0,1 --yes\n" +
			"  tidings group seek email --topic orders --partition 3 --by 1 --yes\n" +
			"  tidings group seek email --topic orders --subject order/536365\n" +
			"  tidings group seek email --topic orders --event 019b2f3c-5d7e-7c31-9f20-4a1b6c7d8e9f --jump --yes\n" +
			"  tidings group seek email --topic orders --by=-5 --id again-17 --why 'the mail server lost them' --yes\n" +
			"  tidings group seek email --id again-17",
		Args: shell.Arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			goal, goalErr := f.goal(cmd, time.Now())
			if goalErr != nil && !f.repeats(cmd) {
				return goalErr
			}
			if err := f.check(); err != nil {
				return err
			}
			conn, err := connect(ctx, s)
			if err != nil {
				return err
			}
			defer conn.close()
			seek := &seek{connection: conn, group: args[0], topic: f.topic, id: f.id, why: f.why, idGiven: f.id != ""}
			if seek.idGiven {
				if repeated, err := seek.repeat(ctx, s, f.timeout); repeated || err != nil {
					return err
				}
				if goalErr != nil {
					return shell.NotFoundf("to begin one, give --topic and --to, --by, --event or --subject", "no seek of group %s has the id %s", args[0], f.id)
				}
			} else {
				seek.id = newSeekID()
			}
			plan, err := seek.plan(ctx, goal, f.partitions)
			if err != nil {
				return err
			}
			if f.yes && seek.running {
				return seek.performRunning(ctx, s, plan, f)
			}
			if err := writePlan(s.Output(), plan); err != nil {
				return err
			}
			if !f.yes {
				return shell.NeedsYes()
			}
			return seek.perform(ctx, plan)
		},
	}
	c.Flags().StringVar(&f.topic, "topic", "", "the topic in which to move")
	c.Flags().StringVar(&f.to, "to", "", "earliest, latest, an offset, a time, or a duration ago")
	c.Flags().Int64Var(&f.by, "by", 0, "so many events ahead, or back if below zero, in each partition")
	c.Flags().StringArrayVar(&f.events, "event", nil, "exactly the event with this `ID`; may be repeated")
	c.Flags().StringArrayVar(&f.subjects, "subject", nil, "exactly the events of this subject; may be repeated")
	c.Flags().BoolVar(&f.jump, "jump", false, "jump the events of --event or --subject, instead of handling them again")
	c.Flags().Int32SliceVar(&f.partitions, "partition", nil, "only these partitions, with commas between; none: all")
	c.Flags().BoolVar(&f.yes, "yes", false, "do it")
	c.Flags().StringVar(&f.id, "id", "", "the seek's `ID`: one that was begun is not begun again, but waited for")
	c.Flags().StringVar(&f.why, "why", "", "the reason, which is recorded")
	c.Flags().DurationVar(&f.timeout, "timeout", time.Minute, "how long to wait for the instances of a reaction that runs")
	c.Flags().DurationVar(&f.valid, "expires-after", 5*time.Minute, "how long instances of a reaction that runs may begin with it")
	return shell.TakesLog(c)
}

// seekGoal is what a seek should do. Exactly one of the following is set: to, by, or events and subjects.
type seekGoal struct {
	to               *offsetSpec
	text             string // the flag value that to was parsed from
	by               int64
	events, subjects []string
	jump             bool
}

// exact reports whether the seek is about single events, which are to be handled again or jumped.
func (g seekGoal) exact() bool { return len(g.events)+len(g.subjects) > 0 }

// goal returns the goal that the flags describe, or a usage fault.
func (f seekFlags) goal(cmd *cobra.Command, now time.Time) (seekGoal, error) {
	g := seekGoal{text: f.to, by: f.by, events: f.events, subjects: f.subjects, jump: f.jump}
	ways := 0
	for _, given := range []bool{f.to != "", shell.Given(cmd, "by"), g.exact()} {
		if given {
			ways++
		}
	}
	switch {
	case f.topic == "" || ways == 0:
		return g, shell.Usagef("usage: "+cmd.UseLine(), "--topic and --to are missing (or --by, --event or --subject in place of --to): what to move, and where")
	case ways > 1:
		return g, shell.Usagef("leave all but one out", "--to, --by, and --event or --subject each set what to do")
	case f.jump && !g.exact():
		return g, shell.Usagef("--to and --by jump when they go ahead", "--jump is for --event and --subject")
	case shell.Given(cmd, "by") && f.by == 0:
		return g, shell.Usagef("--by=-5 goes back by five events, --by 1 ahead over one", "--by 0 moves nothing")
	}
	if f.to == "" {
		return g, nil
	}
	to, err := parseOffsetSpec(f.to, now)
	if err == nil && to.at.After(now) {
		err = shell.Usagef("`--to latest` goes to the end", "--to %s is in the future: nothing is there yet", f.to)
	}
	g.to = &to
	return g, err
}

// repeats reports whether the flags only name a seek that was begun before.
func (f seekFlags) repeats(cmd *cobra.Command) bool {
	return f.id != "" && f.topic == "" && f.to == "" && !shell.Given(cmd, "by") && len(f.events)+len(f.subjects) == 0
}

// check returns a usage fault if an id or a time is not one.
func (f seekFlags) check() error {
	if f.id != "" {
		if err := obligation.CheckCommandID(f.id); err != nil {
			return shell.Usagef("such as --id again-17", "--id: %v", err)
		}
	}
	if f.timeout <= 0 || f.valid < time.Second || f.valid > maxValid {
		return shell.Usagef("such as --timeout 1m --expires-after 5m", "--timeout must be above 0, and --expires-after from 1s to %v", maxValid)
	}
	return nil
}

// maxValid bounds how long a command may be open before it is begun.
const maxValid = 24 * time.Hour

// writePlan prints the moves of a plan, one line per partition and type.
func writePlan(out *shell.Output, plan []move) error {
	return writeMoves(out, plan, []string{"TOPIC", "PARTITION", "FROM", "TO", "TYPE", "AGAIN", "JUMPED"}, (*move).rows)
}

// writeMoves prints moves. As text, it prints the rows of each below a line of column heads, also if the output is not a
// terminal.
func writeMoves(out *shell.Output, plan []move, heads []string, rows func(*move) [][]string) error {
	if out.Format.Machine() {
		return shell.List(out, nil, plan, nil)
	}
	return out.Value(plan, func(w io.Writer) error {
		lines := w
		if out.Table() {
			table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
			defer table.Flush()
			lines = table
		}
		shell.WriteRow(lines, heads)
		for i := range plan {
			for _, row := range rows(&plan[i]) {
				shell.WriteRow(lines, row)
			}
		}
		return nil
	})
}

// lostRow is what the line of the events that a move jumps, and that the log has no more, has in place of a type.
const lostRow = "(lost)"

// rows returns the cells of the lines for a move: one line per event type, one for what is lost, or a single line without
// a type if no event is handled again or jumped.
func (m *move) rows() [][]string {
	types := m.Types
	if m.Lost > 0 {
		types = append(slices.Clone(types), typeCount{Type: lostRow, Skip: m.Lost})
	}
	if len(types) == 0 {
		types = []typeCount{{}}
	}
	var rows [][]string
	number := func(n int64) string { return strconv.FormatInt(n, 10) }
	for _, t := range types {
		rows = append(rows, []string{m.Topic, fmt.Sprint(m.Partition), number(m.From), number(m.To), t.Type, number(t.Repeat), number(t.Skip)})
	}
	return rows
}
