package client

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"tidings.dev/internal/cli/shell"
)

func groupCommand(s *shell.Session) *cobra.Command {
	return shell.Family("group", "List and show groups (each reaction is one), move their positions, retire them",
		groupListCommand(s), groupShowCommand(s), groupSeekCommand(s), groupRetireCommand(s))
}

// groupSummary is a row of the output of `group ls`.
type groupSummary struct {
	Group    string        `json:"group"`
	State    string        `json:"state"`
	Members  int           `json:"members"`
	Behind   int64         `json:"behind"` // the sum of groupPosition.Behind over all partitions
	Retrying int           `json:"retrying"`
	Running  int           `json:"running"`
	Stuck    *failingEvent `json:"stuck,omitempty"` // the event that has been failing for longest; nil if none is failing
	Needs    string        `json:"needs_version,omitempty"`
}

func groupListCommand(s *shell.Session) *cobra.Command {
	return shell.TakesLog(&cobra.Command{
		Use: "ls", Short: "List the groups",
		Long: "Lists the groups with their state. BEHIND is how many records a reaction has not done: neither handled nor skipped nor\n" +
			"passed over, wherever its position is; of a group that is no reaction, the records after its positions. RETRYING is how\n" +
			"many events have failed and will be tried again, RUNNING how many handlers have been running for long, and STUCK where\n" +
			"the event is that has been failing for longest, and since when. NEEDS is the version that a program must have, or a higher\n" +
			"one, to run the reaction: an older one stands by.",
		Example: "  tidings group ls\n  tidings group ls -o json",
		Args:    shell.Arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			conn, err := connect(cmd.Context(), s)
			if err != nil {
				return err
			}
			defer conn.close()
			rows, err := conn.listGroups(cmd.Context())
			if err != nil {
				return err
			}
			heads := []string{"GROUP", "STATE", "MEMBERS", "BEHIND", "RETRYING", "RUNNING", "STUCK", "NEEDS"}
			return shell.List(s.Output(), heads, rows, groupSummary.cells)
		},
	})
}

// listGroups returns the rows of `group ls`, sorted by the name of the group.
func (c connection) listGroups(ctx context.Context) (rows []groupSummary, err error) {
	lags, err := c.adm.Lag(ctx)
	if err != nil {
		return nil, err
	}
	l, err := c.readLedger(ctx, func(string) bool { return true })
	if err != nil {
		return nil, err
	}
	starts, ends, err := c.boundsOf(ctx, l)
	if err != nil {
		return nil, err
	}
	for _, g := range lags.Sorted() {
		if err := g.Error(); err != nil {
			return nil, fmt.Errorf("group %s: %w", g.Group, err)
		}
		at := l.standingOf(g, starts, ends, time.Now())
		row := groupSummary{Group: g.Group, State: g.State, Members: len(g.Members), Behind: at.behind(), Retrying: len(at.failing), Running: len(at.running), Needs: at.needs}
		if len(at.failing) > 0 {
			row.Stuck = &at.failing[0]
		}
		rows = append(rows, row)
	}
	return rows, nil
}

func (r groupSummary) cells() []string {
	stuck := ""
	if r.Stuck != nil {
		stuck = fmt.Sprintf("%s/%d@%d since %s", r.Stuck.Topic, r.Stuck.Partition, r.Stuck.Offset, r.Stuck.Since.Format(time.RFC3339))
	}
	return []string{r.Group, r.State, strconv.Itoa(r.Members), strconv.FormatInt(r.Behind, 10), strconv.Itoa(r.Retrying), strconv.Itoa(r.Running), stuck, r.Needs}
}

// group returns the description of a group with its positions. If there is none, it returns a not-found fault.
func (c connection) group(ctx context.Context, name string) (kadm.DescribedGroupLag, error) {
	lags, err := c.adm.Lag(ctx, name)
	if err != nil {
		return kadm.DescribedGroupLag{}, err
	}
	g, ok := lags[name]
	if !ok || errors.Is(g.Error(), kerr.GroupIDNotFound) || g.State == "Dead" && len(g.Lag) == 0 {
		return g, shell.NotFoundf("`tidings group ls` lists the groups", "there is no group %q", name)
	}
	return g, g.Error()
}
