package cli

import (
	"errors"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

func (s *session) topicEditCommand() *cobra.Command {
	return &cobra.Command{
		Use: "edit TOPIC NAME=VALUE…", Short: "Change a topic's settings; NAME= with no value takes one back",
		Args: arguments(2, -1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			var edits []kadm.AlterConfig
			for _, setting := range args[1:] {
				name, value, ok := strings.Cut(setting, "=")
				switch {
				case !ok || name == "":
					return usagef("for example retention.ms=86400000, or retention.ms= for the default", "%q is not NAME=VALUE", setting)
				case value == "":
					edits = append(edits, kadm.AlterConfig{Op: kadm.DeleteConfig, Name: name})
				default:
					edits = append(edits, kadm.AlterConfig{Op: kadm.SetConfig, Name: name, Value: &value})
				}
			}
			adm, err := s.admin(ctx)
			if err != nil {
				return err
			}
			defer adm.Close()
			answers, err := adm.AlterTopicConfigs(ctx, edits, args[0])
			if err != nil {
				return err
			}
			for _, a := range answers {
				switch {
				case errors.Is(a.Err, kerr.UnknownTopicOrPartition):
					return unknownTopic(args[0])
				case errors.Is(a.Err, kerr.InvalidConfig), errors.Is(a.Err, kerr.InvalidRequest):
					return usagef("settings have Kafka's names; `tidings topic show` lists those that are set", "topic %s stays as it is: %s", args[0], a.ErrMessage)
				case a.Err != nil:
					return a.Err
				}
			}
			return nil
		},
	}
}
