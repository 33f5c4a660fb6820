package bench

import (
	"encoding/json"
	"time"

	"github.com/spf13/cobra"

	"tidings.dev/internal/bench"
	"tidings.dev/internal/bench/framework"
	"tidings.dev/internal/cli/shell"
)

// membersName is the name of the hidden command of membersCommand.
const membersName = "members"

// membersCommand returns the hidden command that `bench react memory` runs in another process: it starts members of
// groups, and writes to stdout what they take while they wait.
func membersCommand(s *shell.Session) *cobra.Command {
	var m framework.Members
	var side string
	c := &cobra.Command{
		Use: membersName, Short: "Run reactions, or bare groups, which wait", Hidden: true, Args: shell.Arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			t, err := shell.ParseBrokers("--brokers", s.Brokers)
			if err != nil {
				return err
			}
			m.Log = s.Logger()
			run := framework.Members.React
			if side == framework.BareKgo {
				run = framework.Members.Bare
			}
			r, err := run(m, cmd.Context(), bench.Endpoint{Seeds: t.Brokers})
			if err != nil {
				return err
			}
			return json.NewEncoder(s.Stdout).Encode(r)
		},
	}
	f := c.Flags()
	f.StringVar(&side, "side", framework.Name, framework.Name+" or "+framework.BareKgo)
	f.StringVar(&m.Topic, "topic", "", "with the events")
	f.Int64Var(&m.Events, "backlog", 0, "events in it")
	f.IntVar(&m.Count, "reactions", 1, "members of groups")
	f.DurationVar(&m.Settle, "settle", time.Second, "before the memory is looked at")
	return shell.Takes(c, shell.FlagBrokers, shell.FlagVerbose)
}
