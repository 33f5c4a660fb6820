// Package serve implements the command `tidings serve`. It also exports what other commands need to run a broker in
// their process: opening its data directory, listening on its port, returning its unused memory, and reporting a
// failing disk.
package serve

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"time"

	"github.com/spf13/cobra"

	"tidings.dev/broker"
	"tidings.dev/internal/cli/shell"
)

// Command returns the command `tidings serve`.
func Command(s *shell.Session) *cobra.Command {
	var address, advertise string
	var partitions int32
	var autoCreate, insecure bool
	var file string
	var pairs []string
	c := &cobra.Command{
		Use: "serve", Short: "Run the broker, and the story's index",
		Long: "Serves the log of a data directory to Kafka clients until it is stopped, and keeps the index of its stories. SIGTERM\n" +
			"and ctrl-C answer what is under way first; the exit code is 0 after SIGTERM and 130 after ctrl-C. Exit code 1: the\n" +
			"directory, the port or the disk will not do.\n\n" +
			"-c and --config set what Apache Kafka's brokers have, by its names: auto.create.topics.enable, num.partitions,\n" +
			"message.max.bytes, log.retention.ms, .minutes, .hours and .bytes, log.roll.ms and .hours, log.segment.bytes,\n" +
			"offsets.retention.minutes, offset.metadata.max.bytes, group.min.session.timeout.ms, group.max.session.timeout.ms and\n" +
			"group.initial.rebalance.delay.ms. They win over the flags that set the same.",
		Example: "  tidings serve --data /var/lib/tidings\n" +
			"  tidings serve -c log.retention.hours=48 -c num.partitions=8\n" +
			"  tidings serve --listen 127.0.0.1:0 -o jsonl     # prints the address once it is ready",
		Args: shell.Arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if partitions < 1 {
				return shell.Usagef("leave it out for 4", "--default-partitions %d: a topic has at least one", partitions)
			}
			settings, err := readSettings(file, pairs)
			if err != nil {
				return err
			}
			config := broker.Config{
				Dir: s.DataDir(), Logger: s.Logger(), AutoCreateTopics: autoCreate, DefaultPartitions: partitions, AdvertisedAddr: advertise,
				Settings: settings,
			}
			return serve(cmd.Context(), s, config, address, insecure)
		},
	}
	c.Flags().StringVar(&address, "listen", DefaultListen, "where to listen, HOST:PORT; port 0 takes a free one")
	c.Flags().StringVar(&advertise, "advertise", "", "the address that clients shall connect to, HOST:PORT (default: the one that each has dialled)")
	c.Flags().BoolVar(&autoCreate, "auto-create-topics", false, "make a topic when a client uses its name")
	c.Flags().Int32Var(&partitions, "default-partitions", 4, "partitions of a topic that is made without a number of them")
	c.Flags().StringVar(&file, "config", "", "a FILE of broker settings with Apache Kafka's names, NAME=VALUE in each line")
	c.Flags().StringArrayVarP(&pairs, "set", "c", nil, "a broker setting with Apache Kafka's name, NAME=VALUE; wins over --config; may be repeated")
	c.Flags().BoolVar(&insecure, "insecure", false, "allow addresses that other machines can reach: there is no authentication")
	return shell.Takes(c, shell.FlagData, shell.FlagVerbose)
}

// ready is what serve prints, in a format for programs, when clients can connect.
type ready struct {
	Address   string `json:"address"`
	Data      string `json:"data"`
	ClusterID string `json:"cluster_id"`
	PID       int    `json:"pid"`
}

func serve(ctx context.Context, s *shell.Session, config broker.Config, address string, insecure bool) error {
	listener, err := Listen(address, insecure)
	if err != nil {
		return err
	}
	b, err := Open(config)
	if err != nil {
		listener.Close()
		return err
	}
	indexing := startIndexing(ctx, b, config.Logger)
	go TrimHeap(ctx)
	served := make(chan error, 1)
	go func() { served <- b.Serve(listener) }()

	r := ready{Address: listener.Addr().String(), Data: config.Dir, ClusterID: b.ClusterID(), PID: os.Getpid()}
	s.Note("tidings: Kafka at %s, data in %s", r.Address, shell.Absolute(r.Data))
	err = s.Output().Value(r, func(io.Writer) error { return nil })
	if err == nil {
		err = untilStopped(ctx, s, b, served)
	}
	indexing.stop()
	err = errors.Join(err, b.Close())
	if err == nil && !errors.Is(context.Cause(ctx), shell.ErrTerminated) {
		return context.Cause(ctx)
	}
	return err
}

// untilStopped blocks until ctx is done or serving fails. A broker that refuses writes still serves readers, so
// untilStopped only reports the reason, once. It returns this reason if the broker still refuses writes at the end.
func untilStopped(ctx context.Context, s *shell.Session, b *broker.Broker, served <-chan error) error {
	check := time.NewTicker(WriteCheckInterval)
	defer check.Stop()
	var fault error
	for {
		select {
		case <-ctx.Done():
			return fault
		case err := <-served:
			if errors.Is(err, broker.ErrClosed) || errors.Is(err, net.ErrClosed) {
				return fault
			}
			return errors.Join(fault, err)
		case <-check.C:
			switch err := WriteError(b); {
			case err == nil:
				fault = nil
			case fault == nil:
				fault = StorageFault(err)
				s.Report(fault)
			}
		}
	}
}
