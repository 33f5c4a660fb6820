package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

func (s *session) groupCommand() *cobra.Command {
	return family("group", "Look at groups (each reaction is one) and move their positions",
		s.groupListCommand(), s.groupShowCommand(), s.groupSeekCommand())
}

type groupSummary struct {
	Group   string `json:"group"`
	State   string `json:"state"`
	Members int    `json:"members"`
	Behind  int64  `json:"behind"` // records after its positions, over all its partitions
}

func (s *session) groupListCommand() *cobra.Command {
	return &cobra.Command{
		Use: "ls", Short: "List the groups", Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			adm, err := s.admin(cmd.Context())
			if err != nil {
				return err
			}
			defer adm.Close()
			lags, err := adm.Lag(cmd.Context())
			if err != nil {
				return err
			}
			var rows []groupSummary
			for _, g := range lags.Sorted() {
				if err := g.Error(); err != nil {
					return fmt.Errorf("group %s: %w", g.Group, err)
				}
				row := groupSummary{Group: g.Group, State: g.State, Members: len(g.Members)}
				for _, l := range g.Lag.Sorted() {
					row.Behind += max(l.Lag, 0)
				}
				rows = append(rows, row)
			}
			return list(s.output(), []string{"GROUP", "STATE", "MEMBERS", "BEHIND"}, rows, func(r groupSummary) []string {
				return []string{r.Group, r.State, strconv.Itoa(r.Members), strconv.FormatInt(r.Behind, 10)}
			})
		},
	}
}

type groupDetail struct {
	Group     string          `json:"group"`
	State     string          `json:"state"`
	Protocol  string          `json:"protocol,omitempty"`
	Members   []memberDetail  `json:"members"`
	Positions []groupPosition `json:"positions"`
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

type groupPosition struct {
	topicPartition
	Position int64  `json:"position"` // -1: none is committed
	End      int64  `json:"end"`
	Behind   int64  `json:"behind"`
	Owner    string `json:"owner,omitempty"` // the member that has the partition
}

func (s *session) groupShowCommand() *cobra.Command {
	return &cobra.Command{
		Use: "show GROUP", Short: "Show a group's members and positions", Args: arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			adm, err := s.admin(cmd.Context())
			if err != nil {
				return err
			}
			defer adm.Close()
			lag, err := findGroup(cmd.Context(), adm, args[0])
			if err != nil {
				return err
			}
			d := describeGroup(lag)
			return s.output().thing(d, d.text)
		},
	}
}

// findGroup returns a group with its positions, or a not-found fault.
func findGroup(ctx context.Context, adm *kadm.Client, name string) (kadm.DescribedGroupLag, error) {
	unknown := notFoundf("`tidings group ls` lists the groups", "there is no group %q", name)
	lags, err := adm.Lag(ctx, name)
	if err != nil {
		return kadm.DescribedGroupLag{}, err
	}
	g, ok := lags[name]
	if !ok || errors.Is(g.Error(), kerr.GroupIDNotFound) || g.State == "Dead" && len(g.Lag) == 0 {
		return g, unknown
	}
	return g, g.Error()
}

func describeGroup(g kadm.DescribedGroupLag) groupDetail {
	d := groupDetail{Group: g.Group, State: g.State, Protocol: g.Protocol, Members: []memberDetail{}, Positions: []groupPosition{}}
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
	for _, l := range g.Lag.Sorted() {
		p := groupPosition{topicPartition: topicPartition{l.Topic, l.Partition}, Position: l.Commit.At, End: l.End.Offset, Behind: l.Lag}
		if l.Member != nil {
			p.Owner = l.Member.MemberID
		}
		d.Positions = append(d.Positions, p)
	}
	return d
}

func (d groupDetail) text(w io.Writer) error {
	fmt.Fprintf(w, "%s  %s  %s\n", d.Group, d.State, plural(len(d.Members), "member"))
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "TOPIC\tPARTITION\tPOSITION\tEND\tBEHIND\tOWNER")
	for _, p := range d.Positions {
		fmt.Fprintf(table, "%s\t%d\t%d\t%d\t%d\t%s\n", clean(p.Topic), p.Partition, p.Position, p.End, p.Behind, clean(p.Owner))
	}
	return table.Flush()
}
