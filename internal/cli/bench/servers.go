package bench

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"tidings.dev/broker"
	"tidings.dev/internal/bench"
	"tidings.dev/internal/bench/testbed"
	"tidings.dev/internal/cli/serve"
	"tidings.dev/internal/cli/shell"
)

// serveCommand returns the hidden command with which testbed.Broker starts a broker in another process.
func serveCommand(s *shell.Session) *cobra.Command {
	var config broker.Config
	var address string
	c := &cobra.Command{
		Use: "serve", Short: "Run the broker that a benchmark measures", Hidden: true, Args: shell.Arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := serve.Listen(address, false)
			if err != nil {
				return err
			}
			config.Dir, config.Logger = s.DataDir(), s.Logger()
			b, err := serve.Open(config)
			if err != nil {
				l.Close()
				return err
			}
			go serve.TrimHeap(cmd.Context())
			served := make(chan error, 1)
			go func() { served <- b.Serve(l) }()
			err = testbed.Announce(cmd.Context(), s.Stdin, s.Stdout, testbed.BrokerAddress{Address: l.Addr().String()}, served)
			return errors.Join(err, b.Close())
		},
	}
	f := c.Flags()
	f.Int64Var(&config.CheckpointBytes, "checkpoint-bytes", 0, "of journal between checkpoints; 0: the broker's default")
	f.DurationVar(&config.RetentionInterval, "retention-interval", 0, "between two passes of retention; 0: the broker's default")
	f.StringVar(&address, "listen", "127.0.0.1:0", "where to listen; port 0 takes a free one")
	return shell.Takes(c, shell.FlagData, shell.FlagVerbose)
}

// ceilingsName is the name of the hidden command of ceilingsCommand.
const ceilingsName = "ceilings"

// ceilingsCommand returns the hidden command with which a benchmark starts its null server and its raw server in
// another process.
func ceilingsCommand(s *shell.Session) *cobra.Command {
	var config bench.CeilingConfig
	c := &cobra.Command{
		Use: ceilingsName, Short: "Run the servers that a benchmark compares a broker with", Hidden: true, Args: shell.Arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			servers, err := bench.ListenCeilings(config)
			if err != nil {
				return err
			}
			ctx, cancel := context.WithCancel(cmd.Context())
			defer cancel()
			served := make(chan error, 1)
			go func() { served <- servers.Serve(ctx) }()
			return testbed.Announce(ctx, s.Stdin, s.Stdout, servers, served)
		},
	}
	c.Flags().Int64Var(&config.KeepBytes, "keep-bytes", 0, "of what is produced, for fetches")
	c.Flags().StringVar(&config.File, "file", "", "to send by sendfile")
	return c
}
