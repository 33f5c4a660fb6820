package client

import (
	"errors"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"tidings.dev/internal/cli/shell"
)

func topicEditCommand(s *shell.Session) *cobra.Command {
	return shell.TakesLog(&cobra.Command{
		Use: "edit TOPIC NAME=VALUE…", Short: "Change a topic's settings",
		Long: "Changes settings of a topic, with Kafka's names; NAME= without a value returns one to the broker's default. Either\n" +
			"all are changed or none. Exit code 2: a setting is not valid; 3: there is no such topic.",
		Example: "  tidings topic edit orders retention.ms=86400000 segment.bytes=",
		Args:    shell.Arguments(2, -1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			edits, err := parseEdits(args[1:])
			if err != nil {
				return err
			}
			conn, err := connect(ctx, s)
			if err != nil {
				return err
			}
			defer conn.close()
			answers, err := conn.adm.AlterTopicConfigs(ctx, edits, args[0])
			if err != nil {
				return err
			}
			for _, a := range answers {
				switch {
				case errors.Is(a.Err, kerr.UnknownTopicOrPartition):
					return unknownTopic(args[0])
				case errors.Is(a.Err, kerr.InvalidConfig), errors.Is(a.Err, kerr.InvalidRequest):
					return shell.Usagef("settings have Kafka's names; `tidings topic show` lists those that are set", "topic %s stays as it is: %s", args[0], a.ErrMessage)
				case a.Err != nil:
					return a.Err
				}
			}
			return nil
		},
	})
}

// parseEdits parses settings of the form NAME=VALUE, and NAME= to return to the default.
func parseEdits(settings []string) ([]kadm.AlterConfig, error) {
	var edits []kadm.AlterConfig
	for _, setting := range settings {
		name, value, ok := strings.Cut(setting, "=")
		switch {
		case !ok || name == "":
			return nil, shell.Usagef("for example retention.ms=86400000, or retention.ms= for the default", "%q is not NAME=VALUE", setting)
		case value == "":
			edits = append(edits, kadm.AlterConfig{Op: kadm.DeleteConfig, Name: name})
		default:
			edits = append(edits, kadm.AlterConfig{Op: kadm.SetConfig, Name: name, Value: &value})
		}
	}
	return edits, nil
}
