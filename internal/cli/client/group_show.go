package client

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"

	"tidings.dev/internal/cli/shell"
	"tidings.dev/internal/logclient"
	"tidings.dev/internal/obligation"
)

// groupDetail is the output of `group show`.
type groupDetail struct {
	Group         string          `json:"group"`
	State         string          `json:"state"`
	Protocol      string          `json:"protocol,omitempty"`
	Needs         string          `json:"needs_version,omitempty"` // see standing.needs
	Subscriptions []topicHandled  `json:"subscriptions"`           // empty if the group is no reaction
	Members       []memberDetail  `json:"members"`
	Positions     []groupPosition `json:"positions"`
	Retrying      []failingEvent  `json:"retrying"` // the longest failing event first
	Running       []runningEvent  `json:"running"`
	Commands      []openCommand   `json:"commands"` // that have no result, the oldest first

	NotUnderstood []topicNotUnderstood `json:"not_understood"`
	Mismatches    []reactionMismatch   `json:"mismatches"`
}

// openCommand is a command for a reaction that has no result yet.
type openCommand struct {
	topicPartition
	ID       string    `json:"id"`
	Action   string    `json:"action"`
	Position int64     `json:"position"` // as of its plan
	To       int64     `json:"to"`
	Who      string    `json:"who,omitempty"`
	Why      string    `json:"why,omitempty"`
	By       string    `json:"by,omitempty"` // the member that has begun with it
	At       time.Time `json:"at"`           // when the log has appended it
	Expires  time.Time `json:"expires"`
}

// openCommands returns the commands that have no result.
func openCommands(commands obligation.Commands) []openCommand {
	open := []openCommand{}
	for _, c := range commands {
		if !c.Open() {
			continue
		}
		m := c.Command
		o := openCommand{topicPartition: topicPartition{m.Topic, m.Partition}, ID: m.ID, Action: m.Action, Position: m.Position, To: m.To, Who: m.Who, Why: m.Why,
			At: c.Appended.UTC(), Expires: c.Appended.Add(time.Duration(m.Valid) * time.Millisecond).UTC()}
		if c.Claim != nil {
			o.By = c.Claim.By
		}
		open = append(open, o)
	}
	slices.SortFunc(open, func(a, b openCommand) int {
		return cmp.Or(a.At.Compare(b.At), strings.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	return open
}

// text returns one line about the command for people.
func (c openCommand) text() string {
	line := fmt.Sprintf("pending: %s %s of %s/%d from %d to %d, by %s", shell.Clean(c.Action), shell.Clean(c.ID), shell.Clean(c.Topic), c.Partition, c.Position, c.To, shell.Clean(cmp.Or(c.Who, "somebody")))
	if c.Why != "" {
		line += " (" + shell.Clean(c.Why) + ")"
	}
	if c.By != "" {
		return line + ", begun by " + shell.Clean(c.By)
	}
	return line + ", until " + c.Expires.Format(time.RFC3339)
}

// topicHandled is the subscription of a reaction to one topic.
type topicHandled struct {
	Topic string   `json:"topic"`
	Types []string `json:"types"` // empty: all types
}

type memberDetail struct {
	Member     string           `json:"member"`
	Client     string           `json:"client"`
	Host       string           `json:"host"`
	Partitions []topicPartition `json:"partitions"`
}

type topicPartition struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
}

func groupShowCommand(s *shell.Session) *cobra.Command {
	return shell.TakesLog(&cobra.Command{
		Use: "show GROUP", Short: "Show a group's members and positions, and what is stuck",
		Long: "Shows where a group stands in each partition: its position, the offset after the last record, how many records are not\n" +
			"done (as in `tidings group ls`), and the member that has the partition. Of a reaction it also shows which types it handles,\n" +
			"the events that have failed and will be tried again, the one first that has been failing for longest, with attempts and\n" +
			"the last error, and the handlers that have been running for long, and seeks that it has not done\n" +
			"yet. Records that it has passed over since they claim to be CloudEvents and cannot be read as such are counted by topic,\n" +
			"with the first and the last, and events whose fields differ from those of the type that they are decoded into. Exit\n" +
			"code 3: there is no such group.",
		Example: "  tidings group show email\n  tidings group show email -o json",
		Args:    shell.Arguments(1, 1),
		RunE: connected(s, func(ctx context.Context, conn connection, args []string) error {
			lag, err := conn.group(ctx, args[0])
			if err != nil {
				return err
			}
			l, err := conn.readLedger(ctx, func(reaction string) bool { return reaction == args[0] })
			if err != nil {
				return err
			}
			starts, ends, err := conn.boundsOf(ctx, l)
			if err != nil {
				return err
			}
			d := describeGroup(lag, l, starts, ends, time.Now())
			commands, err := conn.readCommands(ctx, args[0])
			if err != nil {
				return err
			}
			d.Commands = openCommands(commands)
			return s.Output().Value(d, d.text)
		}),
	})
}

func describeGroup(g kadm.DescribedGroupLag, l *ledger, starts, ends logclient.Offsets, now time.Time) groupDetail {
	at := l.standingOf(g, starts, ends, now)
	d := groupDetail{Group: g.Group, State: g.State, Protocol: g.Protocol, Needs: at.needs, Subscriptions: []topicHandled{},
		Members: []memberDetail{}, Positions: at.positions, Retrying: at.failing, Running: at.running,
		NotUnderstood: l.notUnderstoodOf(g.Group), Mismatches: l.mismatchesOfReaction(g.Group)}
	for _, s := range l.subscriptionsOf(g.Group) {
		d.Subscriptions = append(d.Subscriptions, topicHandled{s.Topic, append([]string{}, s.Types...)})
	}
	for _, m := range g.Members {
		member := memberDetail{Member: m.MemberID, Client: m.ClientID, Host: m.ClientHost, Partitions: []topicPartition{}}
		if assigned, ok := m.Assigned.AsConsumer(); ok {
			for _, t := range assigned.Topics {
				for _, p := range t.Partitions {
					member.Partitions = append(member.Partitions, topicPartition{t.Topic, p})
				}
			}
		}
		d.Members = append(d.Members, member)
	}
	return d
}

// maxShown is the maximum number of failing events, and of running ones, in the text output. JSON has all of them.
const maxShown = 10

func (d groupDetail) text(w io.Writer) error {
	fmt.Fprintf(w, "%s  %s  %s\n", d.Group, d.State, shell.Plural(len(d.Members), "member"))
	for _, s := range d.Subscriptions {
		fmt.Fprintf(w, "handles on %s: %s\n", shell.Clean(s.Topic), typesText(s.Types))
	}
	if d.Needs != "" {
		fmt.Fprintf(w, "needs version %s or higher: an instance of an older program stands by\n", shell.Clean(d.Needs))
	}
	if len(d.Members) == 0 && len(d.Subscriptions) > 0 {
		fmt.Fprintln(w, "nobody runs it: no instance is there, or all of them stand by")
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "TOPIC\tPARTITION\tPOSITION\tEND\tBEHIND\tRETRYING\tRUNNING\tOWNER")
	for _, p := range d.Positions {
		fmt.Fprintf(table, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%s\n", shell.Clean(p.Topic), p.Partition, p.Position, p.End, p.Behind, p.Retrying, p.Running, shell.Clean(p.Owner))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, t := range d.NotUnderstood {
		fmt.Fprintln(w, t.text())
	}
	for _, m := range d.Mismatches {
		fmt.Fprintln(w, m.text())
	}
	for i, e := range d.Retrying {
		if i == maxShown {
			fmt.Fprintf(w, "and %d more that fail: -o json has them all\n", len(d.Retrying)-i)
			break
		}
		fmt.Fprintf(w, "stuck: %s/%d@%d since %s, %s: %s\n", shell.Clean(e.Topic), e.Partition, e.Offset, e.Since.Format(time.RFC3339),
			shell.Plural(e.Attempts, "failed attempt"), shell.Clean(e.Error))
	}
	for i, e := range d.Running {
		if i == maxShown {
			fmt.Fprintf(w, "and %d more that run: -o json has them all\n", len(d.Running)-i)
			break
		}
		fmt.Fprintf(w, "running: %s/%d@%d since %s, attempt %d\n", shell.Clean(e.Topic), e.Partition, e.Offset, e.Since.Format(time.RFC3339), e.Attempt)
	}
	for i, c := range d.Commands {
		if i == maxShown {
			fmt.Fprintf(w, "and %d more that are pending: -o json has them all\n", len(d.Commands)-i)
			break
		}
		fmt.Fprintln(w, c.text())
	}
	return nil
}

// typesText returns event types as text. No types mean all types.
func typesText(types []string) string {
	if len(types) == 0 {
		return "all types"
	}
	text := ""
	for i, t := range types {
		if i > 0 {
			text += " "
		}
		text += shell.Clean(t)
	}
	return text
}
